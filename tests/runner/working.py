"""Start real workers, and wait for what they come to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from cli.calling import answer
from jobctl import clock
from jobctl.errors import StoreUnreachable
from jobctl.model.job import Event, Job
from jobctl.model.status import ENDED
from jobctl.store import jobs
from jobctl.store.engine import Store, open_store
from jobctl.store.schema import job_body

_HERE = Path(__file__).parent
_PROGRAM = "from jobctl.cli import main; main()"
_PATIENCE_S = float(os.environ.get("PATIENCE", "120"))


class Crewed:
    """A store with workers on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store: Store = open_store(url)
        self.workers: list[subprocess.Popen[bytes]] = []
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this

    def start(
        self,
        *options: str,
        tasks: str = "handlers",
        slots: int = 2,
        preexec_fn: Callable[[], None] | None = None,
        **env: str,
    ) -> subprocess.Popen[bytes]:
        """Start one worker, with ``env`` in its environment."""
        words = ["worker", "--tasks", tasks, "--slots", str(slots), "--lease", "2s", *options]
        places = os.pathsep.join([str(_HERE), str(_HERE.parent), *filter(None, [env.pop("PYTHONPATH", "")])])
        worker = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *words],
            env={**os.environ, "JOBCTL_DATABASE_URL": self.url, "PYTHONPATH": places, **env},
            stdin=subprocess.DEVNULL,
            stderr=self._log,
            stdout=subprocess.DEVNULL,
            preexec_fn=preexec_fn,  # noqa: PLW1509 - there is no other thread
        )
        self.workers.append(worker)
        return worker

    def pause(self, worker: subprocess.Popen[bytes]) -> None:
        """Stop a worker, but not while it holds the one lock of SQLite: all others would wait for it."""

        def is_paused() -> bool:
            worker.send_signal(signal.SIGSTOP)
            try:
                with self.store.write(patience_s=0.5):
                    return True
            except StoreUnreachable:
                worker.send_signal(signal.SIGCONT)
                return False

        self.until(is_paused)

    def run(self, *options: str, **how: Any) -> int:
        """Run a worker until nothing is due."""
        return self.start("--burst", *options, **how).wait(timeout=_PATIENCE_S)

    def said(self) -> str:
        """What the workers told their operator, all of them in one."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def shown(self, job_id: str) -> dict[str, Any]:
        """What ``jobctl show`` tells of a job."""
        return dict(answer("show", job_id, database=self.url)["data"])

    def result(self, job_id: str) -> Any:
        with self.store.read() as connection:
            return connection.execute(
                select(job_body.c.result).where(job_body.c.job_id == job_id)
            ).scalar_one_or_none()

    def job(self, job_id: str) -> Job:
        with self.store.read() as connection:
            return jobs.get_job(connection, job_id)

    def history(self, job_id: str) -> list[Event]:
        with self.store.read() as connection:
            return jobs.history(connection, job_id)

    def until_ended(self, job_id: str) -> Job:
        self.until(lambda: self.job(job_id).status in ENDED)
        return self.job(job_id)

    def until(self, condition: Any) -> None:
        """Wait until something holds; fail where it never does."""
        deadline = clock.monotonic() + _PATIENCE_S
        while not condition():
            if clock.monotonic() > deadline:
                raise AssertionError(f"it never came to that; the workers said:\n{self.said()}")
            clock.sleep(0.02)

    def statuses(self, job_id: str) -> list[str | None]:
        return [event.to_status for event in self.history(job_id) if event.kind in {"created", "status"}]

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()
        self._log.close()
        self.store.close()


@contextmanager
def crewed(url: str) -> Iterator[Crewed]:
    """Workers that are gone at the end of the block."""
    made = Crewed(url)
    try:
        yield made
    finally:
        made.close()
