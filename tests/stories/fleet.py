"""The servers of one service, as real processes behind a balancer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from proxy import Proxy, proxying

from jobctl import clock
from ops.world import World

_HERE = Path(__file__).parent
_PROGRAM = str(_HERE / "presentations.py")
_PLACES = os.pathsep.join([str(_HERE.parent), str(_HERE.parent.parent / "scripts")])
_PATIENCE_S = float(os.environ.get("PATIENCE", "120"))


class Fleet:
    """Servers by their number; ``balancer`` knows those that are to take requests."""

    def __init__(self, world: World, balancer: Proxy) -> None:
        self.world = world
        self.balancer = balancer
        self.client = httpx.Client(base_url=balancer.url, timeout=_PATIENCE_S)
        self._running: dict[int, tuple[subprocess.Popen[str], int]] = {}

    def start(self, *numbers: int) -> None:
        """Start servers at once, and let the balancer know of them."""
        started = {
            number: subprocess.Popen(
                [sys.executable, _PROGRAM, self.world.url, str(self.world.root)],
                env={**os.environ, "PYTHONPATH": _PLACES, "JOBCTL_HOST_ID": self.world.host},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in numbers
        }
        for number, process in started.items():
            assert process.stdout is not None
            self._running[number] = process, int(process.stdout.readline() or 0)
            self.balancer.ports = [*self.balancer.ports, self._running[number][1]]

    def stop(self, number: int, sent: int) -> int:
        """End a server; where it listened."""
        process, port = self._running.pop(number)
        process.send_signal(sent)
        process.communicate(timeout=_PATIENCE_S)
        return port

    def roll(self) -> None:
        """Restart one server after another; the first one is killed, and the balancer finds out."""
        for number in sorted(self._running):
            gone = self.stop(number, signal.SIGTERM if number else signal.SIGKILL)
            self.start(number)
            self.balancer.ports = [port for port in self.balancer.ports if port != gone]

    def create(self, **request: Any) -> str:
        """Begin a job; its id."""
        made = self.client.post("/presentations", json=request)
        made.raise_for_status()
        return str(made.json()["jobId"])

    def create_many(self, count: int, **request: Any) -> list[str]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda _: self.create(**request), range(count)))

    def until(self, job_ids: list[str], **wanted: Any) -> None:
        """Wait until all of these jobs say so."""
        for job_id in job_ids:
            until(lambda each=job_id: wanted.items() <= self._told(each).items())

    def _told(self, job_id: str) -> Mapping[str, Any]:
        return dict(self.client.get(f"/presentations/{job_id}").json())

    def close(self) -> None:
        self.client.close()
        for process, _ in self._running.values():
            process.kill()
            process.communicate()


@contextmanager
def serving(world: World, servers: int = 3) -> Iterator[Fleet]:
    """So many servers behind a balancer, gone at the end of the block."""
    with proxying() as balancer:
        fleet = Fleet(world, balancer)
        try:
            fleet.start(*range(servers))
            yield fleet
        finally:
            fleet.close()


def until(condition: Any) -> None:
    """Wait until something holds; fail where it never does."""
    deadline = clock.monotonic() + _PATIENCE_S
    while not condition():
        assert clock.monotonic() < deadline, "it never came to that"
        clock.sleep(0.02)
