"""Cleanup: what may go into quarantine, when, and what stays whatever its name."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobctl.model.finding import FindingKind
from jobctl.model.plan import Verb
from jobctl.ops.quarantine import Wanted, wanted_from
from ops.world import Calendar, World, a_job_id, set_age, verbs


def leftover(world: World, number: int = 0) -> Path:
    return world.file(f"temp_composition_{number}.mp4")


def reasons(world: World) -> list[str]:
    return [kept.reason for kept in world.plans[-1].kept()]


def test_a_file_goes_only_after_a_second_complete_walk_a_grace_later(
    world: World, calendar: Calendar
) -> None:
    path = leftover(world)
    assert world.cleanup_plan().total == 0
    assert reasons(world) == ["seen so for the first time; it may go after 1 d"]
    calendar.pass_(hours=23)
    assert world.cleanup_plan().total == 0
    (reason,) = reasons(world)
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.fullmatch(rf"seen so for 23 h, since {moment}; it may go after 1 d", reason)
    calendar.pass_(hours=2)
    report = world.cleanup()
    assert (report.counts["done"], path.exists()) == (1, False)
    undone = world.undo(report.run_id)
    assert (undone.counts["done"], path.read_bytes()) == (1, b"x")
    assert world.cleanup_plan().total == 0
    calendar.pass_(hours=30)
    assert world.cleanup_plan().total == 0
    assert reasons(world) == ["it was given back from quarantine; --include-pinned takes it again"]
    assert verbs(world.cleanup_plan(include_pinned=True)) == [Verb.QUARANTINE]


def test_a_whole_orphan_is_left_for_recover_unless_it_is_asked_for(world: World, calendar: Calendar) -> None:
    path = world.video()
    world.scan(full=True)
    calendar.pass_(hours=25)
    assert world.cleanup_plan().total == 0
    report = world.cleanup(findings=frozenset({FindingKind.ORPHAN_VIDEO}))
    assert (report.counts["done"], path.exists()) == (1, False)
    world.undo(report.run_id)
    assert world.recover().counts["done"] == 1
    assert world.job().job_id == a_job_id()


def test_what_was_written_lately_or_at_no_sensible_time_can_be_spared(
    world: World, calendar: Calendar
) -> None:
    old, young, odd = (leftover(world, number) for number in range(3))
    set_age(old, 40 * 86_400)
    set_age(young, 20 * 86_400)
    set_age(odd, -400 * 365 * 86_400)
    world.scan(full=True)
    calendar.pass_(hours=25)
    planned = world.cleanup_plan(older_than=timedelta(days=30))
    assert [step.path for step in planned] == [old.name]
    assert sorted(reasons(world)) == [
        "its age cannot be told: its time makes no sense",
        "written 21 d 1 h ago, which is less than 30 d",
    ]
    assert world.cleanup_plan().total == 3


def test_of_two_whole_videos_of_one_job_neither_goes(world: World, calendar: Calendar) -> None:
    video = world.video()
    world.file(f"again/{video.name}", world.video(1, seed=5).read_bytes())
    world.scan(full=True)
    calendar.pass_(hours=25)
    assert world.cleanup_plan().total == 0
    assert reasons(world).count("which of its job's videos is the right one is not known") == 2


def test_where_a_finding_is_asked_for_no_other_goes(world: World, calendar: Calendar) -> None:
    leftover(world)
    hidden = world.file(f".presentation_{a_job_id(0)}.mp4.0123456789ab.part")
    world.scan(full=True)
    calendar.pass_(hours=25)
    planned = world.cleanup_plan(findings=frozenset({FindingKind.TEMPORARY}))
    assert ([step.path for step in planned], reasons(world)) == (
        [hidden.name],
        ["only temporary was asked for"],
    )


@pytest.mark.parametrize("year", [1600, 2400])
def test_a_file_of_another_age_ends_no_command_and_comes_back_as_it_was(
    world: World, calendar: Calendar, year: int
) -> None:
    """Its time in nanoseconds is more than the databases hold, where the file system holds it."""
    video, path = world.video(), leftover(world)
    moment = int((datetime(year, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    for place in (video, path, world.root):
        os.utime(place, (moment, moment))
    before = path.stat().st_mtime_ns
    assert world.recover().counts["done"] == 1
    calendar.pass_(hours=25)
    report = world.cleanup()
    assert (report.counts["done"], path.exists()) == (1, False)
    assert world.undo(report.run_id).counts["done"] == 1
    assert path.stat().st_mtime_ns == before
    assert world.recover().counts["planned"] == 0


def test_what_is_named_is_a_run_a_step_of_it_a_job_or_a_path() -> None:
    run = "20261123-163024-4f1a"
    assert wanted_from(run) == Wanted(run_id=run)
    assert wanted_from(f"{run}/7") == Wanted(run_id=run, action=7)
    for named in ("order.7", "2026/presentation_1.mp4", f"{run}/{'9' * 5_000}"):
        assert wanted_from(named) == Wanted(named=named)
