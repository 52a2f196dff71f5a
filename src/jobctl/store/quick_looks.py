"""How one job stands, asked by an event loop itself, on a connection to PostgreSQL of its own.

A thread that asks instead takes longer to hand the question over than the database takes to answer it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from jobctl import clock
from jobctl.model.job_summary import JobSummary
from jobctl.model.storable import storable_text
from jobctl.store.dialect import PostgreSQL
from jobctl.store.postgresql_moments import read_moments
from jobctl.store.summaries import COLUMNS, summary_of

_PATIENCE_S = 5.0
_PAUSE_S = 1.0
_TRUSTED_S = 1.0
_LOOK = f"SELECT {COLUMNS} FROM jobctl.job WHERE job_id = %s"  # noqa: S608 - names of our own
_WHOSE = "SELECT store_id FROM jobctl.store"


class QuickLooks:
    """For one event loop, and one of its tasks at a time. Whatever goes wrong is left to the ordinary way."""

    def __init__(self, dialect: PostgreSQL, store_id: str) -> None:
        self._dialect = dialect
        self._store_id = store_id
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._cursor: psycopg.AsyncCursor[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._used_at = 0.0
        self._not_before = 0.0

    async def look(self, job_id: str) -> dict[str, JobSummary] | None:
        """How a job stands, if it is recorded; ``None`` where this is to be asked in the ordinary way."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                cursor = await self._ready()
                if cursor is None:
                    return None
                await cursor.execute(_LOOK, (storable_text(job_id),))
                row = await cursor.fetchone()
        except (psycopg.Error, OSError):
            # TimeoutError is one of these.
            self.close()
            self._not_before = clock.monotonic() + _PAUSE_S
            return None
        except BaseException:
            self.close()
            raise
        return {} if row is None else {job_id: summary_of(row, self._dialect)}

    def close(self) -> None:
        """Let go of the connection; the next look makes another one."""
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = self._cursor = None

    async def _ready(self) -> psycopg.AsyncCursor[Any] | None:
        """The connection, once it is known to live and to lead to the store; ``None`` where it does not."""
        now, loop = clock.monotonic(), asyncio.get_running_loop()
        if self._loop is not loop:
            self.close()
            self._loop = loop
        was_used_now = now - self._used_at < _TRUSTED_S
        self._used_at = now
        if self._cursor is not None and was_used_now:
            return self._cursor
        if now < self._not_before:
            return None
        if self._connection is None or self._cursor is None:
            self._connection = await psycopg.AsyncConnection.connect(
                autocommit=True, **self._dialect.arguments()
            )
            read_moments(self._connection, None)
            self._cursor = self._connection.cursor()
        await self._cursor.execute(_WHOSE)
        if await self._cursor.fetchone() == (self._store_id,):
            return self._cursor
        self.close()
        self._not_before = now + _PAUSE_S
        return None
