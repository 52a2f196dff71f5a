"""One job for each tick, however many workers look at the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest

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


SPRING, AUTUMN = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "begin", "days", "due"),
    [
        # At 02:00 the clock is put forward by an hour, at 03:00 back by one.
        ("30 2 * * *", "Europe/Berlin", SPRING, 2, ["29 01:00", "30 00:30"]),
        ("30 2 * * *", "Europe/Berlin", AUTUMN, 2, ["25 00:30", "26 01:30"]),
        ("0 2 * * 0", "Europe/Berlin", AUTUMN, 2, ["25 00:00"]),
        ("30 1-3 * * *", "Europe/Berlin", AUTUMN, 1, ["24 23:30", "25 00:30", "25 02:30"]),
        # What runs every hour does so also in the hour that comes twice.
        (
            "0 * * * *",
            "Europe/Berlin",
            AUTUMN,
            1,
            [f"{24 + at // 24} {at % 24:02}:00" for at in range(13, 36)],
        ),
        # Half an hour comes twice there.
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            datetime(2026, 4, 3, 20, tzinfo=UTC),
            2,
            ["04 14:45", "05 15:15"],
        ),
        # A day that never was.
        (
            "0 12 * * *",
            "Pacific/Apia",
            datetime(2011, 12, 29, 20, tzinfo=UTC),
            2,
            ["29 22:00", "30 10:00", "30 22:00"],
        ),
    ],
)
def test_a_tick_comes_once_where_an_hour_is_left_out_or_comes_twice(
    cron: str, zone: str, begin: datetime, days: int, due: list[str]
) -> None:
    spec = ScheduleSpec(name="s", task="t", cron=cron, timezone=zone)
    looks = [begin + timedelta(minutes=5 * number) for number in range(days * 288)]
    found = [tick_before(spec, now) for now in looks]
    assert found == sorted(found)
    assert [f"{tick:%d %H:%M}" for tick in dict.fromkeys(found) if tick > begin] == due


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


def test_a_schedule_goes_on_after_the_clock_was_ahead(store: Store) -> None:
    with store.write() as connection:
        ticks.advance(connection, "nightly", datetime(2125, 1, 1, 1, 30, tzinfo=UTC))
    assert Schedules(store, WORK, "w").enqueue_due() == []
    with store.read() as connection:
        now, (tick,) = store.now(connection), ticks.last_ticks(connection).values()
    assert tick == tick_before(NIGHTLY, now)


def test_a_tick_is_not_enqueued_again_where_the_clock_is_set_back_over_it(store: Store) -> None:
    before = datetime(2026, 1, 1, tzinfo=UTC)
    with store.write() as connection:
        ticks.advance(connection, "nightly", before)
    (job,) = Schedules(store, WORK, "w").enqueue_due()
    with store.write() as connection:
        (tick,) = ticks.last_ticks(connection).values()
        ticks.set_back(connection, "nightly", tick, before)
    assert Schedules(store, WORK, "w").enqueue_due() == []
    with store.read() as connection:
        kinds = [event.kind for event in jobs.history(connection, job.job_id)]
    assert kinds.count("scheduled") == 1
