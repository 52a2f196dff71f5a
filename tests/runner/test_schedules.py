"""One job for each tick, however many workers look at the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Thread

from jobctl.model.job import Job
from jobctl.runner.schedules import Schedules, tick_before
from jobctl.store import jobs, ticks
from jobctl.store.declared import tell_tasks
from jobctl.store.engine import Store
from jobctl.work import ScheduleSpec, TaskSpec, Work

NIGHTLY = ScheduleSpec(
    name="nightly", task="report", cron="30 2 * * *", timezone="Europe/Berlin", payload={"n": 1}
)
WORK = Work(schedules=(NIGHTLY,))


def test_a_tick_is_the_last_moment_at_which_it_was_due() -> None:
    assert tick_before(NIGHTLY, datetime(2026, 7, 2, 12, 0, tzinfo=UTC)) == datetime(
        2026, 7, 2, 0, 30, tzinfo=UTC
    )
    assert tick_before(NIGHTLY, datetime(2026, 1, 2, 1, 0, tzinfo=UTC)) == datetime(
        2026, 1, 1, 1, 30, tzinfo=UTC
    )


def test_a_new_entry_begins_now_and_does_not_make_up_for_the_past(store: Store) -> None:
    assert Schedules(store, WORK, "w").enqueue_due() == []
    with store.read() as connection:
        assert set(ticks.last_ticks(connection)) == {"nightly"}


def test_a_job_is_scheduled_as_workers_declare_its_task(store: Store) -> None:
    with store.write() as connection:
        ticks.advance(connection, "nightly", datetime(2026, 1, 1, tzinfo=UTC))
        told = {"report": TaskSpec(name="report", queue="reports", retries=7).told}
        tell_tasks(connection, "w", told, troubles=[], since=datetime(2026, 1, 1, tzinfo=UTC))
    (job,) = Schedules(store, WORK, "w").enqueue_due()
    assert (job.queue, job.max_attempts) == ("reports", 8)


def test_many_workers_enqueue_one_job_for_a_tick(store: Store) -> None:
    with store.write() as connection:
        ticks.advance(connection, "nightly", datetime(2026, 1, 1, tzinfo=UTC))
    made: list[Job] = []
    threads = [
        Thread(target=lambda: made.extend(Schedules(store, WORK, "w").enqueue_due())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = made
    assert (job.kind, job.queue) == ("report", "default")
    assert Schedules(store, WORK, "w").enqueue_due() == []
    with store.read() as connection:
        (told,) = [event for event in jobs.history(connection, job.job_id) if event.kind == "scheduled"]
    assert told.detail is not None
    assert told.detail["schedule"] == "nightly"
