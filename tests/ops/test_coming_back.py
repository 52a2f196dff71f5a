"""What comes back from quarantine or in the place of what went, and what must not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from jobctl.errors import (
    UnknownEntry,
)
from jobctl.model.job import Job
from jobctl.model.status import Status
from jobctl.ops.apply import RunReport, apply_plan
from jobctl.ops.hold import hold_roots
from jobctl.ops.quarantine import Wanted, plan_restore
from jobctl.outputs import effects
from jobctl.store import jobs, schema
from ops.test_fences import fail_once
from ops.tidying import (
    MONTH,
    differences,
    kept,
    leftover,
    link,
    purge,
    purge_plan,
    restore,
    settle,
)
from ops.world import Calendar, World, a_job_id, dead_executor


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


def test_an_expired_job_comes_back_with_its_file(world: World, calendar: Calendar) -> None:
    path = world.video()
    world.recover()
    calendar.pass_(days=31)
    report = world.expire(MONTH)
    assert (world.job().status, path.exists()) == (Status.EXPIRED, False)
    assert restore(world, run_id=report.run_id).counts["done"] == 2
    assert (world.job().status, path.exists(), differences(world)) == (Status.COMPLETED, True, [])


def test_a_file_comes_back_where_it_lies_whatever_root_its_manifest_names(
    world: World, calendar: Calendar
) -> None:
    path = leftover(world)
    settle(world, calendar)
    world.cleanup()
    (manifest,) = world.root.rglob("manifest.jsonl")
    line = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**line, "root_id": "another"}) + "\n")
    assert restore(world, named=path.name).counts["done"] == 1
    assert path.exists()


def aside(world: World, calendar: Calendar) -> Path:
    """A file that its record, of a failed job, names, and that cleanup moves aside."""
    world.start_job(0, executor=dead_executor())
    world.expire(MONTH)
    path = world.file(f"avatar_{a_job_id(0)}.mp4")
    link(world, 0, path.name, role="intermediate")
    settle(world, calendar)
    return path


def row_of(world: World, number: int = 0) -> str:
    """What the one file of a job is recorded as."""
    with world.site() as site, site.store.read() as connection:
        (file,) = jobs.artifacts_of(connection, a_job_id(number))
    return file.state


@pytest.mark.parametrize(("command", "state"), [(restore, "present"), (purge, "purged")])
def test_what_was_moved_and_not_yet_journalled_is_told_by_its_record_all_the_same(
    world: World, calendar: Calendar, command: Callable[..., RunReport], state: str
) -> None:
    path = aside(world, calendar)
    fail_once(world, world.cleanup, after="rename", at="commit")
    calendar.pass_(days=15)
    report = command(world, named=path.name) if command is restore else command(world)
    assert (report.counts["done"], row_of(world), differences(world)) == (1, state, [])


def test_what_was_announced_and_not_moved_is_not_journalled_as_moved(
    world: World, calendar: Calendar
) -> None:
    path = aside(world, calendar)
    fail_once(world, world.cleanup, after="mkdir", at="fsync")
    assert world.cleanup_plan().total == 1
    assert (path.exists(), row_of(world)) == (True, "present")
    assert world.cleanup().counts["done"] == 1
    assert (path.exists(), row_of(world), differences(world)) == (False, "quarantined", [])


def test_where_no_manifest_tells_of_a_file_any_more_it_is_not_told_as_back(
    world: World, calendar: Calendar
) -> None:
    aside(world, calendar)
    world.cleanup()
    with world.site() as site, hold_roots(site, command="quarantine restore") as hold:
        with plan_restore(hold, [Wanted(job_id=a_job_id(0))]) as plan:
            assert plan.total == 1
            for manifest in world.root.rglob("manifest.jsonl"):
                manifest.write_bytes(b"")
            report = apply_plan(hold, plan)
    assert (report.counts["done"], report.counts["conflict"], row_of(world)) == (0, 1, "quarantined")


@pytest.mark.parametrize("command", [restore, purge])
def test_a_record_that_tells_something_else_by_now_is_left(
    world: World, calendar: Calendar, command: Callable[..., RunReport]
) -> None:
    path = aside(world, calendar)
    assert world.cleanup().counts["done"] == 1
    assert row_of(world) == "quarantined"
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(schema.artifact).values(state="missing"))
    calendar.pass_(days=15)
    report = command(world, named=path.name) if command is restore else command(world)
    assert (report.counts["done"], row_of(world)) == (1, "missing")


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


def test_purge_waits_until_both_clocks_say_so(world: World, calendar: Calendar) -> None:
    """The store's host may be ahead of the one that has the disk, from the beginning."""
    leftover(world)
    settle(world, calendar)
    world.cleanup()
    calendar.pass_(days=13)
    calendar.store_s += 2 * 86_400
    calendar.boot_s += 2 * 86_400
    assert (purge_plan(world).total, kept(world.plans[-1])) == (0, ["here for 13 d, less than 14 d"])
    calendar.root_s += 2 * 86_400
    assert purge_plan(world).total == 1


def test_what_is_named_is_meant_and_nothing_else(world: World, calendar: Calendar) -> None:
    """To be listed, given back or removed for good."""
    hidden, runs = f".presentation_{a_job_id(0)}.mp4.0123456789ab.part", []
    for names in (("temp_composition_0.mp4", hidden), ("temp_composition_1.mp4",)):
        for name in names:
            world.file(name)
        settle(world, calendar)
        runs.append(world.cleanup().run_id)
    named = {
        Wanted(run_id=runs[1]): ["temp_composition_1.mp4"],
        Wanted(run_id=runs[0], action=2): ["temp_composition_0.mp4"],
        Wanted(job_id=a_job_id(0)): [hidden],
        Wanted(named=a_job_id(0)): [hidden],
        Wanted(named="temp_composition_1.mp4"): ["temp_composition_1.mp4"],
    }
    calendar.pass_(days=15)
    for wanted, paths in named.items():
        assert [step.path for step in purge_plan(world, wanted=[wanted])] == paths
    assert purge_plan(world).total == 3
    assert [restore(world, run_id=runs[0]).counts["planned"] for _ in range(2)] == [2, 0]
    assert purge_plan(world).total == 1


def test_two_files_of_one_name_do_not_come_back_at_once(world: World, calendar: Calendar) -> None:
    for _ in range(2):
        leftover(world)
        settle(world, calendar)
        world.cleanup()
    report = restore(world, named="temp_composition_0.mp4")
    assert (report.counts["done"], report.counts["conflict"], report.exit_code) == (1, 0, 0)


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
