"""Procrastinate on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import marks
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

CONCURRENCY = 10
"""Jobs at once: more of them made it no faster."""

_UNFINISHED = "SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing') LIMIT 1"


class Peer:
    """An app; tasks are coroutines, which spares it a thread for each."""

    def __init__(self, url: str) -> None:
        self._url = url

    def prepare(self) -> None:
        with self.client():
            self._app.schema_manager.apply_schema()

    @contextmanager
    def client(self) -> Iterator[None]:
        with self._app_on(SyncPsycopgConnector(conninfo=self._url)).open():
            yield

    def enqueue(self, kind: str, *words: str) -> None:
        self._tasks[kind].defer(words=list(words))

    def enqueue_many(self, count: int) -> None:
        for start in range(0, count, 1_000):
            self._tasks["noop"].batch_defer(*[{"words": []}] * min(1_000, count - start))

    def are_ended(self) -> bool:
        return marks.none_left(self._url, _UNFINISHED)

    def work(self) -> None:
        async def run() -> None:
            async with self._app_on(PsycopgConnector(conninfo=self._url)).open_async():
                await self._app.run_worker_async(concurrency=CONCURRENCY)

        asyncio.run(run())

    def _app_on(self, connector: PsycopgConnector | SyncPsycopgConnector) -> App:
        self._app = App(connector=connector)
        handlers = {"noop": _noop, "moment": _moment, "begin": _begin}
        self._tasks = {name: self._app.task(name=name)(handler) for name, handler in handlers.items()}
        return self._app


async def _noop(words: list[str]) -> None:
    del words
    marks.drain.count()


async def _moment(words: list[str]) -> None:
    marks.moment(*words)


async def _begin(words: list[str]) -> None:
    marks.begun(*words)
    await asyncio.sleep(3_600)
