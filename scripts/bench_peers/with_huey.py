"""Huey on SQLite, in WAL mode and with ``fsync``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import marks
from huey import SqliteHuey


class Peer:
    """A consumer with two threads, which look again after 0.1 s, and less and less often when idle."""

    def __init__(self, url: str) -> None:
        self._huey = SqliteHuey(filename=url, fsync=True, journal_mode="wal", results=False)
        self._tasks = {
            "noop": self._huey.task(name="noop")(marks.drain.count),
            "moment": self._huey.task(name="moment")(marks.moment),
            "begin": self._huey.task(name="begin")(_begin),
        }

    def prepare(self) -> None:
        self._huey.storage.initialize_schema()

    @contextmanager
    def client(self) -> Iterator[None]:
        yield

    def enqueue(self, kind: str, *words: str) -> None:
        self._tasks[kind](*words)

    def are_ended(self) -> bool:
        return True

    def work(self) -> None:
        self._huey.create_consumer(workers=2, periodic=False).run()


def _begin(directory: str) -> None:
    marks.begun(directory)
    time.sleep(3_600)
