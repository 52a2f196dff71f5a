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
    UnknownEntry,
)
from jobctl.model.job import Job
from jobctl.model.plan import Outcome, Verb
from jobctl.model.status import Cause, Status
from jobctl.ops.expire import ExpireOptions, plan_expire
from jobctl.ops.hold import hold_roots
from jobctl.ops.init import initialise
from jobctl.ops.plan import Plan
from jobctl.ops.roots import adopt_root, list_roots, take_over_root
from jobctl.ops.site import Progress
from jobctl.outputs import effects
from jobctl.outputs.walk import walk
from jobctl.source import sources_from_list
from jobctl.store import jobs, schema
from ops.test_safety import failing_scandir
from ops.tidying import (
    MONTH,
    differences,
    duplicates_plan,
    kept,
    leftover,
    link,
    notes,
    observed,
    purge,
    purge_plan,
    restore,
    settle,
    store_now,
)
from ops.world import Calendar, World, a_job_id, dead_executor, set_age, verbs
from store.records import show_life

# --- roots and stores ----------------------------------------------------------------------------


def test_with_one_of_two_roots_away_nothing_is_taken_anywhere(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    second.mkdir()
    now = store_now(world)
    initialise(world.settings, roots=[str(second)], layout="presentations", host_local=False, now=now)
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
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    second = World(world.url, tmp_path / "second")
    initialise(
        world.settings,
        roots=[str(second.root)],
        layout="presentations",
        host_local=False,
        now=store_now(world),
    )
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


def walked_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that walks of what changed skip from now on."""
    world.root.joinpath("quiet").mkdir(exist_ok=True)
    world.scan()
    monkeypatch.setattr("jobctl.outputs.walk._MTIME_GRAIN_NS", -(10**18))


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


# --- who needs a file ------------------------------------------------------------------------------


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
    path, other = leftover(world, 0), leftover(world, 1)
    (world.root / "current.mp4").symlink_to(path.name)
    (world.root / "lost.mp4").symlink_to("nowhere")
    settle(world, calendar)
    report = world.cleanup()
    assert (report.counts["done"], path.exists(), other.exists()) == (1, True, False)


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
        ["seen so for the first time; it may go after 24 h"],
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
        with world.site() as site, site.store.write() as connection:
            at = site.store.now(connection)
            change = {"expect": Status.FAILED, "cause": Cause.OPERATOR, "actor": "ops", "at": at}
            jobs.change_status(connection, a_job_id(0), Status.QUEUED, **change)

    with observed(after=retry):
        report = world.apply(plan)
    assert (report.counts["conflict"], path.read_bytes()) == (1, b"new" if taken else b"old")
    ((_, note),) = notes(world, report)
    assert ("it could not be put back" in str(note)) == taken


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


# --- what comes back, and what must not ---------------------------------------------------------------


def test_undo_onto_a_regenerated_video_is_a_conflict_and_both_are_kept(
    world: World, calendar: Calendar
) -> None:
    path = world.video()
    world.recover()
    calendar.pass_(days=31)
    report = world.expire(MONTH)
    path.write_bytes(b"regenerated")
    undone = world.undo(report.run_id)
    assert (undone.counts["conflict"], undone.exit_code) == (1, 3)
    assert path.read_bytes() == b"regenerated"
    assert purge_plan(world).total == 0


def test_a_recovered_record_with_an_old_video_does_not_expire_the_same_night(
    world: World, calendar: Calendar
) -> None:
    world.video(age_s=400 * 86_400.0)
    world.recover()
    assert world.expire_plan(MONTH).total == 0
    calendar.pass_(days=29)
    assert world.expire_plan(MONTH).total == 0


def test_a_deleted_job_does_not_come_back_with_its_file(world: World, calendar: Calendar) -> None:
    path = world.video()
    world.recover()
    with world.site() as site, site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(), actor="user", at=site.store.now(connection))
    settle(world, calendar)
    report = world.cleanup()
    assert (report.counts["done"], path.exists()) == (1, False)
    assert restore(world, run_id=report.run_id).counts["done"] == 1
    assert (world.recover().counts["planned"], world.job_ids()) == (0, set())


def test_the_only_video_of_a_completed_job_is_never_purged(world: World, calendar: Calendar) -> None:
    path = world.video()
    world.recover()
    calendar.pass_(days=31)
    report = world.expire(MONTH)
    with world.site() as site, site.store.write() as connection:
        table = site.store.dialect.table("job")
        connection.exec_driver_sql(f"UPDATE {table} SET status = 'completed'")
    calendar.pass_(days=31)
    plan = purge_plan(world)
    assert (plan.total, kept(plan)) == (
        0,
        ["its job is completed, and no other verified video of it is there"],
    )
    assert not path.exists()
    assert restore(world, run_id=report.run_id).counts["done"] == 1


def test_purge_waits_for_the_retention_and_is_final(world: World, calendar: Calendar) -> None:
    leftover(world)
    settle(world, calendar)
    report = world.cleanup()
    calendar.pass_(days=13)
    assert purge_plan(world).total == 0
    calendar.pass_(days=2)
    assert purge(world).counts["done"] == 1
    undone = world.undo(report.run_id)
    assert (undone.counts["conflict"], differences(world)) == (1, [])
    with pytest.raises(UnknownEntry):
        restore(world, job_id="nobody")


def test_two_files_of_one_name_do_not_come_back_at_once(world: World, calendar: Calendar) -> None:
    for _ in range(2):
        leftover(world)
        settle(world, calendar)
        world.cleanup()
    assert restore(world, named="temp_composition_0.mp4").counts["done"] == 1


@pytest.mark.parametrize("name", ["new\nline", "esc\x1b[31m", "[bold]markup", "\udcff"])
def test_hostile_names_go_and_come_back_byte_for_byte(world: World, calendar: Calendar, name: str) -> None:
    path = world.root / name / "temp_composition_0.mp4"
    path.parent.mkdir()
    path.write_bytes(b"x")
    settle(world, calendar)
    report = world.cleanup()
    assert (report.counts["done"], path.exists()) == (1, False)
    assert world.undo(report.run_id).counts["done"] == 1
    assert (path.read_bytes(), differences(world)) == (b"x", [])


@pytest.mark.parametrize("name", [".nfs000000000123", "lost+found", ".snapshot"])
def test_what_belongs_to_the_file_system_is_never_touched(
    world: World, calendar: Calendar, name: str
) -> None:
    path = world.file(f"{name}/temp_composition_0.mp4") if name != ".nfs000000000123" else world.file(name)
    settle(world, calendar)
    assert (world.cleanup_plan().total, path.exists()) == (0, True)


def test_a_disk_that_fails_a_move_leaves_the_file_and_says_so(
    world: World, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leftover(world)
    settle(world, calendar)
    real = effects.rename_noreplace

    def elsewhere(*arguments: Any) -> None:
        del arguments
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(effects, "rename_noreplace", elsewhere)
    report = world.cleanup()
    assert (report.counts["skipped"], report.exit_code, path.exists()) == (1, 3, True)
    monkeypatch.setattr(effects, "rename_noreplace", real)
    assert world.cleanup().counts["done"] == 1


def test_a_new_job_of_an_expired_id_is_a_new_incarnation(world: World, calendar: Calendar) -> None:
    world.queue_job(0)
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE {site.store.dialect.table('job')} SET attempt = 3, spared = 1")
    calendar.pass_(days=2)
    world.expire(MONTH)
    with world.site() as site, site.store.write() as connection:
        new = Job(job_id=a_job_id(0), owner="bob")
        made = jobs.create_job(connection, new, actor="service", at=site.store.now(connection))
    assert (made.status, made.owner) == (Status.QUEUED, "bob")
    assert (made.attempt, made.tries) == (3, 0), "numbers go on for the fence; it has all its tries"
    assert differences(world) == []
