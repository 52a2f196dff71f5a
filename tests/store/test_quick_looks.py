"""An event loop asks PostgreSQL itself how a job stands: the same answer, or none at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from jobctl.model.job import Job
from jobctl.store.dialect import PostgreSQL
from jobctl.store.engine import Store, open_store
from jobctl.store.jobs import create_job
from jobctl.store.quick_looks import QuickLooks
from jobctl.store.summaries import summaries_of

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
END = """
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    opened = open_store(postgresql_url)
    with opened.write() as connection:
        create_job(connection, Job(job_id="a", progress=12.5, error="why\x00"), actor="tester", at=AT)
    yield opened
    opened.close()


def looking(store: Store, store_id: str | None = None) -> QuickLooks:
    assert isinstance(store.dialect, PostgreSQL)
    return QuickLooks(store.dialect, store_id or store.store_id)


def test_it_tells_what_a_thread_would_and_that_there_is_no_record(store: Store) -> None:
    async def look() -> None:
        quick = looking(store)
        with store.glance() as connection:
            assert await quick.look("a") == summaries_of(connection, store.dialect, ["a"])
        for unknown in ("b", "a\x00", "\udcff", "'; --"):
            assert await quick.look(unknown) == {}
        quick.close()

    asyncio.run(look())


def test_a_connection_that_ended_is_no_answer_and_not_one_that_there_is_no_record(
    store: Store, postgresql_url: str
) -> None:
    async def look() -> None:
        quick = looking(store)
        assert await quick.look("a")
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute(END)
        assert await quick.look("a") is None
        quick.close()

    asyncio.run(look())


def test_of_another_store_it_tells_nothing(store: Store) -> None:
    async def look() -> None:
        quick = looking(store, "another")
        assert await quick.look("a") is None
        quick.close()

    asyncio.run(look())


def test_each_event_loop_has_a_connection_of_its_own(store: Store) -> None:
    quick = looking(store)
    for _ in range(2):
        assert asyncio.run(quick.look("a"))
    quick.close()
