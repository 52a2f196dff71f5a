"""Verify on real files and a real store: what is told, and that the command it names mends it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from jobctl.errors import ExitCode, RootUnavailable
from jobctl.model.difference import Difference
from jobctl.model.job import Executor
from jobctl.ops.apply import RunReport, apply_plan
from jobctl.ops.hold import hold_roots
from jobctl.ops.moves import Mover
from jobctl.ops.quarantine import PurgeOptions, Wanted, plan_purge, plan_restore, wanted_from
from jobctl.ops.roots import adopt_root, root_named
from jobctl.ops.verify import Verification
from jobctl.outputs.entries import entries
from jobctl.policy import Policy, Rule
from jobctl.store import claims, jobs, runs, schema
from ops.tidying import second_root
from ops.world import Calendar, World, a_job_id, dead_executor

MONTH = Policy(rule=Rule(timedelta(days=1), {"completed": timedelta(days=30)}))
HOSTILE = ["new\nline", "esc\x1b[31m", "[bold]markup", "\udcff", "it's; $(x)"]


def checked(world: World, root: str | None = None) -> tuple[list[Difference], Verification]:
    with world.site() as site:
        verification = Verification(site, root)
        return list(verification), verification


def told(world: World) -> list[tuple[str, str]]:
    return [(each.kind.value, each.mend) for each in checked(world)[0]]


def leftovers(world: World, calendar: Calendar, *names: str) -> str:
    """Move leftovers into quarantine; give the run."""
    for name in names or ("temp_composition_0.mp4",):
        world.file(name, name.encode("utf-8", "surrogateescape"))
    world.scan(full=True)
    calendar.pass_(hours=25)
    report = world.cleanup()
    assert report.counts["done"] == (len(names) or 1)
    return str(report.run_id)


def expired(world: World, calendar: Calendar) -> str:
    """A job that expired, with its video in quarantine; give the run."""
    world.video()
    world.recover()
    calendar.pass_(days=31)
    report = world.expire(MONTH)
    assert report.counts["done"] == 2
    return str(report.run_id)


def restore(world: World, *named: str) -> RunReport:
    with (
        world.site() as site,
        hold_roots(site, command="quarantine restore") as hold,
        plan_restore(hold, [wanted_from(each) for each in named]) as plan,
    ):
        return apply_plan(hold, plan)


def purge(world: World) -> RunReport:
    with (
        world.site() as site,
        hold_roots(site, command="quarantine purge") as hold,
        plan_purge(hold, PurgeOptions()) as plan,
    ):
        return apply_plan(hold, plan)


def mend(world: World, command: str) -> None:
    """Do what a difference says: the operations of the commands it may name."""
    words = command.removeprefix("jobctl ").split()
    if words == ["recover"]:
        world.recover()
    elif words == ["cleanup"]:
        world.cleanup()
    elif words[:2] == ["quarantine", "restore"]:
        restore(world, *words[2:])
    else:
        raise AssertionError(f"mends nothing: {command}")


def change(world: World, table: str, where: Any = None, **values: Any) -> None:
    """Change rows as no command would."""
    changed = schema.metadata.tables[table]
    with world.site() as site, site.store.write() as connection:
        statement = update(changed).values(values)
        connection.execute(statement if where is None else statement.where(where))


def forget(world: World, table: str) -> None:
    with world.site() as site, site.store.write() as connection:
        connection.execute(delete(schema.metadata.tables[table]))


def link(world: World, number: int, path: str, *, role: str = "video", state: str = "present") -> None:
    root_id = root_of(world)
    with world.site() as site, site.store.write() as connection:
        row = {"job_id": a_job_id(number), "root_id": root_id, "path": path, "role": role, "state": state}
        connection.execute(insert(schema.artifact), row)


def root_of(world: World) -> str:
    with world.site() as site:
        return root_named(site, str(world.root)).root_id


def aside(world: World, run_id: str, name: str = "") -> Path:
    return world.root / ".jobctl" / "quarantine" / run_id / name


def first_in(world: World, run_id: str) -> Path:
    return next(each for each in sorted(aside(world, run_id).iterdir()) if each.name != "manifest.jsonl")


def everything(world: World) -> dict[str, Any]:
    """All that verifying could change: every row, every file with its times, also jobctl's own."""
    content: dict[str, Any] = dict(world.tables(*schema.metadata.tables))
    for directory, _, names in os.walk(world.root):
        for name in [*names, "."]:
            path = os.path.join(directory, name)
            found = os.lstat(path)
            content[path] = (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return content


# --- all agrees -----------------------------------------------------------------------------------


def test_an_empty_site_agrees(world: World) -> None:
    found, verification = checked(world)
    assert (found, verification.troubles, dict(verification.counts)) == ([], [], {})


@pytest.mark.parametrize("name", HOSTILE)
def test_after_every_command_all_agrees_and_it_is_told_what_was_compared(
    world: World, calendar: Calendar, name: str
) -> None:
    run_id = leftovers(world, calendar, f"{name}/temp_composition_0.mp4", "temp_composition_1.mp4")
    world.video(3)
    world.recover()
    found, verification = checked(world)
    assert found == []
    assert verification.counts == {"runs": 1, "entries": 2, "artifacts": 1}
    with world.site() as site, hold_roots(site, command="quarantine restore") as hold:
        one = next(entries(hold.roots[0]))
        with plan_restore(hold, [Wanted(run_id=run_id, action=one.action)]) as plan:
            apply_plan(hold, plan)
    assert told(world) == []
    calendar.pass_(days=30)
    assert purge(world).counts["done"] == 1
    assert told(world) == []
    world.undo(run_id)
    assert told(world) == []


def test_an_expired_job_agrees_before_and_after_it_is_taken_back(world: World, calendar: Calendar) -> None:
    run_id = expired(world, calendar)
    assert told(world) == []
    world.undo(run_id)
    assert told(world) == []


def test_nothing_at_all_is_changed(world: World, calendar: Calendar) -> None:
    run_id = leftovers(world, calendar)
    first_in(world, run_id).unlink()
    before = everything(world)
    assert len(told(world)) == 1
    assert everything(world) == before


def test_one_path_is_in_quarantine_twice(world: World, calendar: Calendar) -> None:
    leftovers(world, calendar)
    leftovers(world, calendar)
    assert told(world) == []


# --- journal and disk -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_lost_journal_took_can_be_given_back(world: World, calendar: Calendar, name: str) -> None:
    run_id = leftovers(world, calendar, f"{name}/temp_composition_0.mp4")
    forget(world, "run_action")
    [found] = checked(world)[0]
    assert (found.kind, found.run_id, found.path) == (
        "unjournalled",
        run_id,
        f"{name}/temp_composition_0.mp4",
    )
    mend(world, found.mend)
    assert told(world) == []
    assert (world.root / name / "temp_composition_0.mp4").exists()


def test_a_step_that_the_journal_calls_skipped_was_taken(world: World, calendar: Calendar) -> None:
    leftovers(world, calendar)
    change(world, "run_action", outcome="skipped")
    [(kind, command)] = told(world)
    assert kind == "unjournalled"
    mend(world, command)
    assert told(world) == []


def test_a_file_is_still_there_that_the_journal_gave_back(world: World, calendar: Calendar) -> None:
    run_id = leftovers(world, calendar)
    place = first_in(world, run_id)
    shutil.copytree(aside(world, run_id), world.root.parent / "older")
    restore(world, f"{run_id}/{place.name}")
    (world.root / "temp_composition_0.mp4").unlink()
    shutil.rmtree(aside(world, run_id))
    shutil.copytree(world.root.parent / "older", aside(world, run_id))
    [(kind, command)] = told(world)
    assert kind == "not-released"
    mend(world, command)
    assert told(world) == []


@pytest.mark.parametrize("how", ["file", "directory", "everything"])
def test_a_file_is_lost_from_quarantine(world: World, calendar: Calendar, how: str) -> None:
    run_id = leftovers(world, calendar)
    if how == "file":
        first_in(world, run_id).unlink()
    elif how == "directory":
        shutil.rmtree(aside(world, run_id))
    else:
        shutil.rmtree(world.root / ".jobctl" / "quarantine")
    [found] = checked(world)[0]
    assert (found.kind, found.run_id, found.path) == ("lost", run_id, "temp_composition_0.mp4")


def test_a_file_that_lost_its_line_is_not_called_lost(world: World, calendar: Calendar) -> None:
    run_id = leftovers(world, calendar, "temp_composition_0.mp4", "temp_composition_1.mp4")
    manifest = aside(world, run_id, "manifest.jsonl")
    first, rest = manifest.read_bytes().split(b"\n", 1)
    manifest.write_bytes(first[:40] + b"\n" + rest)
    found, verification = checked(world)
    assert [each.kind for each in found] == ["unreadable", "untold"]
    assert "line 1" in found[0].reason
    assert verification.unreadable == 0


def test_a_run_in_quarantine_without_a_manifest(world: World, calendar: Calendar) -> None:
    run_id = leftovers(world, calendar)
    aside(world, run_id, "manifest.jsonl").unlink()
    found, verification = checked(world)
    assert [(each.kind, each.run_id) for each in found] == [("unreadable", run_id), ("untold", run_id)]
    assert verification.unreadable == 1


@pytest.mark.parametrize("name", ["note.txt", "007", "99", *HOSTILE])
def test_something_lies_in_quarantine_that_no_manifest_tells_of(
    world: World, calendar: Calendar, name: str
) -> None:
    run_id = leftovers(world, calendar)
    aside(world, run_id, name).write_bytes(b"mine")
    aside(world, run_id).with_name(f"+{name}").write_bytes(b"mine too")
    found = checked(world)[0]
    assert [(each.kind, each.run_id, each.path) for each in found] == [
        ("untold", None, f"+{name}"),
        ("untold", run_id, name),
    ]


def test_what_was_moved_back_by_hand_is_told(world: World, calendar: Calendar) -> None:
    run_id = leftovers(world, calendar)
    first_in(world, run_id).rename(world.root / "temp_composition_0.mp4")
    assert [kind for kind, _ in told(world)] == ["behind"]


def test_what_lies_in_the_quarantine_of_another_root_was_not_moved_there_by_this_run(
    world: World, calendar: Calendar
) -> None:
    run_id = leftovers(world, calendar)
    second = second_root(world).root
    copied = second / ".jobctl" / "quarantine"
    shutil.copytree(world.root / ".jobctl" / "quarantine", copied)
    [found] = checked(world)[0]
    assert (found.kind, found.run_id) == ("unjournalled", run_id)
    assert found.root_id != root_of(world)


# --- records ------------------------------------------------------------------------------------------


def test_a_record_says_present_of_a_file_in_quarantine(world: World, calendar: Calendar) -> None:
    expired(world, calendar)
    change(world, "artifact", state="present")
    [(kind, command)] = told(world)
    assert kind == "artifact"
    mend(world, command)
    assert told(world) == []


def test_a_video_that_is_back_in_its_place_is_linked_again_by_recover(
    world: World, calendar: Calendar
) -> None:
    world.video()
    world.recover()
    change(world, "artifact", state="quarantined")
    assert told(world) == [("artifact", "jobctl recover")]
    mend(world, "jobctl recover")
    assert told(world) == []


def test_a_record_says_quarantined_of_a_file_that_is_lost(world: World, calendar: Calendar) -> None:
    run_id = expired(world, calendar)
    first_in(world, run_id).unlink()
    assert [kind for kind, _ in told(world)] == ["lost"]
    forget(world, "run_action")
    assert told(world) == [("artifact", f"jobctl show {a_job_id()}")]


def test_recover_notes_that_a_video_is_gone(world: World) -> None:
    path = world.video()
    world.recover()
    path.unlink()
    assert told(world) == [("missing", "jobctl recover")]
    mend(world, "jobctl recover")
    assert told(world) == []


def test_a_file_whose_directory_is_gone_is_gone(world: World) -> None:
    world.queue_job()
    link(world, 0, "away/thumbnail.jpg", role="thumbnail")
    assert told(world) == [("missing", f"jobctl show {a_job_id()}")]


def test_what_cannot_be_looked_at_is_unknown_not_gone(world: World) -> None:
    (world.root / "loop").symlink_to("loop")
    world.queue_job()
    link(world, 0, "loop/a.mp4")
    found, verification = checked(world)
    assert (found, verification.unreadable) == ([], 1)


@pytest.mark.parametrize("path", ["/etc/passwd-", "../gone.mp4", "a/../gone.mp4", ".jobctl/x"])
def test_a_record_that_names_a_file_outside_of_its_root_is_not_followed(world: World, path: str) -> None:
    world.queue_job()
    link(world, 0, path)
    assert told(world) == []


def test_a_file_is_there_through_a_linked_directory(world: World) -> None:
    world.file("2026/a.mp4")
    (world.root / "latest").symlink_to("2026")
    world.queue_job()
    link(world, 0, "latest/a.mp4")
    assert told(world) == []


# --- jobs -----------------------------------------------------------------------------------------------


def test_records_and_tombstones_of_expired_jobs(world: World, calendar: Calendar) -> None:
    expired(world, calendar)
    forget(world, "tombstone")
    show = f"jobctl show {a_job_id()}"
    assert told(world) == [("tombstone", show)]
    with world.site() as site, site.store.write() as connection:
        buried = {
            "job_id": a_job_id(),
            "at": site.store.now(connection),
            "cause": "expired",
            "actor": "x",
        }
        connection.execute(insert(schema.tombstone), buried)
    assert told(world) == []
    # The sums of the history tell of it as well: of a status that became one more, and of one less.
    sums = ("tally", "jobctl verify --history")
    change(world, "job", status="failed")
    assert told(world) == [("tombstone", show), sums, sums]
    forget(world, "job")
    forget(world, "artifact")
    assert told(world) == [("tombstone", show), sums]


def test_a_job_that_a_user_deleted_has_no_record_and_that_is_right(world: World) -> None:
    world.queue_job()
    with world.site() as site, site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(), actor="user", at=site.store.now(connection))
    assert told(world) == []


def test_a_completed_record_whose_only_video_was_purged(world: World) -> None:
    world.video()
    world.recover()
    change(world, "artifact", state="purged")
    assert told(world) == [("purged-video", f"jobctl show {a_job_id()}")]


# --- runs and roots ---------------------------------------------------------------------------------------


@contextmanager
def half_applied(world: World, calendar: Calendar) -> Iterator[str]:
    """A cleanup in the middle of its work: intents journalled, its files moved, nothing told yet."""
    world.file("temp_composition_0.mp4")
    world.scan(full=True)
    calendar.pass_(hours=25)
    plan = world.cleanup_plan()
    with world.site() as site, hold_roots(site, command="cleanup") as hold:
        with site.store.write() as connection:
            run_id, now = "20261124-000000-aaaa", site.store.now(connection)
            runs.begin_run(
                connection,
                run_id=run_id,
                command="cleanup",
                plan_id=plan.plan_id,
                undo_of=None,
                header=asdict(plan.header),
                actor="tester",
                host="host-a",
                at=now,
            )
            runs.load_actions(connection, site.store.dialect, run_id, plan)
            runs.begin_applying(connection, run_id, actions=plan.total, generations={})
        Mover(hold, run_id)._move(list(plan), now)
        yield run_id


def test_a_run_at_work_explains_what_differs(world: World, calendar: Calendar) -> None:
    with half_applied(world, calendar) as run_id:
        found, verification = checked(world)
        assert (found, verification.in_progress) == ([], [run_id])


def test_a_run_that_was_killed_is_told_once_and_ended_by_its_command(
    world: World, calendar: Calendar
) -> None:
    with half_applied(world, calendar) as run_id:
        pass
    found, verification = checked(world)
    assert [(each.kind, each.run_id, each.mend) for each in found] == [
        ("interrupted", run_id, "jobctl cleanup")
    ]
    assert verification.in_progress == []
    mend(world, "jobctl cleanup")
    assert told(world) == []
    assert not (world.root / "temp_composition_0.mp4").exists()


def test_the_lock_of_a_dead_process_holds_nothing(world: World, calendar: Calendar) -> None:
    with half_applied(world, calendar):
        executor = dead_executor()
        of_process = {name: getattr(executor, name) for name in Executor._fields}
        change(world, "lock", **of_process)
        assert [kind for kind, _ in told(world)] == ["interrupted"]


def test_a_restore_that_was_killed_is_ended_by_naming_the_same_again(
    world: World, calendar: Calendar
) -> None:
    taken = leftovers(world, calendar, "temp_composition_0.mp4", "temp_composition_1.mp4")
    with world.site() as site, hold_roots(site, command="quarantine restore") as hold:
        with plan_restore(hold, [Wanted(run_id=taken)]) as plan, site.store.write() as connection:
            now = site.store.now(connection)
            runs.begin_run(
                connection,
                run_id="20261124-000000-bbbb",
                command="quarantine restore",
                plan_id="another",
                undo_of=None,
                header=asdict(plan.header),
                actor="tester",
                host="host-a",
                at=now,
            )
            runs.load_actions(connection, site.store.dialect, "20261124-000000-bbbb", plan)
            steps = list(plan)
        with site.store.write() as connection:
            runs.begin_applying(connection, "20261124-000000-bbbb", actions=2, generations={})
        Mover(hold, "20261124-000000-bbbb")._move(steps[:1], now)
        found, verification = checked(world)
        assert (found, verification.in_progress) == ([], ["20261124-000000-bbbb"])
    [(kind, command)] = told(world)
    assert (kind, command) == (
        "interrupted",
        f"jobctl quarantine restore {steps[0].entry} {steps[1].entry}",
    )
    mend(world, command)
    assert told(world) == []
    assert len(world.tree()) == 2


def test_a_run_that_comes_in_between_is_no_difference(
    world: World, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is read, then a whole run takes, gives back and expires, then the disk is read."""
    taken = leftovers(world, calendar)
    world.file("temp_composition_5.mp4")
    world.video()
    world.recover()
    world.scan(full=True)
    calendar.pass_(days=31)
    read = claims.releases

    def meanwhile(connection: Any) -> Any:
        found = list(read(connection))
        restore(world, taken)
        world.cleanup()
        world.expire(MONTH)
        return iter(found)

    monkeypatch.setattr(claims, "releases", meanwhile)
    assert told(world) == []
    monkeypatch.undo()
    assert told(world) == []


def test_a_root_that_is_away_is_a_trouble_and_the_rest_is_compared(
    world: World, calendar: Calendar, tmp_path: Path
) -> None:
    second = second_root(world).root
    run_id = leftovers(world, calendar)
    first_in(world, run_id).unlink()
    second.rename(tmp_path / "away")
    found, verification = checked(world)
    assert [each.kind for each in found] == ["lost"]
    assert [trouble.exit_code for trouble in verification.troubles] == [ExitCode.ROOT]


def test_with_every_root_away_the_store_is_compared_all_the_same(world: World, tmp_path: Path) -> None:
    world.video()
    world.recover()
    change(world, "artifact", state="purged")
    world.root.rename(tmp_path / "away")
    found, verification = checked(world)
    assert [each.kind for each in found] == ["purged-video"]
    assert [trouble.exit_code for trouble in verification.troubles] == [ExitCode.ROOT]


def test_a_root_that_is_not_registered_cannot_be_asked_for(world: World, tmp_path: Path) -> None:
    with pytest.raises(RootUnavailable):
        checked(world, str(tmp_path))


def test_of_one_root_alone_nothing_is_told_of_others(world: World, calendar: Calendar) -> None:
    second = second_root(world).root
    first_in(world, leftovers(world, calendar)).unlink()
    assert [each.kind for each in checked(world, str(world.root))[0]] == ["lost"]
    assert checked(world, str(second))[0] == []


def test_an_older_store_is_a_trouble_of_its_own(world: World, calendar: Calendar) -> None:
    leftovers(world, calendar)
    change(world, "root", generation=0)
    found, verification = checked(world)
    assert found == []
    assert [trouble.exit_code for trouble in verification.troubles] == [ExitCode.OLD_STORE]


def test_of_an_older_tree_nothing_is_called_gone_until_it_was_recovered(
    world: World, calendar: Calendar
) -> None:
    path = world.video()
    world.recover()
    first_in(world, leftovers(world, calendar)).unlink()
    path.unlink()
    change(world, "root", generation=40)
    [found] = checked(world)[0]
    assert (found.kind, found.mend) == ("older", f"jobctl root adopt {world.root}")
    with world.site() as site:
        adopt_root(site, str(world.root))
    assert told(world) == [("older", "jobctl recover")]
    world.recover()
    assert sorted(kind for kind, _ in told(world)) == ["lost", "missing"]
