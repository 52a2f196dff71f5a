"""Brakes on real trees: more than is usual is held until somebody says so, on both databases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jobctl.policy import Policy
from ops.tidying import MONTH, leftover, second_root, settle
from ops.world import Calendar, World, a_job_id
from store.test_store_like_runs import ran


def test_a_brake_holds_its_class_and_lets_the_others_go(world: World, calendar: Calendar) -> None:
    for number in range(30):
        leftover(world, number)
    hidden = world.file(f".presentation_{a_job_id(0)}.mp4.0123456789ab.part")
    settle(world, calendar)
    plan = world.cleanup_plan()
    (held,) = plan.held
    assert (held.category, held.files, held.allow) == ("leftover", 30, 30)
    assert held.reason == "30 of 31 files, more than one in ten"
    assert world.apply(plan).counts["done"] == 1
    assert not hidden.exists()
    assert len(world.tree()) == 30
    assert world.cleanup(allowed={"leftover": 29}).counts["done"] == 0
    assert world.cleanup(allowed={"leftover": 30}).counts["done"] == 30


def test_what_is_allowed_counts_in_a_run_below_all_roots_together(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    other = World(world.url, tmp_path / "others")
    other.init()
    for number in range(30):
        leftover(world, number)
        leftover(other, number)
    settle(world, calendar)
    assert [(held.files, held.allow) for held in world.cleanup_plan().held] == [(30, 60), (30, 60)]
    assert world.cleanup_plan(allowed={"leftover": 59}).total == 0
    assert world.cleanup(allowed={"leftover": 60}).counts["done"] == 60
    other.close()


def test_a_brake_on_jobs_holds_their_files_with_them(world: World, calendar: Calendar) -> None:
    for number in range(25):
        world.queue_job(number)
    calendar.pass_(days=2)
    plan = world.expire_plan(MONTH)
    assert (plan.total, [held.jobs for held in plan.held]) == (0, [25])
    assert world.expire(MONTH, allowed={"expire": 25}).counts["done"] == 25


def test_a_brake_on_files_holds_their_jobs_with_them(world: World, calendar: Calendar) -> None:
    """The record of a job that a service keeps names no root; its file lies below one."""
    world.start_job()
    world.video()
    world.finish_job()
    world.recover()
    calendar.pass_(days=31)
    world.changes["policy"] = replace(MONTH, max_bytes=1)
    plan = world.expire_plan(MONTH)
    assert (plan.total, [held.files for held in plan.held]) == (0, [1])


def test_more_bytes_than_allowed_are_held_however_few_files_they_are(
    world: World, calendar: Calendar
) -> None:
    world.file("temp_composition_1.mp4", b"x" * 2_000)
    settle(world, calendar)
    assert [held.reason for held in world.cleanup_plan(max_bytes=1_000).held] == [
        "2,000 bytes in one run, more than 1,000"
    ]
    world.changes["policy"] = replace(Policy(), max_bytes=3_000)
    assert world.cleanup_plan().held == ()


def test_more_than_runs_took_before_is_held(world: World, calendar: Calendar) -> None:
    with world.site() as site:
        for _ in range(5):
            ran(site.store, {}, {})
    for number in range(21):
        leftover(world, number)
    settle(world, calendar)
    for number in range(21, 250):
        leftover(world, number)
    plan = world.cleanup_plan()
    assert [held.reason for held in plan.held] == ["21 items, more than 3 times the 2 of the last 5 runs"]


def test_what_lies_below_another_root_makes_no_share_smaller(world: World, calendar: Calendar) -> None:
    second = second_root(world)
    for number in range(21):
        leftover(world, number)
    settle(world, calendar)
    for number in range(300):
        leftover(second, number)
    plan = world.cleanup_plan()
    assert [held.reason for held in plan.held] == ["21 of 21 files, more than one in ten"]
