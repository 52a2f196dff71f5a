"""litequeue on SQLite. It has no worker: its drain is a loop of ``pop`` and ``done``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import marks
from litequeue import LiteQueue


class Peer:
    """A queue in one table, with the others' durability instead of its own ``synchronous=NORMAL``."""

    def __init__(self, url: str) -> None:
        self._queue = LiteQueue(url)
        self._queue.conn.execute("PRAGMA synchronous = FULL")

    def prepare(self) -> None:
        """Opening it made the table."""

    @contextmanager
    def client(self) -> Iterator[None]:
        yield

    def enqueue(self, kind: str) -> None:
        self._queue.put(kind)

    def enqueue_many(self, count: int) -> None:
        with self._queue.transaction():
            for _ in range(count):
                self._queue.put("noop")

    def are_ended(self) -> bool:
        return True

    def work(self) -> None:
        while (message := self._queue.pop()) is not None:
            self._queue.done(message.message_id)
            marks.drain.count()
