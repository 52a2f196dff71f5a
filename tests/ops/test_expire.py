"""Expire: who is rescued, who ends, who is kept, and why."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import update

from jobctl.model.plan import Verb
from jobctl.model.status import Status
from jobctl.policy import Policy, Rule
from jobctl.store import schema
from ops.world import Calendar, World, a_job_id, dead_executor, verbs

WEEK = Policy(rule=Rule(timedelta(hours=24), {"completed": timedelta(days=7), "failed": timedelta(days=2)}))


def kept(world: World) -> dict[str, str]:
    return {each.job_id: each.reason for each in world.plans[-1].kept()}


def test_without_a_policy_nothing_expires(world: World, calendar: Calendar) -> None:
    world.video()
    world.recover()
    calendar.pass_(days=20)
    assert world.expire_plan().total == 0


def test_an_ended_job_goes_with_its_files_and_comes_back_with_them(world: World, calendar: Calendar) -> None:
    path = world.video()
    world.recover()
    before, tree = world.tables(), world.tree()
    calendar.pass_(days=6)
    assert world.expire_plan(WEEK).total == 0
    calendar.pass_(days=2)
    report = world.expire(WEEK)
    assert (report.counts["done"], report.exit_code) == (2, 0)
    assert (world.job().status, path.exists()) == (Status.EXPIRED, False)
    assert world.recover().counts["planned"] == 0
    undone = world.undo(report.run_id)
    assert undone.counts["done"] == 2
    assert (world.tables(), world.tree()) == (before, tree)
    assert world.expire_plan(WEEK).total == 0


def test_a_dead_worker_gives_its_job_back_while_attempts_are_left(world: World) -> None:
    world.start_job(0, executor=dead_executor())
    assert (verbs(world.expire_plan(WEEK)), kept(world)) == ([Verb.FAIL], {})
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE {site.store.dialect.table('job')} SET max_attempts = 2")
    assert world.expire(WEEK).counts["done"] == 1
    job = world.job()
    assert (job.status, job.attempt, job.executor) == (Status.QUEUED, 1, None)


def test_an_attempt_that_cost_it_none_leaves_a_job_all_its_tries(world: World) -> None:
    world.start_job(0, executor=dead_executor())
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE {site.store.dialect.table('job')} SET attempt = 7, spared = 7")
    (action,) = world.expire_plan(WEEK)
    assert (action.verb, action.reason.partition(":")[0]) == (Verb.REQUEUE, "attempt 0 of 1")


def test_a_zombie_whose_video_is_whole_is_completed(world: World) -> None:
    world.video()
    world.start_job(0, executor=dead_executor(), ago_s=9_000)
    assert world.expire(WEEK).counts["done"] == 1
    assert world.job().status is Status.COMPLETED


def test_what_waits_too_long_for_its_turn_expires(world: World, calendar: Calendar) -> None:
    world.queue_job(0)
    assert world.expire_plan(WEEK, explains=True).total == 0
    ((job_id, reason),) = kept(world).items()
    assert job_id == a_job_id()
    assert re.fullmatch(r"queued for \d+ s, less than 1 d", reason)
    calendar.pass_(hours=25)
    assert world.expire(WEEK).counts["done"] == 1
    assert world.job().status is Status.EXPIRED


MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


def test_it_tells_since_when_it_watches_a_heartbeat_that_it_cannot_see_the_executor_of(
    world: World, calendar: Calendar
) -> None:
    world.start_job(0, executor=dead_executor()._replace(host="host-b"))
    assert world.expire_plan(WEEK, explains=True).total == 0
    (reason,) = kept(world).values()
    assert "its heartbeat is watched from here from now on; it counts as dead once" in reason
    calendar.pass_(minutes=3)
    assert world.expire_plan(WEEK, explains=True).total == 0
    (reason,) = kept(world).values()
    assert re.search(
        rf"is watched from here since {MOMENT}; it counts as dead once that stood still for \d+ min$",
        reason,
    )


def test_after_a_jump_of_the_clock_it_tells_from_when_ages_count(world: World, calendar: Calendar) -> None:
    world.queue_job(0)
    assert world.expire_plan(WEEK, explains=True).total == 0
    calendar.jump(days=30)
    assert world.expire_plan(WEEK, explains=True).total == 0
    (reason,) = kept(world).values()
    said = rf"queued for \d+ s \(counted from {MOMENT}: the clock cannot be trusted before\), less than 1 d"
    assert re.fullmatch(said, reason)


@pytest.mark.parametrize("times", [1, 2])
def test_where_a_record_was_changed_since_the_plan_neither_it_nor_its_files_go(
    world: World, calendar: Calendar, times: int
) -> None:
    """Ending a job takes its record to the next version, and so does whatever else changes it."""
    path = world.file(f"thumbnail_{a_job_id(0)}.jpg")
    world.video()
    world.recover()
    calendar.pass_(days=8)
    plan = world.expire_plan(WEEK)
    assert plan.total == 3
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(schema.job).values(version=schema.job.c.version + times))
    report = world.apply(plan)
    assert (report.counts["done"], report.counts["conflict"]) == (0, 3)
    assert (world.job().status, path.exists(), len(world.tree())) == (Status.COMPLETED, True, 2)
