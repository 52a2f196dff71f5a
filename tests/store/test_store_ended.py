"""Retention reads no further than it must: by an index, oldest first, each job once."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import insert

from jobctl.model.status import Status
from jobctl.store.engine import Store
from jobctl.store.retention import ended_before, unfinished_ids
from jobctl.store.schema import job
from store.explained import plans_of
from store.records import AT

MANY = 3_000


def fill(store: Store) -> None:
    """Many completed jobs, a minute apart but for some of the same moment, and a few that are open."""
    base = {"kind": "presentation", "queue": "default", "origin": "created", "version": 1, "attempt": 0}
    rows = [
        {
            **base,
            "job_id": f"job-{number:05}",
            "status": "completed",
            "updated_at": AT + timedelta(minutes=number - number % 7),
        }
        for number in range(MANY)
    ]
    rows += [
        {**base, "job_id": f"open-{number}", "status": status, "updated_at": AT}
        for number, status in enumerate(("queued", "processing", "queued"))
    ]
    with store.write() as connection:
        connection.execute(insert(job), rows)
    with store.write() as connection:
        connection.exec_driver_sql(f"ANALYZE {store.dialect.table('job')}")


def test_ended_jobs_come_oldest_first_and_each_once(store: Store) -> None:
    fill(store)
    before = AT + timedelta(minutes=1_000)
    with store.read() as connection:
        found = [row for page in ended_before(connection, "completed", before) for row in page]
    assert [row.job_id for row in found] == [f"job-{number:05}" for number in range(1_001)]
    assert all(row.updated_at < before for row in found)


def test_what_has_expired_is_found_by_an_index(store: Store) -> None:
    fill(store)
    with store.read() as connection:
        plans = plans_of(
            connection, lambda: list(ended_before(connection, "completed", AT + timedelta(minutes=50)))
        )
    assert len(plans) == 2
    assert all("ix_job_ended" in plan for plan in plans), plans


def test_open_jobs_are_found_by_an_index(store: Store) -> None:
    fill(store)
    with store.read() as connection:
        assert sorted(unfinished_ids(connection, Status.QUEUED)) == ["open-0", "open-2"]
        assert unfinished_ids(connection, Status.QUEUED, before=AT) == []
        (plan,) = plans_of(connection, lambda: unfinished_ids(connection, Status.PROCESSING))
    assert "ix_job_unfinished" in plan or "ix_job_queued" in plan, plan
