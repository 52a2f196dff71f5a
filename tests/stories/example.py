"""The programs of examples/presentation_service, as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from jobctl import clock
from ops.world import World

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "presentation_service"
_PATIENCE_S = float(os.environ.get("PATIENCE", "120"))
_LEASE = "15s" if "STORY_WHOLE" in os.environ else "2s"
"""The whole story is 51 renders at once, beside which a worker may come to nothing for seconds."""


class Server:
    """One server, which can be killed and started again; ``argv`` tells where it listens."""

    def __init__(self, world: World, *argv: str) -> None:
        self.world = world
        self._argv = argv
        self._client: httpx.Client | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._argv,
            env=environment(self.world),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self._client = httpx.Client(base_url=line.split()[-1], timeout=_PATIENCE_S)
                return
        raise AssertionError("it ended before it listened")

    def kill(self, sent: int = signal.SIGKILL) -> None:
        self.client.close()
        self.process.send_signal(sent)
        self.process.communicate(timeout=_PATIENCE_S)

    def restart(self) -> None:
        """Killed, and started again."""
        self.kill()
        self.start()

    @property
    def client(self) -> httpx.Client:
        assert self._client is not None
        return self._client

    def create(self, *, key: str | None = None, **request: Any) -> str:
        """Begin a job; its id."""
        headers = {} if key is None else {"Idempotency-Key": key}
        made = self.client.post("/presentations", json=request, headers=headers)
        made.raise_for_status()
        return str(made.json()["jobId"])

    def poll(self, job_id: str) -> dict[str, Any]:
        """What a client is told of a job: with the code of the answer."""
        answer = self.client.get(f"/presentations/{job_id}")
        return {"code": answer.status_code, **answer.json()}

    def until(self, job_id: str, **wanted: Any) -> dict[str, Any]:
        """Poll until the answer says so."""
        deadline = clock.monotonic() + _PATIENCE_S
        while not wanted.items() <= (told := self.poll(job_id)).items():
            assert clock.monotonic() < deadline, f"it never came to {wanted}: {told}"
            clock.sleep(0.02)
        return told

    def video(self, job_id: str) -> bytes:
        return self.fetch(f"/presentations/{job_id}/video")

    def fetch(self, path: str) -> bytes:
        answer = self.client.get(path)
        answer.raise_for_status()
        return answer.content


def program(name: str, *words: str) -> list[str]:
    """How a program of the example is run."""
    return [sys.executable, str(EXAMPLE / name), *words]


def jobctl(*words: str) -> list[str]:
    """How jobctl is run."""
    return [sys.executable, "-c", "from jobctl.cli import main; main()", *words]


def environment(world: World) -> dict[str, str]:
    """For a process of the example's: the store, the outputs, and its modules."""
    return {
        **os.environ,
        "JOBCTL_DATABASE_URL": world.url,
        "JOBCTL_HOST_ID": world.host,
        "OUTPUTS": str(world.root),
        "PYTHONPATH": str(EXAMPLE),
    }


@contextmanager
def serving(world: World, *argv: str) -> Iterator[Server]:
    """A server that is gone at the end of the block."""
    server = Server(world, *argv)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


def start_counting_worker(world: World, *words: str) -> subprocess.Popen[bytes]:
    """A worker of the example that keeps count of what it renders, beside all that jobctl records."""
    environ = environment(world)
    environ["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent)
    return subprocess.Popen(
        jobctl("worker", "--tasks", "counted", "--lease", _LEASE, *words),
        env={**environ, "RENDERS": str(_ledger_of(world))},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def counting_worker(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """Such a worker, gone at the end of the block."""
    worker = start_counting_worker(world, "--slots", "1")
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


def renders(world: World) -> list[str]:
    """What such workers have begun and done: a line with job and attempt for each."""
    return _ledger_of(world).read_text().splitlines()


def _ledger_of(world: World) -> Path:
    return world.root.with_name("renders")
