"""What the jobs of a benchmark do, the same for every peer, and what is counted of them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg


class Drain:
    """How many jobs did nothing, from the first to the last."""

    def __init__(self) -> None:
        self.jobs = 0
        self.first = self.last = 0.0
        self._lock = threading.Lock()

    def count(self) -> None:
        with self._lock:
            self.last = time.monotonic()
            self.first = self.first or self.last
            self.jobs += 1

    def tell_at_end(self, wanted: int, longest_s: float, are_ended: Callable[[], bool]) -> threading.Thread:
        """Print what was done once all of it is, and noted as ended, or time is up; and end this process."""

        def watch() -> None:
            began = time.monotonic()
            while self.jobs < wanted and time.monotonic() < (self.first or began) + longest_s:
                time.sleep(0.02)
            end = self.last
            while self.jobs >= wanted and not are_ended():
                time.sleep(0.02)
                end = time.monotonic()
            tell({"jobs": self.jobs, "seconds": end - self.first})
            # However a peer's worker is stopped: it is a benchmark, and its database is thrown away.
            os._exit(0)

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        return watching


drain = Drain()


def none_left(url: str, unfinished: str) -> bool:
    """Whether a query for a row that is not ended finds none."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(unfinished).fetchone() is None


def moment(path: str) -> None:
    """Tell when it began, by the clock that all processes of a machine share."""
    began = time.monotonic()
    with open(path, "w", encoding="ascii") as pipe:
        pipe.write(f"{began}\n")


def begun(directory: str) -> None:
    """Leave a sign of this process."""
    Path(directory, f"{os.getpid()}-{time.monotonic_ns()}").touch()


def tell(value: object) -> None:
    """One line of JSON for the benchmark."""
    print(json.dumps(value), flush=True)
