"""Disasters: what must never be taken away, whatever went wrong before."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from jobctl.errors import (
    JobctlError,
    RootUnavailable,
    SourceUnusable,
    StoreOlderThanRoot,
)
from jobctl.model.plan import Outcome, Verb
from jobctl.model.status import Cause, Status
from jobctl.ops.expire import ExpireOptions, plan_expire
from jobctl.ops.hold import hold_roots
from jobctl.ops.init import initialise
from jobctl.ops.roots import adopt_root, list_roots, take_over_root
from jobctl.ops.site import Progress
from jobctl.outputs.walk import walk
from jobctl.source import sources_from_list
from jobctl.store import jobs, run_steps, schema
from ops.tidying import (
    MONTH,
    failing_scandir,
    kept,
    leftover,
    notes,
    observed,
    purge_plan,
    restore,
    second_root,
    settle,
    store_now,
    walked_before,
)
from ops.world import Calendar, World, a_job_id, dead_executor, set_age, verbs
from store.records import show_life

# --- roots and stores ----------------------------------------------------------------------------


def test_with_one_of_two_roots_away_nothing_is_taken_anywhere(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    second = second_root(world).root
    path = leftover(world)
    settle(world, calendar)
    second.rename(tmp_path / "away")
    for command in (world.cleanup, world.expire):
        with pytest.raises(RootUnavailable, match="nothing was changed"):
            command()
    assert path.exists()


def test_an_empty_store_takes_nothing_from_the_root_of_another(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    leftover(world)
    stranger = World(str(tmp_path / "other.db"), world.root)
    with pytest.raises(JobctlError, match="belongs to another job store"):
        stranger.init()
    assert world.root.joinpath("temp_composition_0.mp4").exists()


def test_an_older_store_takes_nothing(world: World, calendar: Calendar) -> None:
    path = leftover(world)
    settle(world, calendar)
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE {site.store.dialect.table('root')} SET generation = 0")
    (world.root / ".jobctl" / "root.json").write_text(
        (world.root / ".jobctl" / "root.json").read_text().replace('"generation": 0', '"generation": 3')
    )
    with pytest.raises(StoreOlderThanRoot):
        world.cleanup()
    assert path.exists()


def test_after_an_older_store_was_accepted_nothing_is_taken_before_a_recover(
    world: World, calendar: Calendar
) -> None:
    leftover(world)
    settle(world, calendar)
    with world.site() as site, site.store.write() as connection:
        table, now = site.store.dialect.table("root"), site.store.now(connection)
        connection.exec_driver_sql(
            f"UPDATE {table} SET negatives_suspended_at = '{now:%Y-%m-%dT%H:%M:%S.%f}Z'"
        )
    plan = world.cleanup_plan()
    assert (plan.total, "a complete 'jobctl recover' comes first" in kept(plan)[0]) == (0, True)
    world.recover()
    settle(world, calendar)
    assert world.cleanup_plan().total == 1


def test_after_an_older_store_was_accepted_no_job_expires_before_a_recover(
    world: World, calendar: Calendar
) -> None:
    """Jobs that have files by now of which these records know nothing: they would be left over."""
    world.start_job(0)
    world.finish_job(0)
    world.queue_job(1)
    calendar.pass_(days=40)
    with world.site() as site:
        adopt_root(site, str(world.root))
    plan = world.expire_plan(MONTH)
    assert (plan.total, plan.kept_count) == (0, 2)
    assert all("a complete 'jobctl recover' comes first" in reason for reason in kept(plan))
    world.recover()
    assert verbs(world.expire_plan(MONTH)) == [Verb.EXPIRE, Verb.EXPIRE]


def test_every_age_that_cleanup_waits_for_begins_anew_where_an_older_store_was_accepted(
    world: World, calendar: Calendar
) -> None:
    """What nothing referred to then may have got a reference that this store knows nothing of."""
    leftover(world)
    settle(world, calendar)
    with world.site() as site:
        adopt_root(site, str(world.root))
    world.recover()
    assert world.cleanup_plan().total == 0
    settle(world, calendar)
    assert world.cleanup_plan().total == 1


def test_a_lost_store_does_not_lose_its_quarantine(world: World, calendar: Calendar, tmp_path: Path) -> None:
    path = world.video()
    world.recover()
    calendar.pass_(days=31)
    assert world.expire(MONTH).counts["done"] == 2
    new = World(str(tmp_path / "new.db"), world.root)
    initialise(new.settings, roots=[], layout="presentations", host_local=False, now=store_now(world))
    with new.site() as site:
        take_over_root(site, str(new.root), layout="presentations")
        assert list_roots(site)[0].is_suspended
    assert restore(new, job_id=a_job_id()).counts["done"] == 1
    assert (path.exists(), new.recover().counts["done"]) == (True, 1)
    with pytest.raises(RootUnavailable, match="belongs to another job store"):
        world.cleanup()


# --- what cannot be read ---------------------------------------------------------------------------


def test_below_a_directory_that_cannot_be_read_and_beside_it_nothing_is_taken(
    world: World, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftover(world)
    world.file("below/temp_composition_7.mp4")
    settle(world, calendar)
    scandir = failing_scandir(world, "below")
    monkeypatch.setattr(
        "jobctl.ops.scan.walk", lambda *given, **named: walk(*given, scandir=scandir, **named)
    )
    plan = world.cleanup_plan()
    assert (plan.total, plan.is_incomplete) == (0, True)
    assert "its root was not read completely: below" in kept(plan)[0]


def test_no_job_expires_whose_files_lie_below_a_root_that_was_not_read_completely(
    world: World, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.video()
    world.file("below/temp_composition_7.mp4")
    world.recover()
    calendar.pass_(days=40)
    scandir = failing_scandir(world, "below")
    with monkeypatch.context() as patched:
        patched.setattr(
            "jobctl.ops.scan.walk", lambda *given, **named: walk(*given, scandir=scandir, **named)
        )
        plan = world.expire_plan(MONTH)
    assert (plan.total, plan.is_incomplete) == (0, True)
    assert kept(plan) == ["its root was not read completely: below: Input/output error"]
    assert verbs(world.expire_plan(MONTH)) == [Verb.EXPIRE, Verb.QUARANTINE]


def test_no_job_expires_whose_files_lie_below_another_root_than_is_looked_at(
    world: World, calendar: Calendar
) -> None:
    second = second_root(world)
    world.video()
    world.recover()
    calendar.pass_(days=40)
    with world.site() as site, hold_roots(site, command="expire", only=str(second.root)) as hold:
        with plan_expire(hold, ExpireOptions(policy=MONTH)) as plan:
            assert plan.total == 0
            assert "which is not seen from here" in kept(plan)[0]


def test_an_intermediate_stays_where_the_video_went_after_the_plan(world: World, calendar: Calendar) -> None:
    """It may be all that is left of its job."""
    video = world.video()
    world.recover()
    path = world.file(f"avatar_{a_job_id(0)}.mp4")
    settle(world, calendar)
    plan = world.cleanup_plan()
    assert [action.path for action in plan] == [path.name]
    video.unlink()
    assert (world.apply(plan).counts["conflict"], path.exists()) == (1, True)


@pytest.mark.parametrize(
    "first", ["complete", "with a gap", "of one job", "of what changed", "by older records"]
)
def test_only_a_walk_that_left_nothing_out_counts_as_the_first_one(
    world: World, calendar: Calendar, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    if first == "of what changed":
        walked_before(world, monkeypatch)
    world.start_job(0, executor=dead_executor())
    world.expire(MONTH)
    path = world.file(f"below/avatar_{a_job_id(0)}.mp4")
    world.file("beside/temp_composition_7.mp4")
    if first == "complete":
        world.scan(full=True)
    elif first == "with a gap":
        scandir = failing_scandir(world, "beside")
        with monkeypatch.context() as patched:
            patched.setattr(
                "jobctl.ops.scan.walk", lambda *given, **named: walk(*given, scandir=scandir, **named)
            )
            world.scan(full=True)
    elif first == "of one job":
        world.scan(full=True, only=(a_job_id(0),))
    elif first == "of what changed":
        world.scan()
    else:
        with world.site() as site:
            adopt_root(site, str(world.root))
        world.scan(full=True)
        with world.site() as site, site.store.write() as connection:
            connection.execute(update(schema.root).values(negatives_suspended_at=None))
    calendar.pass_(hours=25)
    plan = world.cleanup_plan()
    assert (f"below/{path.name}" in [action.path for action in plan]) == (first == "complete")


def test_a_table_that_cannot_be_read_stops_all_that_takes_away(world: World, calendar: Calendar) -> None:
    path = leftover(world)
    settle(world, calendar)
    world.changes["sources"] = sources_from_list(
        [{"name": "orders", "table": "no_such_table", "columns": {"job_id": "id"}}], "here"
    )
    for command in (world.cleanup, world.expire):
        with pytest.raises(SourceUnusable, match="cannot be told which jobs"):
            command()
    assert path.exists()


def test_a_table_that_is_gone_halfway_through_planning_stops_it(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    """Open jobs are looked at first, beside the tables, then the ended ones: by then they are read again."""
    orders = tmp_path / "orders.db"
    with closing(sqlite3.connect(orders)) as database:
        database.execute("CREATE TABLE orders (id TEXT)")
    described = {"name": "orders", "database": str(orders), "table": "orders", "references": True}
    world.changes["sources"] = sources_from_list([{**described, "columns": {"job_id": "id"}}], "here")
    world.video()
    world.recover()
    calendar.pass_(days=31)
    world.start_job(1)

    def drop(step: Progress) -> None:
        if step.phase == "check":
            orders.unlink(missing_ok=True)

    with world.site() as site, hold_roots(site, command="expire") as hold:
        with pytest.raises(SourceUnusable, match="cannot be told which jobs"):
            plan_expire(hold, ExpireOptions(policy=MONTH), progress=drop)


# --- what happens between a plan and its application -----------------------------------------------


def test_a_record_made_while_the_question_waits_keeps_its_file(world: World, calendar: Calendar) -> None:
    path = world.file(f"presentation_{a_job_id(3)}.mp4", b"half of it")
    settle(world, calendar)
    plan = world.cleanup_plan()
    world.queue_job(3)
    report = world.apply(plan)
    assert (report.counts["conflict"], report.exit_code, path.exists()) == (1, 3, True)
    assert notes(world, report) == [(Outcome.CONFLICT, "a record of its job was made since")]


def test_a_retried_job_keeps_its_leftovers(world: World, calendar: Calendar) -> None:
    world.start_job(0, executor=dead_executor())
    world.expire(MONTH)
    path = world.file(f"avatar_{a_job_id(0)}.mp4")
    settle(world, calendar)
    plan = world.cleanup_plan()
    assert verbs(plan) == [Verb.QUARANTINE]
    with world.site() as site, site.store.write() as connection:
        jobs.change_status(
            connection,
            a_job_id(0),
            Status.QUEUED,
            expect=Status.FAILED,
            cause=Cause.OPERATOR,
            actor="ops",
            at=site.store.now(connection),
        )
    assert (world.apply(plan).counts["conflict"], path.exists()) == (1, True)


@pytest.mark.parametrize("taken", [False, True], ids=["free", "taken"])
def test_a_job_that_is_retried_while_its_leftover_is_being_moved_gets_it_back(
    world: World, calendar: Calendar, taken: bool
) -> None:
    """Or, where another file has its name by now, it is told that it did not."""
    world.start_job(0, executor=dead_executor())
    world.expire(MONTH)
    path = world.file(f"avatar_{a_job_id(0)}.mp4", b"old")
    settle(world, calendar)
    plan = world.cleanup_plan()
    moved: list[str] = []

    def retry(name: str, _: int) -> None:
        if name != "rename" or moved:
            return
        moved.append(name)
        if taken:
            path.write_bytes(b"new")
        queue_again(world)

    with observed(after=retry):
        report = world.apply(plan)
    assert (report.counts["conflict"], path.read_bytes()) == (1, b"new" if taken else b"old")
    ((_, note),) = notes(world, report)
    assert ("it could not be put back" in str(note)) == taken


def queue_again(world: World) -> None:
    """Retry job 0, which failed."""
    with world.site() as site, site.store.write() as connection:
        at = site.store.now(connection)
        change = {"expect": Status.FAILED, "cause": Cause.OPERATOR, "actor": "ops", "at": at}
        jobs.change_status(connection, a_job_id(0), Status.QUEUED, **change)


def test_a_job_that_is_retried_while_the_move_of_its_leftover_is_journalled_gets_it_back(
    postgresql_url: str, tmp_path: Path, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server others write between the statements of a transaction, too."""
    world = World(postgresql_url, tmp_path / "outputs")
    world.init()
    world.start_job(0, executor=dead_executor())
    world.expire(MONTH)
    path = world.file(f"avatar_{a_job_id(0)}.mp4")
    settle(world, calendar)
    journal, plan = run_steps.apply_chunk, world.cleanup_plan()

    def journal_late(*arguments: Any, **named: Any) -> None:
        assert not path.exists()
        queue_again(world)
        journal(*arguments, **named)

    monkeypatch.setattr(run_steps, "apply_chunk", journal_late)
    report = world.apply(plan)
    world.close()
    assert (report.counts["conflict"], path.exists()) == (1, True)


@pytest.mark.parametrize("how", ["replaced", "overwritten"])
def test_a_file_changed_after_the_plan_stays(world: World, calendar: Calendar, how: str) -> None:
    path = leftover(world, 4)
    settle(world, calendar)
    plan, before = world.cleanup_plan(), path.stat()
    if how == "replaced":
        path.rename(path.with_suffix(".old"))
        path.write_bytes(b"y" * 5)
    else:
        path.write_bytes(b"y" * 5)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    report = world.apply(plan)
    assert (report.counts["skipped"], path.read_bytes()) == (1, b"yyyyy")


def test_a_writer_that_paused_with_its_file_open_keeps_it(world: World, calendar: Calendar) -> None:
    path = leftover(world, 0)
    settle(world, calendar)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; f = open(sys.argv[1], 'ab'); print(flush=True); input()", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        report = world.cleanup()
        writer.communicate(b"\n")
    assert (report.counts["skipped"], path.exists()) == (1, True)
    assert notes(world, report) == [(Outcome.SKIPPED, "it is still being written")]


def test_a_fresh_file_with_an_old_time_has_to_wait_like_any_other(world: World, calendar: Calendar) -> None:
    settle(world, calendar)
    path = leftover(world, 0)
    set_age(path, 400 * 86_400.0)
    assert (world.cleanup_plan().total, path.exists()) == (0, True)


def test_a_zombie_that_comes_back_is_not_failed(world: World) -> None:
    world.start_job(0, executor=dead_executor())
    plan = world.expire_plan(MONTH)
    assert verbs(plan) == [Verb.FAIL]
    with world.site() as site, site.store.write() as connection:
        show_life(connection, a_job_id(0), at=site.store.now(connection))
    report = world.apply(plan)
    assert notes(world, report) == [(Outcome.CONFLICT, "its worker showed a sign of life since")]
    assert world.job().status is Status.PROCESSING


def test_a_living_job_is_not_touched_by_the_default_policy(world: World, calendar: Calendar) -> None:
    world.start_job(0, ago_s=713.0)
    for _ in range(3):
        assert world.expire_plan().total == 0
        calendar.pass_(seconds=60)
    assert world.job().status is Status.PROCESSING


# --- clocks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("years", [5, -5])
def test_a_clock_that_jumps_by_years_makes_nothing_old(world: World, calendar: Calendar, years: int) -> None:
    path, video = leftover(world), world.video()
    world.recover()
    settle(world, calendar, hours=1)
    world.cleanup()
    calendar.jump(days=365 * years)
    troubles: list[JobctlError] = []
    with world.site() as site, hold_roots(site, command="cleanup") as hold:
        from jobctl.ops.cleanup import CleanupOptions, plan_cleanup  # noqa: PLC0415 - for its troubles

        with plan_cleanup(hold, CleanupOptions(), troubles=troubles) as plan:
            assert plan.total == 0
    assert [error.code for error in troubles] == ["clock-jumped"]
    assert world.expire_plan(MONTH).total == 0
    assert (path.exists(), video.exists()) == (True, True)
    calendar.pass_(hours=1)
    assert world.cleanup_plan().total == 0
    calendar.pass_(hours=25)
    assert world.cleanup().counts["done"] == 1


def test_quarantine_is_not_old_because_the_clock_jumped(world: World, calendar: Calendar) -> None:
    leftover(world)
    settle(world, calendar)
    world.cleanup()
    calendar.jump(days=365)
    plan = purge_plan(world)
    assert (plan.total, plan.kept_count) == (0, 1)
