"""Purge: what is removed for good waits, is braked, and is not what anything still needs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from jobctl.errors import ClockJumped, JobctlError
from jobctl.model.plan import Verb
from jobctl.ops.hold import hold_roots
from jobctl.ops.quarantine import PurgeOptions, plan_purge
from jobctl.policy import Policy
from jobctl.store import schema
from ops.test_disasters import queue_again
from ops.test_last_copy import orders, second_video
from ops.tidying import MONTH, duplicates_plan, kept, leftover, purge_plan, settle
from ops.world import Calendar, World, a_job_id, dead_executor, verbs


def test_an_option_makes_the_wait_longer_and_never_shorter(world: World, calendar: Calendar) -> None:
    leftover(world)
    settle(world, calendar)
    world.cleanup()
    calendar.pass_(days=13)
    assert purge_plan(world, older_than=timedelta(days=1)).total == 0
    calendar.pass_(days=2)
    assert purge_plan(world, older_than=timedelta(days=30)).total == 0
    assert purge_plan(world, older_than=timedelta(days=1)).total == 1


def test_more_than_is_usual_is_held_until_somebody_says_so(world: World, calendar: Calendar) -> None:
    for number in range(25):
        leftover(world, number)
    settle(world, calendar)
    world.cleanup(allowed={"leftover": 25})
    calendar.pass_(days=15)
    plan = purge_plan(world)
    assert (plan.total, [held.reason for held in plan.held]) == (0, ["25 of 25 files, more than one in ten"])
    assert purge_plan(world, allowed={"purge": 24}).total == 0
    assert purge_plan(world, allowed={"purge": 25}).total == 25


def test_more_bytes_than_allowed_are_held(world: World, calendar: Calendar) -> None:
    leftover(world, 99)
    settle(world, calendar)
    world.cleanup()
    calendar.pass_(days=15)
    assert purge_plan(world, max_bytes=100).total == 1
    assert purge_plan(world, max_bytes=99).total == 0
    world.changes["policy"] = replace(Policy(), max_bytes=99)
    assert purge_plan(world).total == 0


@pytest.mark.parametrize("changes", [{"verdict": "partial"}, {"state": "missing"}, {"size": 5}], ids=repr)
def test_a_copy_that_is_no_verified_video_is_none(
    world: World, calendar: Calendar, changes: dict[str, object]
) -> None:
    video = world.video()
    world.recover()
    second_video(world)
    settle(world, calendar)
    assert world.apply(duplicates_plan(world)).counts["done"] == 1
    calendar.pass_(days=15)
    assert verbs(purge_plan(world)) == [Verb.PURGE]
    with world.site() as site, site.store.write() as connection:
        row = schema.artifact.c.path == video.name
        connection.execute(update(schema.artifact).where(row).values(**changes))
    assert (purge_plan(world).total, kept(world.plans[-1])) == (
        0,
        ["its job is completed, and no other verified video of it is there"],
    )


def test_what_a_table_names_by_now_stays(world: World, calendar: Calendar, tmp_path: Path) -> None:
    table = orders(world, tmp_path)
    world.file(f"presentation_{a_job_id(3)}.mp4", b"half of it")
    settle(world, calendar)
    world.cleanup()
    calendar.pass_(days=15)
    assert purge_plan(world).total == 1
    with closing(sqlite3.connect(table)) as database, database:
        database.execute("INSERT INTO orders VALUES (?)", [a_job_id(3)])
    assert purge_plan(world).total == 0
    (reason,) = kept(world.plans[-1])
    assert "names its job" in reason


def test_a_clock_that_jumped_is_told(world: World, calendar: Calendar) -> None:
    leftover(world)
    settle(world, calendar)
    world.cleanup()
    calendar.jump(days=400)
    told: list[JobctlError] = []
    with world.site() as site, hold_roots(site, command="quarantine purge") as hold:
        with plan_purge(hold, PurgeOptions(), troubles=told) as plan:
            assert plan.total == 0
    assert [type(error) for error in told] == [ClockJumped]


def test_what_is_younger_by_the_disks_clock_when_it_is_to_go_stays(world: World, calendar: Calendar) -> None:
    leftover(world)
    settle(world, calendar)
    world.cleanup()
    calendar.pass_(days=15)
    plan = purge_plan(world)
    calendar.root_s -= 5 * 86_400
    report = world.apply(plan)
    assert (report.counts["done"], report.counts["skipped"]) == (0, 1)


def of_a_failed_job(world: World, calendar: Calendar) -> None:
    """A file in quarantine that may be removed."""
    world.start_job(0, executor=dead_executor())
    world.expire(MONTH)
    world.file(f"avatar_{a_job_id(0)}.mp4")
    settle(world, calendar)
    assert world.cleanup().counts["done"] == 1
    calendar.pass_(days=15)


def test_what_a_job_may_need_that_was_retried_stays(world: World, calendar: Calendar) -> None:
    of_a_failed_job(world, calendar)
    queue_again(world)
    assert (purge_plan(world).total, kept(world.plans[-1])) == (0, ["its job is queued again"])


@pytest.mark.parametrize("is_retried", [False, True])
def test_what_a_job_may_need_that_was_retried_after_the_plan_stays(
    world: World, calendar: Calendar, is_retried: bool
) -> None:
    of_a_failed_job(world, calendar)
    plan = purge_plan(world)
    if is_retried:
        queue_again(world)
    report = world.apply(plan)
    assert (report.counts["done"], report.counts["conflict"]) == (not is_retried, is_retried)
