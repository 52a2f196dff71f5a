"""Start real workers, and wait for what they come to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobctl import clock
from jobctl.model.job import Event, Job
from jobctl.model.status import ENDED
from jobctl.store import jobs
from jobctl.store.engine import Store, open_store

_HERE = Path(__file__).parent
_PROGRAM = "from jobctl.cli import main; main()"
_PATIENCE_S = 60.0


class Crewed:
    """A store with workers on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store: Store = open_store(url)
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str, tasks: str = "handlers", slots: int = 2) -> subprocess.Popen[bytes]:
        """Start one worker."""
        words = ["worker", "--tasks", tasks, "--slots", str(slots), "--lease", "2s", *options]
        places = os.pathsep.join([str(_HERE), str(_HERE.parent)])
        worker = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *words],
            env={**os.environ, "JOBCTL_DATABASE_URL": self.url, "PYTHONPATH": places},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self.workers.append(worker)
        return worker

    def run(self, *options: str, **how: Any) -> int:
        """Run a worker until nothing is due."""
        return self.start("--burst", *options, **how).wait(timeout=_PATIENCE_S)

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
                raise AssertionError("it never came to that")
            clock.sleep(0.02)

    def statuses(self, job_id: str) -> list[str | None]:
        return [event.to_status for event in self.history(job_id) if event.kind in {"created", "status"}]

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()
        self.store.close()


@contextmanager
def crewed(url: str) -> Iterator[Crewed]:
    """Workers that are gone at the end of the block."""
    made = Crewed(url)
    try:
        yield made
    finally:
        made.close()
