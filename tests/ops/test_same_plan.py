"""Copies to quarantine: which go, when, and what keeps them, on both databases."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from jobctl.errors import SourceUnusable
from jobctl.model.finding import FindingKind
from jobctl.model.plan import Action, Verb
from jobctl.ops.apply import RunReport, apply_plan
from jobctl.ops.hold import hold_roots
from jobctl.ops.plan import Plan, load_plan
from jobctl.ops.same_plan import plan_duplicates
from jobctl.source import sources_from_list
from jobctl.store import schema
from ops.world import Calendar, World, a_job_id, set_age


def name(number: int) -> str:
    return f"presentation_{a_job_id(number)}.mp4"


def planned(world: World, **options: Any) -> Plan:
    with world.site() as site, hold_roots(site, command="duplicates") as hold:
        plan = plan_duplicates(hold, **options)
    world.plans.append(plan)
    return plan


def applied(world: World, plan: Plan) -> RunReport:
    with world.site() as site, hold_roots(site, command="duplicates") as hold:
        return apply_plan(hold, plan)


def kept(plan: Plan) -> dict[str, str]:
    return {each.path: each.reason for each in plan.kept()}


def goes(plan: Plan) -> list[str | None]:
    return [action.path for action in plan]


def recorded_with_copy(world: World) -> Path:
    """A recorded video and a copy of it under another job's name, which no record knows."""
    world.video(0)
    world.recover()
    return world.video(1, seed=0)


def second_file(world: World, number: int = 0) -> Path:
    """The video of a job once more, in another directory."""
    second = world.root / "again" / name(number)
    second.parent.mkdir(exist_ok=True)
    second.write_bytes((world.root / name(number)).read_bytes())
    set_age(second, 3_600)
    return second


def settled(world: World, calendar: Calendar) -> None:
    """Walk completely, and let the grace pass."""
    world.scan(full=True)
    calendar.pass_(hours=25)


def test_a_copy_goes_only_after_a_second_complete_walk_a_grace_later(
    world: World, calendar: Calendar
) -> None:
    path = recorded_with_copy(world)
    content, before = path.read_bytes(), world.tables()
    first = planned(world)
    assert kept(first) == {name(1): "seen so for the first time; it may go after 1 d"}
    calendar.pass_(hours=23)
    assert planned(world).total == 0
    calendar.pass_(hours=2)
    report = applied(world, planned(world))
    assert (report.counts["done"], path.exists()) == (1, False)
    assert (world.root / name(0)).exists()
    assert world.tables() == before
    undone = world.undo(report.run_id)
    assert (undone.counts["done"], path.read_bytes()) == (1, content)
    calendar.pass_(hours=30)
    again = planned(world)
    assert (again.total, kept(again)) == (0, {name(1): "it stays as well: it was given back from quarantine"})


def test_the_step_says_what_it_rests_on(world: World, calendar: Calendar) -> None:
    recorded_with_copy(world)
    settled(world, calendar)
    plan = planned(world)
    assert plan.header.command == "duplicates"
    [step] = plan
    assert (step.verb, step.path, step.category) == (Verb.QUARANTINE, name(1), "duplicate")
    assert (step.job_id, step.expect_version, step.artifact_before) == (a_job_id(1), None, None)
    assert step.reason == f"nothing refers to it, and {name(0)} has the same bytes"
    for file, path in ((step.expect_file, world.root / name(1)), (relied(step), world.root / name(0))):
        assert file is not None
        assert (file.inode, file.size) == (path.stat().st_ino, path.stat().st_size)


def relied(step: Action) -> Any:
    assert step.relies_on is not None
    return step.relies_on.identity


def test_a_plan_can_be_saved_and_applied_later(world: World, calendar: Calendar, tmp_path: Path) -> None:
    path = recorded_with_copy(world)
    settled(world, calendar)
    planned(world).save(str(tmp_path / "plan"))
    plan = load_plan(str(tmp_path / "plan"))
    world.plans.append(plan)
    assert applied(world, plan).counts["done"] == 1
    assert not path.exists()


def test_where_no_record_is_one_copy_stays(world: World, calendar: Calendar) -> None:
    for number in range(3):
        world.video(number, seed=0, age_s=10_000 - number)
    settled(world, calendar)
    plan = planned(world)
    assert sorted(map(str, goes(plan))) == sorted([name(1), name(2)])
    assert applied(world, plan).counts["done"] == 2
    assert (world.root / name(0)).exists()
    assert planned(world).total == 0


def test_a_second_file_of_a_job_goes_while_its_record_is_as_it_was(world: World, calendar: Calendar) -> None:
    world.video(0)
    world.recover()
    second = second_file(world)
    settled(world, calendar)
    before = world.tables()
    plan = planned(world)
    [step] = plan
    assert step.expect_version == world.job(0).version
    assert applied(world, plan).counts["done"] == 1
    assert not second.exists()
    assert world.tables() == before


def test_a_second_file_of_a_job_without_record_goes(world: World, calendar: Calendar) -> None:
    world.video(0, age_s=90_000)
    second_file(world)
    settled(world, calendar)
    assert goes(planned(world)) == [f"again/{name(0)}"]


def test_cleanup_takes_no_second_file_since_it_compares_no_bytes(world: World, calendar: Calendar) -> None:
    world.video(0, age_s=90_000)
    second_file(world)
    settled(world, calendar)
    assert world.cleanup_plan(findings=frozenset({FindingKind.AMBIGUOUS})).total == 0


def test_what_a_record_or_a_table_refers_to_stays(world: World, calendar: Calendar, tmp_path: Path) -> None:
    world.video(0)
    world.video(1, seed=0)
    world.recover()
    world.video(2, seed=0)
    world.start_job(3)
    world.video(3, seed=0)
    a_reference(world, tmp_path / "app.db", a_job_id(2))
    settled(world, calendar)
    plan = planned(world)
    assert plan.total == 0
    assert kept(plan) == {
        name(1): f"it stays as well: the record of job {a_job_id(1)} names it",
        name(2): "it stays as well: t:1 refers to its job",
        name(3): "it stays as well: its job is recorded, and its record names none of the others",
    }


def a_reference(world: World, path: Path, *job_ids: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (id TEXT)")
        database.executemany("INSERT INTO t VALUES (?)", [(job_id,) for job_id in job_ids])
        database.commit()
    entry = {"name": "app", "table": "t", "database": str(path), "columns": {"job_id": "id"}}
    world.changes["sources"] = sources_from_list([entry], "test")


def test_without_every_reference_nothing_is_planned(world: World, calendar: Calendar, tmp_path: Path) -> None:
    recorded_with_copy(world)
    settled(world, calendar)
    a_reference(world, tmp_path / "app.db")
    (tmp_path / "app.db").unlink()
    with pytest.raises(SourceUnusable, match="nothing was taken away"):
        planned(world)


def test_a_copy_that_a_link_leads_to_stays(world: World, calendar: Calendar) -> None:
    path = recorded_with_copy(world)
    (world.root / f"slide_1_{a_job_id(1)}.mp4").symlink_to(path.name)
    settled(world, calendar)
    plan = planned(world)
    assert plan.total == 0
    assert "leads to it" in kept(plan)[name(1)]


def test_recorded_checksums_are_not_believed(world: World, calendar: Calendar) -> None:
    recorded_with_copy(world)
    path = world.root / name(0)
    content = bytearray(path.read_bytes())
    times = path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    settled(world, calendar)
    plan = planned(world)
    assert plan.total == 0


def test_where_the_copy_that_was_to_stay_is_gone_the_other_stays(world: World, calendar: Calendar) -> None:
    path = recorded_with_copy(world)
    settled(world, calendar)
    plan = planned(world)
    (world.root / name(0)).unlink()
    report = applied(world, plan)
    assert (report.counts["conflict"], report.counts["done"], path.exists()) == (1, 0, True)


def test_where_a_record_was_made_since_the_plan_its_file_stays(world: World, calendar: Calendar) -> None:
    path = recorded_with_copy(world)
    settled(world, calendar)
    plan = planned(world)
    world.start_job(1)
    report = applied(world, plan)
    assert (report.counts["conflict"], path.exists()) == (1, True)


def test_where_a_record_was_changed_since_the_plan_its_second_file_stays(
    world: World, calendar: Calendar
) -> None:
    world.video(0)
    world.recover()
    second = second_file(world)
    settled(world, calendar)
    plan = planned(world)
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(schema.job).values(version=schema.job.c.version + 1))
    report = applied(world, plan)
    assert (report.counts["conflict"], second.exists()) == (1, True)


def test_copies_of_several_roots_rest_on_one_that_stays(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    second = World(world.url, tmp_path / "second")
    second.init()
    world.video(0)
    world.recover()
    paths = [world.video(1, seed=0), second.video(2, seed=0), world.video(3, seed=0)]
    settled(world, calendar)
    report = applied(world, planned(world))
    assert report.counts["done"] == 3
    assert not any(path.exists() for path in paths)


def test_many_copies_are_held_until_they_are_allowed(world: World, calendar: Calendar) -> None:
    content = world.video(0).read_bytes()
    world.recover()
    for number in range(1, 26):
        world.file(name(number), content)
    settled(world, calendar)
    held = planned(world)
    assert held.total == 0
    [brake] = held.held
    assert (brake.category, brake.files, brake.allow) == ("duplicate", 25, 25)
    assert planned(world, allowed={"duplicate": 25}).total == 25


def test_hostile_names_are_moved_and_given_back(world: World, calendar: Calendar) -> None:
    world.video(0)
    world.recover()
    for number, directory in enumerate([b"a\nb", b"\x1b[31mred", b"caf\xe9", b"back\\slash"], start=1):
        place = world.root / os.fsdecode(directory)
        place.mkdir()
        world.video(number, seed=0).rename(place / name(number))
    settled(world, calendar)
    tree = world.tree()
    report = applied(world, planned(world))
    assert report.counts["done"] == 4
    assert len(world.tree()) == 1
    assert world.undo(report.run_id).counts["done"] == 4
    assert world.tree() == tree
