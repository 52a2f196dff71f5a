"""Cleanup: what may go into quarantine, when, and what stays whatever its name."""

from __future__ import annotations

import re
from pathlib import Path

from jobctl.model.finding import FindingKind
from jobctl.model.plan import Verb
from jobctl.ops.quarantine import Wanted, wanted_from
from ops.world import Calendar, World, a_job_id, verbs


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


def test_what_is_named_is_a_run_a_step_of_it_a_job_or_a_path() -> None:
    run = "20261123-163024-4f1a"
    assert wanted_from(run) == Wanted(run_id=run)
    assert wanted_from(f"{run}/7") == Wanted(run_id=run, action=7)
    for named in ("order.7", "2026/presentation_1.mp4", f"{run}/{'9' * 5_000}"):
        assert wanted_from(named) == Wanted(named=named)
