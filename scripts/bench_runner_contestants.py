"""Who takes part in the benchmark of the runner: the raw driver, jobctl, and other job systems."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import bench
import bench_runner_floors as floors
import bench_runner_peers as peers
from jobctl import Queue, Request

_HERE = Path(__file__).resolve().parent
_PROGRAM = str(Path(sys.executable).with_name("jobctl"))
_PAUSE_S = 0.05


class Contestant(Protocol):
    """Each tells jobs a second, or in words that it does not do that."""

    name: str
    is_quick: bool
    """Whether it can do all of it once in each round."""

    def singles(self, count: int) -> float | str:
        """One job, one transaction."""

    def bulk(self, count: int) -> float | str:
        """Many jobs, the fastest way there is."""

    def drain(self) -> float | str:
        """Run everything that is queued by one worker, its start left out."""


class RawDriver:
    """What the work costs at the least."""

    name = "raw driver"
    is_quick = True

    def __init__(self, url: str) -> None:
        self.url = url
        self._queued = 0

    def singles(self, count: int) -> float:
        self._queued += count
        return count / bench.seconds(lambda: floors.enqueue_singly(self.url, count))

    def bulk(self, count: int) -> float:
        self._queued += count
        return count / bench.seconds(lambda: floors.enqueue_many(self.url, count))

    def drain(self) -> float:
        count, self._queued = self._queued, 0
        return count / bench.seconds(lambda: floors.drain(self.url))


class Jobctl:
    """The queue of this project, and workers of it that run ``bench_runner_tasks`` in threads."""

    is_quick = True

    def __init__(self, name: str, url: str, directory: Path) -> None:
        self.name = name
        self.url = url
        self._directory = directory
        self._queued = 0

    def singles(self, count: int) -> float:
        self._queued += count
        with Queue(self.url) as queue:
            return count / bench.seconds(lambda: [queue.enqueue("noop", {"number": n}) for n in range(count)])

    def bulk(self, count: int) -> float:
        self._queued += count
        with Queue(self.url) as queue:
            requests = (Request("noop", {"number": number}) for number in range(count))
            return count / bench.seconds(lambda: queue.enqueue_many(requests))

    def drain(self) -> float:
        count, self._queued = self._queued, 0
        newest = floors.newest_event(self.url)
        with self._worker("--burst") as worker:
            worker.wait()
        return count / floors.between_first_and_last(self.url, after=newest)

    def pick_up(self, count: int) -> list[float]:
        """Milliseconds from the call that enqueues to the first line of the handler."""
        pipe = self._directory / "moments"
        os.mkfifo(pipe)
        fd, waits = os.open(pipe, os.O_RDWR), []
        with Queue(self.url) as queue:
            # The first is not counted: a connection is made for it.
            for _ in range(count + 1):
                began = time.monotonic()
                queue.enqueue("moment", str(pipe))
                if not select.select([fd], [], [], 60)[0]:
                    sys.exit("the worker took no job")
                waits.append((float(os.read(fd, 100)) - began) * 1000)
                time.sleep(_PAUSE_S)
        os.close(fd)
        os.unlink(pipe)
        return waits[1:]

    def begin(self, signs: Path) -> None:
        """Enqueue a job that goes on until it is asked to stop."""
        with Queue(self.url) as queue:
            queue.enqueue("begin", str(signs))

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """A worker that is ready."""
        before = floors.ready_workers(self.url)
        with self._worker() as worker:
            if not came(lambda: floors.ready_workers(self.url) > before, 60):
                sys.exit("no worker came")
            yield worker

    @contextmanager
    def _worker(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        words = ["worker", "--tasks", "bench_runner_tasks", "--isolation", "thread", "--slots", "2", *options]
        environment = {
            **os.environ,
            "JOBCTL_DATABASE_URL": self.url,
            "PYTHONPATH": str(_HERE),
            "JOBCTL_CONFIG": os.devnull,
        }
        with open(self._directory / "worker.log", "ab") as log:
            process = subprocess.Popen(
                [_PROGRAM, *words], env=environment, stdout=subprocess.DEVNULL, stderr=log
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


class OtherSystem:
    """One of ``bench_runner_peers``."""

    is_quick = False

    def __init__(
        self, system: peers.Contestants, peer: peers.Peer, make: Callable[[], str], longest_s: float
    ) -> None:
        self.name = peer.name
        self.peer = peer
        self._system = system
        self._make = make
        self._longest_s = longest_s
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what is queued."""
        self._url = self._make()
        self._queued = 0
        self._system.ask(self.peer, "prepare", self._url)

    def singles(self, count: int) -> float:
        # It enqueues one before, for its connection.
        self._queued += count + 1
        return count / float(self._system.ask(self.peer, "singles", self._url, count)["seconds"])

    def bulk(self, count: int) -> float | str:
        if "bulk" in self.peer.does_not:
            # There has to be something to drain.
            if self._queued < count:
                self._queued += count + 1
                self._system.ask(self.peer, "singles", self._url, count)
            return self.peer.does_not["bulk"]
        self._queued += count
        return count / float(self._system.ask(self.peer, "bulk", self._url, count)["seconds"])

    def drain(self) -> float:
        done = self._system.ask(self.peer, "drain", self._url, self._queued, self._longest_s)
        return float(done["jobs"] / done["seconds"])

    def pick_up(self, count: int, directory: Path) -> list[float]:
        """As ``Jobctl.pick_up``."""
        pipe = directory / f"moments-{self.name}"
        os.mkfifo(pipe)
        with self._system.serving(self.peer, self._url):
            waits = self._system.ask(self.peer, "pick-up", self._url, count, pipe)["waits_ms"]
        return [float(wait) for wait in waits]

    def rescue(self, directory: Path, longest_s: float) -> float | str:
        """Seconds from kill -9 of a worker to its job running again."""
        if "rescue" in self.peer.does_not:
            return self.peer.does_not["rescue"]
        return peers.measure_rescue(self._system, self.peer, self._url, directory, longest_s)


def came(condition: Callable[[], bool], longest_s: float) -> bool:
    """Wait for something; whether it came."""
    deadline = time.monotonic() + longest_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
