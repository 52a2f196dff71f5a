"""The tally says at every moment what the history says, however it was added up."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from jobctl import clock
from jobctl.core.figures import Figure
from jobctl.core.histogram import bucket_of
from jobctl.core.tally import Flow, Grain, Tally, tally_of
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.store import editions, jobs, tallies
from jobctl.store.engine import Store, open_store
from jobctl.store.schema import event, job, tally_flow
from jobctl.work import LONGEST_NAME
from store.records import AT, claim, complete, create, fail, later

_STEPS = ("create", "claim", "complete", "fail", "retry", "expire", "delete", "fold")


def tally(store: Store, grain: Grain = Grain.ALL, **within: str) -> Tally:
    with store.read() as connection:
        return tallies.read(connection, store.dialect, grain, **within)


def fold_all(store: Store, at_most: int = 50_000) -> int:
    """Add up until nothing is missing: on PostgreSQL a fold only goes as far as the one before has seen."""
    calls = 0
    while True:
        with store.read() as connection:
            if tallies.position_of(connection).missing == 0:
                return calls
        tallies.fold(store, at_most=at_most)
        calls += 1
        assert calls < 1000, "the tally never catches up"


def counted(store: Store) -> dict[Status, int]:
    """How many records have each status, by the records themselves."""
    with store.read() as connection:
        rows = connection.execute(select(job.c.status, func.count()).group_by(job.c.status))
        found = {Status(status): count for status, count in rows}
    return {**dict.fromkeys(Status, 0), **found}


def live(store: Store, *job_ids: str) -> None:
    """Jobs that wait 2 s, run 8 s and complete."""
    for job_id in job_ids:
        with store.write() as connection:
            create(connection, job_id, kind="render", owner="ada")
            claim(connection, job_id, at=later(2))
            complete(connection, job_id, at=later(10))


def test_what_was_not_added_up_yet_is_counted_all_the_same(store: Store) -> None:
    live(store, "a", "b")
    before = tally(store)
    fold_all(store)
    assert tally(store) == before
    live(store, "c")
    assert tally(store).by_status()[Status.COMPLETED] == 3


def test_waits_and_runs_are_counted_by_how_long_they_took(store: Store) -> None:
    live(store, "a", "b")
    fold_all(store)
    spans = {(span.what, span.to_status, span.bucket): each for span, each in tally(store).spans.items()}
    wait, run = spans["wait", "processing", bucket_of(2)], spans["run", "completed", bucket_of(8)]
    assert (wait.count, wait.total_s, run.count, run.total_s) == (2, pytest.approx(4), 2, pytest.approx(16))


def test_a_retry_has_waited_only_since_it_was_due(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a")
        claim(connection, "a", at=later(1))
        jobs.change_status(
            connection,
            "a",
            Status.QUEUED,
            expect=Status.PROCESSING,
            cause=Cause.RETRY,
            actor="worker-1",
            at=later(2),
            changes={"run_at": later(62)},
            detail={"retry_after_s": 60.0, "error_code": "timeout"},
        )
        claim(connection, "a", at=later(65))
    waits = [each.total_s for span, each in tally(store).spans.items() if span.what == "wait"]
    assert sorted(waits) == [pytest.approx(1), pytest.approx(3)]
    assert {flow.error_code for flow in tally(store).flows if flow.cause == "retry"} == {"timeout"}


def test_a_delayed_job_has_waited_only_since_it_was_due(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a", run_at=later(3600))
        claim(connection, "a", at=later(3605))
    (wait,) = [each.total_s for span, each in tally(store).spans.items() if span.what == "wait"]
    assert wait == pytest.approx(5)


def test_a_period_is_counted_alone(store: Store) -> None:
    live(store, "a")
    with store.write() as connection:
        create(connection, "b", at=AT + timedelta(hours=1))
    for _ in range(2):
        assert sum(tally(store, Grain.HOUR).flows.values()) == 4
        assert sum(tally(store, Grain.HOUR, since="2026-01-31T13").flows.values()) == 1
        assert sum(tally(store, Grain.HOUR, until="2026-01-31T13").flows.values()) == 3
        assert sum(tally(store, Grain.DAY, since="2026-02-01").flows.values()) == 0
        fold_all(store)


def test_owners_are_counted_by_the_day(store: Store) -> None:
    live(store, "a", "b")
    fold_all(store)
    with store.read() as connection:
        ((share, part),) = tallies.shares(connection, Grain.DAY).items()
        assert not tallies.shares(connection, Grain.HOUR)
    assert (share.owner, part.runs, part.run_s) == ("ada", 2, pytest.approx(16))
    assert part.counts == {Figure.CREATED: 2, Figure.STARTED: 2, Figure.COMPLETED: 2}


def test_what_is_not_committed_yet_is_not_lost_when_later_events_are_added_up(
    postgresql_url: str,
) -> None:
    """PostgreSQL numbers events when they are written: a lower number may be committed later."""
    with closing(open_store(postgresql_url)) as store:
        with store.write() as connection:
            create(connection, "slow")
            live(store, "quick")
            for _ in range(3):
                tallies.fold(store)
            assert tally(store).by_status()[Status.QUEUED] == 0
        fold_all(store)
        with store.read() as connection:
            kept = connection.execute(select(tally_flow).where(tally_flow.c.period == "")).all()
        assert sum(row.count for row in kept if row.to_status == "queued") == 2


def test_an_expired_job_that_begins_anew_is_no_longer_counted_as_expired(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a")
        _change(connection, "a", Status.QUEUED, Status.EXPIRED, Cause.RETENTION)
        create(connection, "a")
    assert tally(store).by_status() == counted(store)


def test_the_tally_can_be_made_anew_while_it_is_read(store: Store) -> None:
    live(store, *"abc")
    fold_all(store)
    before = tally(store)
    edition = editions.begin(store)
    assert edition is not None
    assert editions.begin(store) == edition
    while not editions.take_over(store, edition):
        assert tally(store) == before
        tallies.fold(store, edition=edition, at_most=2)
    assert tally(store) == before
    while editions.clean_up(store, at_most=3):
        assert tally(store) == before
    with store.read() as connection:
        assert connection.execute(select(tally_flow.c.edition).distinct()).scalars().all() == [edition]
    live(store, "d")
    fold_all(store)
    assert tally(store).by_status()[Status.COMPLETED] == 4


def test_a_fold_that_began_before_the_new_edition_took_over_changes_nothing(store: Store) -> None:
    live(store, *"ab")
    fold_all(store)
    edition = editions.begin(store)
    assert edition is not None
    while not editions.take_over(store, edition):
        tallies.fold(store, edition=edition)
    live(store, "c")
    for _ in range(3):
        assert tallies.fold(store, edition=edition - 1) == 0
    fold_all(store)
    assert tally(store).by_status()[Status.COMPLETED] == 3


def test_a_store_without_a_tally_has_none_to_make_anew(store: Store) -> None:
    live(store, "a")
    assert editions.begin(store) is None


def test_a_name_as_long_as_a_book_is_counted_by_its_beginning(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a", kind="k" * LONGEST_NAME, owner="o" * 1_000_000)
        claim(connection, "a")
        fail(connection, "a", error_code="=cmd|' /C calc'!A0" * 50_000)
    fold_all(store)
    for flow in tally(store).flows:
        assert flow.job_kind == "k" * 99 + "…"
        assert len(flow.error_code) <= 100
    with store.read() as connection:
        assert {len(share.owner) for share in tallies.shares(connection, Grain.ALL)} == {100}


def test_many_fold_at_once_and_nothing_counts_twice(store: Store) -> None:
    live(store, *(f"j{number}" for number in range(20)))
    threads = [threading.Thread(target=tallies.fold, args=(store,), kwargs={"at_most": 7}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fold_all(store, at_most=7)
    assert tally(store).by_status() == counted(store)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(_STEPS), st.integers(0, 3)), max_size=40))
def test_whatever_happens_the_tally_says_what_the_records_say(
    store: Store, steps: Sequence[tuple[str, int]]
) -> None:
    prefix = f"{clock.monotonic()}-"
    for step, number in steps:
        _take(store, step, f"{prefix}{number}")
    assert tally(store).by_status() == counted(store)
    with store.read() as connection:
        last = connection.execute(select(func.coalesce(func.max(event.c.event_id), 0))).scalar_one()
        whole = tally_of(tallies.changes(connection, store.dialect, 0, last))
    for grain in Grain:
        assert _without_kinds(tally(store, grain)) == _without_kinds(whole[grain])


def _without_kinds(tally: Tally) -> Counter[Flow]:
    """The kind and the queue of a record that was removed are known only to what was added up before."""
    flows = Counter[Flow]()
    for flow, count in tally.flows.items():
        flows[flow._replace(job_kind="", queue="")] += count
    return flows


def _take(store: Store, step: str, job_id: str) -> None:
    """Take a step, where the job is in a status that allows it."""
    if step == "fold":
        tallies.fold(store, at_most=3)
        return
    with store.write() as connection:
        found = connection.execute(select(job.c.status).where(job.c.job_id == job_id)).scalar_one_or_none()
        if step == "create" and found in {None, "expired"}:
            jobs.create_job(connection, Job(job_id=job_id, owner="ada"), actor="service", at=AT)
        elif step == "claim" and found == "queued":
            claim(connection, job_id)
        elif step == "complete" and found == "processing":
            complete(connection, job_id)
        elif step == "fail" and found == "processing":
            fail(connection, job_id, error_code="timeout")
        elif step == "retry" and found == "failed":
            _change(connection, job_id, Status.FAILED, Status.QUEUED, Cause.OPERATOR)
        elif step == "expire" and found in {"queued", "completed", "failed"}:
            _change(connection, job_id, Status(found), Status.EXPIRED, Cause.RETENTION)
        elif step == "delete" and found is not None:
            jobs.delete_job(connection, job_id, actor="ada", at=AT)


def _change(connection: object, job_id: str, before: Status, to: Status, cause: Cause) -> None:
    jobs.change_status(connection, job_id, to, expect=before, cause=cause, actor="ada", at=AT)  # type: ignore[arg-type]


def test_long_words_of_a_history_are_counted_by_how_they_begin(store: Store) -> None:
    """An import may bring them, and an index of PostgreSQL takes no text that is as long as a page."""
    long = secrets.token_hex(4_000)
    with store.write() as connection:
        create(connection, "a")
        jobs.record_event(
            connection, "a", AT, long, "ada", from_status="queued", to_status="failed", detail={"cause": long}
        )
    while tallies.fold(store) or tallies.fold(store):
        pass
    with store.read() as connection:
        flows = tallies.read(connection, store.dialect, Grain.ALL).flows
    assert {(flow.origin[:8], flow.cause[:8], len(flow.cause)) for flow in flows if flow.cause} == {
        (long[:8], long[:8], 100)
    }
