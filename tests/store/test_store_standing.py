"""What a look reads of a store, on both databases: all of it where that is little, else so much."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from jobctl.model.status import Cause, Status
from jobctl.store import jobs, sightings, standing
from jobctl.store.engine import Store
from jobctl.store.schema import lease
from jobctl.store.statements import refresh_statistics
from store.explained import plans_of
from store.records import AT, claim, complete, create, fail, later, show_life


def test_queues_tell_how_deep_they_are_and_who_waits_longest(store: Store) -> None:
    with store.write() as connection:
        create(connection, "late", run_at=later(3_600))
        create(connection, "b", run_at=AT, kind="render")
        create(connection, "urgent", run_at=later(5), priority=9)
        create(connection, "timeless", queue="thumbs", at=later(-60))
        found = standing.queue_depths(connection, later(60))
    default, thumbs = found
    assert default[:6] == ("default", 3, 2, False, "b", AT)
    assert dict(default.kinds) == {"render": 1, "presentation": 1}
    assert thumbs[:6] == ("thumbs", 1, 1, False, "timeless", later(-60))


def test_a_queue_is_counted_no_further_than_it_takes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "MOST_COUNTED", 3)
    with store.write() as connection:
        for number in range(5):
            create(connection, f"j{number}", run_at=AT)
        (found,) = standing.queue_depths(connection, later(1))
    assert (found.queued, found.due, found.is_at_least, found.oldest_job) == (3, 3, True, "j0")


def test_what_is_due_is_counted_by_the_index_alone(store: Store) -> None:
    with store.write() as connection:
        for number in range(300):
            create(connection, f"j{number}", run_at=AT)
        refresh_statistics(connection, store.dialect, "job")
        if store.dialect.name == "postgresql":
            # A table as small as this one is read whole.
            for way in ("seqscan", "bitmapscan"):
                connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        plans = plans_of(connection, lambda: standing.queue_depths(connection, later(1)))
    _, counting_due = (plan for plan in plans if "Aggregate" in plan or "CO-ROUTINE" in plan)
    assert re.search("Index Only Scan using ix_job_queued|SEARCH job USING INDEX ix_job_queued", counting_due)


def test_no_queue_where_nothing_is_queued(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a")
        claim(connection, "a")
        assert standing.queue_depths(connection, AT) == []


def test_silent_jobs_are_those_no_worker_answers_for(store: Store) -> None:
    with store.write() as connection:
        for job_id, beat_s in (("old", 0), ("older", -60), ("fresh", 900), ("held", -500)):
            create(connection, job_id)
            claim(connection, job_id, at=later(beat_s))
        connection.execute(lease.insert(), {"job_id": "held", "attempt": 1, "worker": "w1"})
        found = standing.silent_jobs(connection, later(600))
        assert standing.silent_jobs(connection, later(-600)).jobs == 0
    assert found == (2, False, "older", later(-60))


def test_changes_are_net_and_of_the_last_hour(store: Store) -> None:
    with store.write() as connection:
        for job_id in ("a", "b", "c"):
            create(connection, job_id)
        claim(connection, "a", at=later(4_000))
        complete(connection, "a", at=later(4_010))
        claim(connection, "b", at=later(4_020))
        found = standing.recent_changes(connection, later(3_600))
    assert found.since == later(3_600)
    assert {status: count for status, count in found.net.items() if count} == {
        Status.QUEUED: -2,
        Status.PROCESSING: 1,
        Status.COMPLETED: 1,
    }
    assert found.arrived[Status.PROCESSING] == 2


def test_a_record_that_is_made_ended_is_no_job_that_ended(store: Store) -> None:
    with store.write() as connection:
        for kind in ("imported", "recovered"):
            jobs.record_event(connection, kind, AT, kind, "ada", from_status=None, to_status="failed")
        create(connection, "a")
        claim(connection, "a")
        fail(connection, "a", at=later(1))
        found = standing.recent_changes(connection, later(-3_600))
    assert (found.net[Status.FAILED], found.arrived[Status.FAILED]) == (3, 1)


def test_a_busy_store_tells_since_when_it_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "_MOST_EVENTS", 2)
    with store.write() as connection:
        for number in range(4):
            create(connection, f"j{number}", at=later(number))
        found = standing.recent_changes(connection, later(-3_600))
    assert (found.since, found.net) == (later(2), {Status.QUEUED: 2})


def test_running_jobs_come_with_their_workers(store: Store) -> None:
    with store.write() as connection:
        for number in range(3):
            create(connection, f"j{number}", kind="render")
            claim(connection, f"j{number}", at=later(number))
        show_life(connection, "j1", progress=40.0, at=later(9))
        show_life(connection, "j1", progress=30.0, at=later(10))
        held = {"job_id": "j1", "attempt": 1, "worker": "w1", "note": "slide 3", "cancel_at": later(11)}
        connection.execute(lease.insert(), held)
        found = standing.running_jobs(connection, limit=2)
    assert [row.job_id for row in found] == ["j2", "j1"]
    assert found[1] == (
        *("j1", "render", "default", 1, 40.0, later(1), later(10)),
        *("w1", "slide 3", later(11)),
    )


def test_failures_come_newest_first(store: Store) -> None:
    with store.write() as connection:
        for number in range(3):
            create(connection, f"j{number}")
            claim(connection, f"j{number}")
            fail(connection, f"j{number}", error_code="timeout", at=later(number))
        jobs.change_status(
            connection,
            "j2",
            Status.QUEUED,
            expect=Status.FAILED,
            cause=Cause.OPERATOR,
            actor="x",
            at=later(9),
        )
        found = standing.recent_failures(connection, limit=5)
    assert [row.job_id for row in found] == ["j1", "j0"]
    assert found[0][2:] == (later(1), "timeout", "it broke")


def test_scans_tell_their_findings_and_what_room_there_was(store: Store) -> None:
    with store.write() as connection:
        for number, is_complete in enumerate((True, False)):
            at = AT + timedelta(hours=number)
            sightings.begin_scan(connection, f"s{number}", "r1", is_full=False, at=at)
            counts = {
                "findings": {"orphan-video": number},
                "room": {"bytes": 100, "bytes_free": 50 - number},
            }
            sightings.finish_scan(connection, f"s{number}", is_complete=is_complete, counts=counts, at=at)
        sightings.begin_scan(connection, "open", "r1", is_full=False, at=later(9_999))
        newest = standing.newest_complete_scan(connection, "r1")
        readings = standing.readings_of(standing.finished_scans(connection, "r1", since=later(-1)))
        assert standing.newest_complete_scan(connection, "r2") is None
    assert newest is not None
    assert newest.counts["findings"] == {"orphan-video": 0}
    assert readings == [(AT, 100, 50), (AT + timedelta(hours=1), 100, 49)]
