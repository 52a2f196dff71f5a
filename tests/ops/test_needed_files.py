"""Who needs a file: records, other names, links and tables that keep it from being taken away."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import update

from jobctl.model.status import Status
from jobctl.ops.plan import Plan
from jobctl.source import sources_from_list
from jobctl.store import schema
from ops.tidying import (
    MONTH,
    duplicates_plan,
    kept,
    leftover,
    link,
    settle,
    walked_before,
)
from ops.world import Calendar, World, a_job_id, set_age


def test_a_changed_layout_that_makes_orphans_of_all_takes_no_file_a_record_names(
    world: World, calendar: Calendar
) -> None:
    paths = [world.video(number) for number in range(3)]
    world.recover()
    world.changes["layouts"] = {
        "presentations": {"rules": [{"role": "intermediate", "glob": "presentation_*.mp4"}]}
    }
    settle(world, calendar)
    plan = world.cleanup_plan()
    assert (plan.total, all(path.exists() for path in paths)) == (0, True)
    assert all("names it" in reason for reason in kept(plan))


def test_a_file_that_two_records_name_stays_when_one_of_them_expires(
    world: World, calendar: Calendar
) -> None:
    path = world.video(0)
    world.recover()
    calendar.pass_(days=20)
    world.start_job(1)
    world.finish_job(1)
    link(world, 1, path.name)
    calendar.pass_(days=15)
    report = world.expire(MONTH)
    assert (report.counts["done"], world.job(0).status) == (1, Status.EXPIRED)
    assert path.exists()


@pytest.mark.parametrize("spelling", ["é/temp_composition_0.mp4", "É/TEMP_composition_0.mp4"])
def test_a_record_that_names_a_file_in_another_spelling_keeps_it(
    world: World, calendar: Calendar, spelling: str
) -> None:
    world.file("e\u0301/temp_composition_0.mp4")
    world.start_job(1)
    world.finish_job(1)
    link(world, 1, spelling, role="intermediate")
    settle(world, calendar)
    plan = world.cleanup_plan()
    assert (plan.total, kept(plan)) == (
        0,
        [f"the record of job {a_job_id(1)} names it in another spelling"],
    )


def test_what_a_symbolic_link_leads_to_stays_and_a_dangling_one_hinders_nothing(
    world: World, calendar: Calendar
) -> None:
    path, other, third = (leftover(world, number) for number in range(3))
    (world.root / "current.mp4").symlink_to(path.name)
    (world.root / "temp_composition_9.mp4").symlink_to(third.name)
    (world.root / "lost.mp4").symlink_to("nowhere")
    settle(world, calendar)
    report = world.cleanup()
    assert (report.counts["done"], other.exists()) == (1, False)
    assert (path.exists(), third.exists()) == (True, True), "whatever the link is called"


def test_what_a_link_leads_to_by_way_of_one_outside_stays(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    path = leftover(world)
    (tmp_path / "outside").symlink_to(path)
    (world.root / "current.mp4").symlink_to(tmp_path / "outside")
    settle(world, calendar)
    assert (world.cleanup_plan().total, path.exists()) == (0, True)
    assert kept(world.plans[-1]) == ["the symbolic link current.mp4 leads to it"]


@pytest.mark.parametrize("command", ["cleanup", "duplicates", "expire"])
def test_what_a_link_leads_to_stays_also_where_nothing_changed_beside_the_link(
    world: World, calendar: Calendar, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """What takes away walks everything anew: a walk of what changed does not see that link."""
    path = about_to_go(world, command)
    world.root.joinpath("quiet").mkdir()
    world.root.joinpath("quiet/current").symlink_to(path)
    walked_before(world, monkeypatch)
    settle(world, calendar, days=31)
    assert path.name not in [action.path for action in plan_of(world, command)]
    assert kept(world.plans[-1]) == ["the symbolic link quiet/current leads to it"]


def test_a_file_that_was_written_anew_waits_like_a_new_one_though_its_directory_is_as_it_was(
    world: World, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.file("quiet/temp_composition_0.mp4")
    walked_before(world, monkeypatch)
    settle(world, calendar)
    path.write_bytes(b"another")
    set_age(path, 7_200)
    assert (world.cleanup_plan().total, kept(world.plans[-1])) == (
        0,
        ["seen so for the first time; it may go after 1 d"],
    )


def about_to_go(world: World, command: str) -> Path:
    """A file that a command takes away once it is settled."""
    if command == "cleanup":
        return leftover(world)
    path = world.video()
    world.recover()
    if command == "expire":
        return path
    return world.file(f"presentation_{a_job_id(5)}.mp4", path.read_bytes())


def plan_of(world: World, command: str) -> Plan:
    if command == "cleanup":
        return world.cleanup_plan()
    if command == "expire":
        return world.expire_plan(MONTH)
    return duplicates_plan(world)


@pytest.mark.parametrize("command", ["cleanup", "duplicates", "expire"])
def test_a_file_stays_that_a_record_names_as_missing_but_not_one_it_has_let_go(
    world: World, calendar: Calendar, command: str
) -> None:
    """A missing file that is there has come back."""
    path = about_to_go(world, command)
    settle(world, calendar, days=31)
    world.start_job(1)
    world.finish_job(1)
    link(world, 1, path.name, role="intermediate")
    for state, stays in (("missing", True), ("quarantined", False), ("purged", False)):
        with world.site() as site, site.store.write() as connection:
            row = schema.artifact.c.job_id == a_job_id(1)
            connection.execute(update(schema.artifact).where(row).values(state=state))
        assert (path.name not in [action.path for action in plan_of(world, command)]) == stays, state
        reason = f"the record of job {a_job_id(1)} names it"
        assert (reason in kept(world.plans[-1])) == stays, state


def test_a_file_that_a_record_names_through_a_linked_directory_stays(
    world: World, calendar: Calendar
) -> None:
    path = world.file("2026/temp_composition_0.mp4")
    (world.root / "latest").symlink_to("2026")
    world.start_job(1)
    world.finish_job(1)
    link(world, 1, "latest/temp_composition_0.mp4", role="intermediate")
    settle(world, calendar)
    assert (world.cleanup_plan().total, path.exists()) == (0, True)


def test_of_two_names_of_one_file_one_goes_and_comes_back(world: World, calendar: Calendar) -> None:
    path = leftover(world, 0)
    other = world.root / "temp_composition_5.mp4"
    os.link(path, other)
    settle(world, calendar)
    report = world.cleanup()
    assert report.counts["done"] == 2
    assert world.undo(report.run_id).counts["done"] == 2
    assert path.samefile(other)


def test_a_referenced_job_is_kept_also_where_the_row_came_after_the_plan(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    orders = tmp_path / "orders.db"
    with sqlite3.connect(orders) as database:
        database.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
    database.close()
    described = {"name": "orders", "database": str(orders), "table": "orders", "columns": {"job_id": "id"}}
    world.changes["sources"] = sources_from_list([described], "here")
    path = world.video()
    world.recover()
    calendar.pass_(days=31)
    plan = world.expire_plan(MONTH)
    assert plan.total == 2
    with sqlite3.connect(orders) as database:
        database.execute("INSERT INTO orders VALUES (?)", [a_job_id()])
    database.close()
    report = world.apply(plan)
    assert (report.counts["conflict"], path.exists(), world.job().status) == (2, True, Status.COMPLETED)
    assert world.expire_plan(MONTH).total == 0
    assert "names it" in kept(world.plans[-1])[0]
