"""However many jobs have ended, a worker's turn never reads past them: it finds its jobs by index."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any

import psycopg
import pytest

from jobctl.model.attempts import Settlement
from jobctl.model.enqueued import New
from jobctl.model.job import Executor, Job
from jobctl.model.status import Cause, Status
from jobctl.store import workers
from jobctl.store.engine import Store
from jobctl.store.enqueue import enqueue_many
from jobctl.store.leases import Holder, Leases, open_leases
from jobctl.store.statements import bulk_insert, refresh_statistics

ENDED, QUEUED, UNKNOWN = 5_000, 500, 6_000
STAMP = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def full(store: Store) -> Store:
    """A store in which nearly every job has ended."""
    names = ("job_id", "status", "created_at", "kind", "queue", "priority", "attempt", "max_attempts")
    more = ("origin", "version", "updated_at", "completed_at")
    rows = (
        (f"ended-{n:05}", "completed", STAMP, "noop", "default", 0, 1, 3, "created", 3, STAMP, STAMP)
        for n in range(ENDED)
    )
    with store.write() as connection:
        bulk_insert(connection, store.dialect, "job", (*names, *more), rows)
    with store.write() as connection:
        refresh_statistics(connection, store.dialect, "job")
        if store.dialect.name == "sqlite":
            connection.exec_driver_sql("ANALYZE")
    # As it happens: what the planner knows is from before.
    news = (New(Job(job_id=f"queued-{n:03}", kind="noop"), {"n": n}) for n in range(QUEUED))
    assert sum(enqueue_many(store, news, actor="test")) == QUEUED
    return store


@pytest.mark.parametrize("kinds", [["noop"], ["noop", "film"]])
def test_a_claim_finds_what_is_due_by_the_index_of_queued_jobs(full: Store, kinds: list[str]) -> None:
    plan = plan_of_turn(full, kinds, settles=False)
    assert "ix_job_queued" in plan
    assert not scans_of_jobs(plan)
    assert not filters_by_id(plan)
    assert not looks_past_kinds(plan)


def test_a_settlement_finds_its_jobs_by_their_ids(full: Store) -> None:
    plan = plan_of_turn(full, ["noop"], settles=True)
    assert not scans_of_jobs(plan)
    assert not filters_by_id(plan)


def test_a_settlement_of_many_looks_each_of_them_up_once(store: Store) -> None:
    """Also where the planner knows nothing of the jobs yet."""
    news = (New(Job(job_id=f"queued-{n:03}", kind="noop"), {"n": n}) for n in range(UNKNOWN))
    assert sum(enqueue_many(store, news, actor="test")) == UNKNOWN
    plan = plan_of_turn(store, ["noop"], settles=True, many=128)
    assert not scans_of_jobs(plan)
    assert not filters_by_id(plan)
    assert not looks_up_twice(plan)


def scans_of_jobs(plan: str) -> list[str]:
    """The lines of a plan that read the table of jobs from end to end."""
    return re.findall(r"^.*(?:SCAN (?:j|job)\b|Seq Scan on job\b).*$", plan, re.MULTILINE)


def filters_by_id(plan: str) -> list[str]:
    """The lines of a plan that look at many jobs to find those of certain ids."""
    return re.findall(r"^ *Filter: .*job_id = ANY.*$", plan, re.MULTILINE)


def looks_up_twice(plan: str) -> list[str]:
    """The lines of a plan that look for one id and for a list at once, which sorts the list each time."""
    return re.findall(r"^ *Index Cond: .*job_id = .*job_id = ANY.*$", plan, re.MULTILINE)


def looks_past_kinds(plan: str) -> list[str]:
    """The lines of a plan that look for queued jobs in the index, whatever their tasks."""
    looks = re.findall(r"^.*ix_job_queued.*(?:\n +Index Cond: .*)?$", plan, re.MULTILINE)
    assert looks
    return [look for look in looks if not re.search(r"queue ?=.* AND \(?kind ?=", look)]


def test_what_it_looks_for_in_a_plan_is_what_a_plan_says(full: Store) -> None:
    how = "EXPLAIN QUERY PLAN" if full.dialect.name == "sqlite" else "EXPLAIN"
    with full.read() as connection:
        asked = f"{how} SELECT count(*) FROM {full.dialect.table('job')} AS j WHERE origin = 'imported'"
        rows = connection.exec_driver_sql(asked).fetchall()
    assert scans_of_jobs("\n".join(str(row[-1]) for row in rows))
    with full.read() as connection:
        asked = (
            f"SELECT job_id FROM {full.dialect.table('job')} WHERE status = 'queued' AND queue = 'default'"
        )
        rows = connection.exec_driver_sql(f"{how} {asked} ORDER BY kind LIMIT 1").fetchall()
    assert looks_past_kinds("\n".join(str(row[-1]) for row in rows))
    assert looks_up_twice("   Index Cond: ((job_id = (a.job_id)::text) AND (job_id = ANY ('{a,b}'::text[])))")


def plan_of_turn(store: Store, kinds: list[str], *, settles: bool, many: int = 3) -> str:
    """What the database says of how it does each statement of a worker's turn."""
    with closing(begin(store)) as leases:
        claims = leases.take_turn([], many, kinds).claims
        assert [claim.job_id for claim in claims] == [f"queued-{n:03}" for n in range(many)]
        ends = [Settlement(claim.job_id, 1, Status.COMPLETED, Cause.EXECUTOR) for claim in claims]
        driver: Any = leases._driver
        explain = sqlite_plan if store.dialect.name == "sqlite" else postgresql_plan
        turn: tuple[Any, ...] = (ends, 0) if settles else ([], many, kinds)
        return explain(store, driver, lambda: leases.take_turn(*turn))


def begin(store: Store) -> Leases:
    holder = Holder("w1", Executor("host", "boot", 1, 1), ("default",))
    with store.write() as connection:
        at = store.now(connection)
        workers.register(connection, holder, tasks=["noop"], slots=1, isolation="thread", lease_s=10.0, at=at)
    return open_leases(store, holder)


def sqlite_plan(store: Store, driver: sqlite3.Connection, turn: Any) -> str:
    statements: list[str] = []
    driver.set_trace_callback(statements.append)
    assert turn()
    driver.set_trace_callback(None)
    told = []
    with store.read() as connection:
        for statement in dict.fromkeys(statements):
            if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
                rows = connection.connection.execute(f"EXPLAIN QUERY PLAN {statement}")  # type: ignore[attr-defined]
                told += [str(row[-1]) for row in rows]
    return "\n".join(told)


def postgresql_plan(_store: Store, driver: psycopg.Connection[Any], turn: Any) -> str:
    told: list[str] = []

    class Explaining(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            super().execute(f"EXPLAIN {query}", params, **options)
            told.extend(str(row[0]) for row in self.fetchall())
            return super().execute(query, params, **options)

    driver.cursor_factory = Explaining
    assert turn()
    return "\n".join(told)
