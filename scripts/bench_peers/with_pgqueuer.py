"""PgQueuer on PostgreSQL, its tables ``durable``, which is its default."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import marks
import psycopg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, SyncPsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries, SyncQueries

BATCH = 100
"""Jobs that a worker takes at once, as jobctl's does."""

_UNFINISHED = "SELECT 1 FROM pgqueuer LIMIT 1"


class Peer:
    """Its worker by asyncpg, which it hears calls with; by psycopg it heard of them up to a second late."""

    def __init__(self, url: str) -> None:
        self._url = url

    def prepare(self) -> None:
        async def install() -> None:
            await Queries(AsyncpgDriver(await asyncpg.connect(self._url))).install()

        asyncio.run(install())

    @contextmanager
    def client(self) -> Iterator[None]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            self._queries = SyncQueries(SyncPsycopgDriver(connection))
            yield

    def enqueue(self, kind: str, *words: str) -> None:
        self._queries.enqueue(kind, " ".join(words).encode())

    def enqueue_many(self, count: int) -> None:
        for start in range(0, count, 1_000):
            size = min(1_000, count - start)
            self._queries.enqueue(["noop"] * size, [b""] * size, [0] * size)

    def are_ended(self) -> bool:
        return marks.none_left(self._url, _UNFINISHED)

    def work(self) -> None:
        async def run() -> None:
            queuer = PgQueuer.from_asyncpg_connection(await asyncpg.connect(self._url))
            for name, handler in {"noop": _noop, "moment": _moment, "begin": _begin}.items():
                queuer.entrypoint(name)(handler)
            await queuer.run(batch_size=BATCH)

        asyncio.run(run())


async def _noop(_job: Job) -> None:
    marks.drain.count()


async def _moment(job: Job) -> None:
    marks.moment((job.payload or b"").decode())


async def _begin(job: Job) -> None:
    marks.begun((job.payload or b"").decode())
    await asyncio.sleep(3_600)
