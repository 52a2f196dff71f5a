"""Chancy on PostgreSQL, its jobs in asyncio, the fastest of its executors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import marks
from chancy import Chancy, Job, Queue, Worker

CONCURRENCY = 100
"""Jobs at once. It writes what ended once a second, in one batch."""

_UNFINISHED = "SELECT 1 FROM chancy_jobs WHERE state IN ('pending', 'running') LIMIT 1"


class Peer:
    """Told to look again as soon as a job ends; else it looks every five seconds, or when notified."""

    def __init__(self, url: str) -> None:
        quiet = logging.getLogger("quiet")
        quiet.setLevel(logging.CRITICAL)
        self._url = url
        self._chancy = Chancy(url, log=quiet)

    def prepare(self) -> None:
        async def run() -> None:
            async with self._chancy:
                await self._chancy.migrate()
                await self._chancy.declare(
                    Queue(
                        "default",
                        concurrency=CONCURRENCY,
                        executor=Chancy.Executor.Async,
                        eager_polling=True,
                    )
                )

        asyncio.run(run())

    @contextmanager
    def client(self) -> Iterator[None]:
        with self._chancy:
            yield

    def enqueue(self, kind: str, *words: str) -> None:
        self._chancy.sync_push(_job(kind, *words))

    def enqueue_many(self, count: int) -> None:
        for _ in self._chancy.sync_push_many([_job("noop")] * count):
            pass

    def are_ended(self) -> bool:
        return marks.none_left(self._url, _UNFINISHED)

    def work(self) -> None:
        async def run() -> None:
            async with self._chancy, Worker(self._chancy) as worker:
                await worker.wait_for_shutdown()

        asyncio.run(run())


async def noop() -> None:
    """Do nothing."""
    marks.drain.count()


async def moment(word: str) -> None:
    """Tell when it began."""
    marks.moment(word)


async def begin(word: str) -> None:
    """Leave a sign, and go on."""
    marks.begun(word)
    await asyncio.sleep(3_600)


_HANDLERS = {"noop": noop, "moment": moment, "begin": begin}


def _job(kind: str, *words: str) -> Job:
    return Job.from_func(_HANDLERS[kind], queue="default", kwargs={"word": words[0]} if words else {})
