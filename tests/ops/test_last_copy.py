"""The last there is of something, and what came between a plan and its application."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from jobctl.errors import SourceUnusable, StaleJob
from jobctl.model.finding import FindingKind
from jobctl.model.plan import Outcome, Verb
from jobctl.model.status import Cause, Status
from jobctl.source import sources_from_list
from jobctl.store import jobs
from ops.tidying import (
    MONTH,
    differences,
    duplicates_plan,
    kept,
    leftover,
    link,
    notes,
    purge_plan,
    restore,
    settle,
)
from ops.world import Calendar, World, a_job_id, dead_executor, verbs


def second_video(world: World) -> Path:
    """The video of job 0 once more, in another directory."""
    path = world.root / f"presentation_{a_job_id(0)}.mp4"
    return world.file(f"again/{path.name}", path.read_bytes())


def change_status(world: World, number: int, to: Status, *, expect: Status, cause: Cause) -> None:
    with world.site() as site, site.store.write() as connection:
        at = site.store.now(connection)
        jobs.change_status(connection, a_job_id(number), to, expect=expect, cause=cause, actor="x", at=at)


# --- the last copy -----------------------------------------------------------------------------------


def test_a_purge_keeps_what_became_the_last_copy_after_its_plan(world: World, calendar: Calendar) -> None:
    video = world.video()
    world.recover()
    second_video(world)
    settle(world, calendar)
    assert world.apply(duplicates_plan(world)).counts["done"] == 1
    calendar.pass_(days=15)
    plan = purge_plan(world)
    assert verbs(plan) == [Verb.PURGE]
    video.unlink()
    report = world.apply(plan)
    assert (report.counts["done"], report.counts["conflict"], report.exit_code) == (0, 1, 3)
    assert restore(world, named=f"again/{video.name}").counts["done"] == 1


def test_where_the_copy_that_was_to_stay_went_before_the_plan_nothing_is_a_copy(
    world: World, calendar: Calendar
) -> None:
    video = world.video()
    world.recover()
    second = second_video(world)
    settle(world, calendar)
    video.unlink()
    assert (duplicates_plan(world).total, second.exists()) == (0, True)


def test_two_plans_that_each_rest_on_the_others_copy_leave_one(world: World, calendar: Calendar) -> None:
    paths = [world.video(0), world.video(1, seed=0)]
    settle(world, calendar)
    first = duplicates_plan(world)
    (moved,) = [action.path for action in first]
    world.queue_job(0 if moved == paths[0].name else 1)
    world.scan(full=True)
    calendar.pass_(hours=23)
    second = duplicates_plan(world)
    reports = [world.apply(plan) for plan in (first, second)]
    assert sum(report.counts["done"] for report in reports) <= 1
    assert any(path.exists() for path in paths)


def test_the_only_video_of_a_completed_job_is_not_purged_after_a_hundred_years(
    world: World, calendar: Calendar
) -> None:
    world.video()
    world.recover()
    calendar.pass_(days=31)
    world.expire(MONTH)
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE {site.store.dialect.table('job')} SET status = 'completed'")
    for years in (1, 8, 91):
        calendar.pass_(days=365 * years)
        assert purge_plan(world, older_than=timedelta(days=1)).total == 0


# --- a saved plan meets a changed world -------------------------------------------------------------------


def orders(world: World, place: Path) -> Path:
    """Register a table that refers to jobs."""
    path = place / "orders.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
    described = {"name": "orders", "database": str(path), "table": "orders", "columns": {"job_id": "id"}}
    world.changes["sources"] = sources_from_list([{**described, "references": True}], "here")
    return path


def test_a_row_that_names_an_orphan_after_the_plan_keeps_it(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    table = orders(world, tmp_path)
    path = world.file(f"presentation_{a_job_id(3)}.mp4", b"half of it")
    settle(world, calendar)
    plan = world.cleanup_plan()
    assert verbs(plan) == [Verb.QUARANTINE]
    with closing(sqlite3.connect(table)) as database, database:
        database.execute("INSERT INTO orders VALUES (?)", [a_job_id(3)])
    report = world.apply(plan)
    ((outcome, note),) = notes(world, report)
    assert (outcome, path.exists()) == (Outcome.CONFLICT, True)
    assert note is not None
    assert "orders" in note
    assert world.cleanup_plan().total == 0


def test_a_table_that_is_gone_when_the_plan_is_applied_stops_all_of_it(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    table = orders(world, tmp_path)
    world.video()
    world.recover()
    leftover(world)
    settle(world, calendar, days=31)
    before = world.tree(), world.tables()
    for plan in (world.cleanup_plan(), world.expire_plan(MONTH)):
        assert plan.total > 0
        table.rename(tmp_path / "away")
        with pytest.raises(SourceUnusable, match="it cannot be told") as refused:
            world.apply(plan)
        assert (refused.value.exit_code, bool(refused.value.hint)) == (3, True)
        (tmp_path / "away").rename(table)
    assert (world.tree(), world.tables()) == before


def test_a_job_that_was_deleted_after_the_plan_is_not_ended_and_its_file_stays(
    world: World, calendar: Calendar
) -> None:
    path = world.video()
    world.recover()
    calendar.pass_(days=31)
    plan = world.expire_plan(MONTH)
    with world.site() as site, site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(), actor="user", at=site.store.now(connection))
    report = world.apply(plan)
    assert (report.counts["done"], report.exit_code, path.exists()) == (0, 3, True)
    assert world.job_ids() == set()


def test_the_leftover_of_a_job_that_was_deleted_after_the_plan_is_judged_anew(
    world: World, calendar: Calendar
) -> None:
    world.start_job(0, executor=dead_executor())
    world.expire(MONTH)
    path = world.file(f"avatar_{a_job_id(0)}.mp4")
    settle(world, calendar)
    plan = world.cleanup_plan()
    with world.site() as site, site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(), actor="user", at=site.store.now(connection))
    report = world.apply(plan)
    assert (notes(world, report), path.exists()) == (
        [(Outcome.CONFLICT, "its record was changed since")],
        True,
    )
    assert world.cleanup_plan().total == 1


def test_a_job_that_was_retried_after_the_plan_does_not_expire(world: World, calendar: Calendar) -> None:
    world.start_job(0, executor=dead_executor())
    world.expire(MONTH)
    path = world.file(f"avatar_{a_job_id(0)}.mp4")
    link(world, 0, path.name, role="intermediate")
    calendar.pass_(days=31)
    plan = world.expire_plan(MONTH)
    assert verbs(plan) == [Verb.EXPIRE, Verb.QUARANTINE]
    change_status(world, 0, Status.QUEUED, expect=Status.FAILED, cause=Cause.OPERATOR)
    report = world.apply(plan)
    assert (report.counts["conflict"], world.job().status, path.exists()) == (2, Status.QUEUED, True)


@pytest.mark.parametrize("state", ["present", "missing"])
def test_a_record_that_came_to_name_a_file_after_the_plan_keeps_it(
    world: World, calendar: Calendar, state: str
) -> None:
    path = leftover(world)
    world.start_job(1)
    world.finish_job(1)
    settle(world, calendar)
    plan = world.cleanup_plan()
    link(world, 1, path.name, role="intermediate", state=state)
    report = world.apply(plan)
    assert (notes(world, report), path.exists()) == (
        [(Outcome.CONFLICT, "a record refers to it now")],
        True,
    )


def test_a_file_moved_away_and_back_or_turned_into_a_link_is_not_the_planned_one(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    path = leftover(world)
    settle(world, calendar)
    plan = world.cleanup_plan()
    path.rename(tmp_path / "precious")
    path.symlink_to(tmp_path / "precious")
    report = world.apply(plan)
    assert (report.counts["skipped"], path.is_symlink(), (tmp_path / "precious").exists()) == (1, True, True)


def test_a_worker_whose_job_was_given_to_another_can_write_nothing_more(world: World) -> None:
    world.start_job(0, executor=dead_executor())
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE {site.store.dialect.table('job')} SET max_attempts = 2")
    assert world.expire(MONTH).counts["done"] == 1
    assert world.job().status is Status.QUEUED
    refuses_attempt_1(world)
    change_status(world, 0, Status.PROCESSING, expect=Status.QUEUED, cause=Cause.CLAIM)
    refuses_attempt_1(world)
    assert world.job().attempt == 2


def refuses_attempt_1(world: World) -> None:
    """The worker of the first attempt wakes up: nothing it says is taken down."""
    before = world.job()
    with world.site() as site, site.store.write() as connection:
        at = site.store.now(connection)
        for to in (Status.COMPLETED, Status.FAILED):
            ending = {"expect": Status.PROCESSING, "cause": Cause.EXECUTOR, "actor": "worker", "at": at}
            with pytest.raises(StaleJob):
                jobs.change_status(connection, a_job_id(), to, attempt=1, **ending)
    assert world.job() == before


# --- what was given back -----------------------------------------------------------------------------------


def test_an_orphan_that_was_given_back_stays_until_it_is_asked_for(world: World, calendar: Calendar) -> None:
    path = leftover(world)
    settle(world, calendar)
    report = world.cleanup()
    assert restore(world, run_id=report.run_id).counts["done"] == 1
    settle(world, calendar, days=40)
    assert (world.cleanup_plan().total, kept(world.plans[-1])) == (
        0,
        ["it was given back from quarantine; --include-pinned takes it again"],
    )
    assert world.cleanup(include_pinned=True).counts["done"] == 1
    assert not path.exists()


def test_a_new_file_in_place_of_one_that_was_given_back_is_not_pinned(
    world: World, calendar: Calendar
) -> None:
    path = leftover(world)
    settle(world, calendar)
    restore(world, run_id=world.cleanup().run_id)
    path.unlink()
    path.write_bytes(b"another")
    settle(world, calendar)
    assert world.cleanup().counts["done"] == 1


def test_of_two_names_of_one_file_one_goes_alone_and_its_bytes_stay_under_the_other(
    world: World, calendar: Calendar
) -> None:
    path = leftover(world)
    other = world.root / "current_song.mp4"
    os.link(path, other)
    settle(world, calendar)
    report = world.cleanup()
    assert (report.counts["done"], path.exists(), other.read_bytes()) == (1, False, b"x")
    assert notes(world, report) == [(Outcome.DONE, "it has 2 names: its bytes stay under the others")]
    assert restore(world, run_id=report.run_id).counts["done"] == 1
    assert path.samefile(other)
    assert differences(world) == []


def test_a_whole_orphan_goes_only_where_it_is_asked_for_and_comes_back_for_recover(
    world: World, calendar: Calendar
) -> None:
    path = world.video()
    settle(world, calendar)
    assert world.cleanup_plan().total == 0
    report = world.cleanup(findings=frozenset({FindingKind.ORPHAN_VIDEO}))
    assert (report.counts["done"], path.exists()) == (1, False)
    assert world.undo(report.run_id).counts["done"] == 1
    assert world.recover().counts["done"] == 1
    assert world.job().status is Status.COMPLETED


def test_a_file_that_by_its_name_is_a_living_jobs_stays_when_another_record_that_names_it_expires(
    world: World, calendar: Calendar
) -> None:
    slide = world.file(f"slide_1_{a_job_id(0)}.mp4")
    world.video(1)
    world.recover()
    calendar.pass_(days=31)
    world.queue_job(0)
    link(world, 1, slide.name, role="slide")
    world.expire(MONTH)
    assert (world.job(1).status, slide.exists()) == (Status.EXPIRED, True)
