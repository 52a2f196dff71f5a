"""However many jobs and events there are, a page of them reads a bounded part of an index."""

from __future__ import annotations

import re
from itertools import chain

import pytest

from jobctl.model.history import EventFilter
from jobctl.model.listing import JobQuery, Order
from jobctl.model.status import Status
from jobctl.store import history, listing
from jobctl.store.engine import Store
from jobctl.store.listing import Stretch
from jobctl.store.statements import bulk_insert, refresh_statistics
from store.explained import plans_of

JOBS = 5_000
QUEUED = 1_000
STAMP = "2026-01-01T00:00:00.000000Z"
_JOB = ("job_id", "status", "owner", "created_at", "updated_at", "kind", "queue", "origin", "version")
_EVENT = ("job_id", "at", "kind", "actor", "to_status")


@pytest.fixture
def full(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in which one owner has nearly all the jobs, and many are queued: too many to be sorted."""
    monkeypatch.setattr(listing, "_FEW", 100)
    jobs = (
        (f"j-{n:05}", "completed", "ada" if n % 100 else "bob", STAMP, STAMP, "film", "default", "created", 1)
        for n in range(JOBS)
    )
    queued = (
        (f"q-{n:05}", "queued", "cleo", STAMP, STAMP, "film", "default", "created", 1) for n in range(QUEUED)
    )
    events = ((f"j-{n:05}", STAMP, "created", "service", "queued") for n in range(JOBS))
    with store.write() as connection:
        bulk_insert(connection, store.dialect, "job", _JOB, chain(jobs, queued))
        bulk_insert(connection, store.dialect, "event", _EVENT, events)
    with store.write() as connection:
        for table in ("job", "event"):
            refresh_statistics(connection, store.dialect, table)
    return store


def plans_of_page(store: Store, query: JobQuery) -> list[str]:
    """How it is found out whether there are few, and how the page is read."""
    with store.read() as connection:
        if store.dialect.name == "postgresql":
            # A table as small as this one is read whole, whatever leads to a part of it.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return plans_of(connection, lambda: listing.find_jobs(connection, query, Stretch(50)))


def test_an_owners_many_jobs_are_read_in_the_order_of_their_index(full: Store) -> None:
    for query in (
        JobQuery(same={"owner": "ada"}),
        JobQuery(same={"owner": "ada"}, statuses=(Status.FAILED, Status.COMPLETED)),
        JobQuery(same={"owner": "ada", "kind": "film"}),
    ):
        page = plans_of_page(full, query)[-1]
        assert "ix_job_owner" in page
        assert not sorts_or_reads_all(page)


def test_where_the_next_of_an_owners_many_jobs_begin_is_found_without_sorting_them(full: Store) -> None:
    """Nothing is forbidden to the planner here: it has to know itself that they are many."""
    query = JobQuery(same={"owner": "ada"})
    with full.read() as connection:
        *_, place = plans_of(connection, lambda: listing.place_beyond(connection, query, None, 200))
    assert not sorts_or_reads_all(place)


def test_by_the_last_change_they_are_not_sorted_but_met_on_the_way(full: Store) -> None:
    page = plans_of_page(full, JobQuery(same={"owner": "ada"}, order=Order.UPDATED))[-1]
    assert "ix_job_ended" in page
    assert "ix_job_owner" not in page


def test_open_jobs_are_not_sorted_by_their_last_change_either(full: Store) -> None:
    """Only the page itself is, as it is of jobs that have ended."""
    of_ended, of_open = (
        plans_of_page(full, JobQuery(order=Order.UPDATED, statuses=(status,)))[-1]
        for status in (Status.COMPLETED, Status.QUEUED)
    )
    assert "ix_job_ended" in of_ended
    assert "ix_job_unfinished" in of_open
    assert sorts(of_open) == sorts(of_ended)
    assert "ix_job_unfinished" in plans_of_page(full, JobQuery(order=Order.UPDATED))[-1]


def test_an_owners_few_jobs_are_looked_up_in_any_order(full: Store) -> None:
    for order in (Order.UPDATED, Order.ID):
        page = plans_of_page(full, JobQuery(same={"owner": "bob"}, order=order))[-1]
        assert "ix_job_owner" in page
        assert re.search(r"pk_job|sqlite_autoindex_job", page)


def test_where_a_job_stands_is_read_from_the_index_alone(full: Store) -> None:
    query = JobQuery(order=Order.UPDATED)
    with full.read() as connection:
        plan = "\n".join(plans_of(connection, lambda: listing.place_beyond(connection, query, None, 100)))
    assert "pk_job" not in plan
    assert "sqlite_autoindex_job" not in plan


def test_a_page_of_the_history_reads_no_more_jobs_than_events(full: Store) -> None:
    wanted = EventFilter(job_same={"kind": "film", "owner": "nobody"})
    with full.read() as connection:
        (plan,) = plans_of(
            connection, lambda: history.find_events(connection, wanted, above=4_900, upto=5_000, limit=50)
        )
    assert re.search(r"pk_job|sqlite_autoindex_job", plan)
    assert not sorts_or_reads_all(plan)


def sorts_or_reads_all(plan: str) -> bool:
    return bool(
        re.search(r"Sort Key|TEMP B-TREE FOR ORDER BY|SCAN (job|event)$|Seq Scan", plan, re.MULTILINE)
    )


def sorts(plan: str) -> int:
    return len(re.findall("Sort Key|TEMP B-TREE FOR", plan))
