"""Fences: who lost a lock changes nothing more, and nobody ends what is under the lock of another."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from jobctl.errors import DiskFailed, Locked, LockLost
from jobctl.ops.apply import apply_plan
from jobctl.ops.cleanup import CleanupOptions, plan_cleanup
from jobctl.ops.hold import hold_roots, open_registered, visible_roots
from jobctl.ops.recover import plan_recover
from jobctl.ops.runs import list_runs
from jobctl.outputs.turn import hold_files
from jobctl.policy import Policy
from jobctl.store import runs, schema
from ops.tidying import leftover, observed, second_root
from ops.world import World

NO_GRACE = Policy(grace=timedelta(0))


def set_lock(world: World, **values: Any) -> None:
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(schema.lock).values(**values))


TABLES = ("job", "artifact", "event", "run", "run_action")


def lost_after(world: World, number: int, command: Callable[[], object]) -> bool | None:
    """Whether a command noticed that its lock was taken after commit ``number``; no record changes then.

    ``None``: it did, and a file was moved all the same.
    """
    commits, then, tree = 0, None, world.tree()

    def take_over(name: str, _: int) -> None:
        nonlocal commits, then, tree
        commits += name == "commit" and then is None
        if commits == number and then is None:
            then = {}
            set_lock(world, fence=schema.lock.c.fence + 1)
            then, tree = world.tables(*TABLES), world.tree()

    try:
        with observed(after=take_over):
            command()
    except LockLost:
        assert world.tables(*TABLES) == then
        return True if world.tree() == tree else None
    finally:
        set_lock(world, holder=None)
    return False


@pytest.mark.parametrize("moves", [False, True], ids=["records", "files"])
def test_whenever_its_lock_is_taken_over_a_run_changes_nothing_more(world: World, moves: bool) -> None:
    world.changes["policy"] = NO_GRACE
    noticed = []
    for number in range(1, 30):
        path = leftover(world, number) if moves else world.video(number)
        world.scan(full=True)
        with world.site() as site, hold_roots(site, command="cleanup") as hold:
            plan = plan_cleanup(hold, CleanupOptions()) if moves else plan_recover(hold)
            with plan:
                noticed.append(lost_after(world, number, partial(apply_plan, hold, plan)))
        if noticed[-1] is False:
            assert not moves or not path.exists()
            break
    # Its beginning, its steps, their number, and what became of them.
    assert len(noticed) > 4
    assert noticed[-1] is False
    # Between the last look at the lock and the word of what was moved, the lock beside the files counts.
    assert noticed.count(None) == moves


def test_files_are_moved_only_by_who_has_the_lock_that_lies_beside_them(world: World) -> None:
    """Also where the lock in the store is ours: another store's copy may be at work there."""
    world.changes["policy"] = NO_GRACE
    path = leftover(world)
    world.scan(full=True)
    with world.site() as site, open_registered(site, visible_roots(site)[0]) as root, hold_files(root):
        with pytest.raises(Locked, match="another run is moving files"):
            world.cleanup()
    assert path.exists()
    assert world.cleanup().counts["done"] == 1


def test_the_root_knows_of_a_run_before_anything_in_it_moves(world: World) -> None:
    """Else an older copy of the store, put back after a crash, would not be told."""
    world.changes["policy"] = NO_GRACE
    leftover(world)
    world.scan(full=True)
    done: list[str] = []
    with observed(after=lambda name, _: done.append(name)):
        clean_up(world)
    assert done.index("replace") < done.index("rename")


def fail_once(world: World, command: Callable[[], object], *, after: str, at: str) -> str:
    """Have a run broken off by its disk, at the first ``at`` that follows an ``after``; its id."""
    done: list[str] = []

    def fail(name: str, _: int) -> None:
        is_due = name == at and after in done and "failed" not in done
        done.append("failed" if is_due else name)
        if is_due:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with observed(before=fail), pytest.raises((DiskFailed, OSError)):
        command()
    (run, *_) = state_of(world)
    return run


def state_of(world: World) -> dict[str, str]:
    """The state of each run, newest first."""
    with world.site() as site:
        return {run.run_id: run.state for run in list_runs(site)}


def pending(world: World, run: str) -> int:
    with world.site() as site, site.store.read() as connection:
        return runs.count_outcomes(connection, run)["pending"]


def clean_up(world: World, only: Path | None = None) -> None:
    with (
        world.site() as site,
        hold_roots(site, command="cleanup", only=str(only) if only else None) as hold,
        plan_cleanup(hold, CleanupOptions()) as plan,
    ):
        apply_plan(hold, plan)


def recover(world: World, only: Path | None = None) -> None:
    with (
        world.site() as site,
        hold_roots(site, command="recover", only=str(only) if only else None) as hold,
        plan_recover(hold) as plan,
    ):
        apply_plan(hold, plan)


@pytest.fixture
def second(world: World) -> Path:
    """Another root of the same site."""
    return second_root(world).root


def test_a_run_on_one_root_does_not_end_one_that_broke_off_on_another(world: World, second: Path) -> None:
    world.video()
    run = fail_once(world, lambda: recover(world, world.root), after="replace", at="commit")
    assert state_of(world)[run] == "applying"
    recover(world, second)
    assert state_of(world)[run] == "applying"
    recover(world)
    assert state_of(world)[run] == "abandoned"


def test_who_moves_files_holds_those_of_each_of_its_roots(world: World, second: Path) -> None:
    world.changes["policy"] = NO_GRACE
    path = leftover(world)
    world.scan(full=True)
    with world.site() as site:
        for row in visible_roots(site):
            with open_registered(site, row) as root, hold_files(root), pytest.raises(Locked, match=row.path):
                clean_up(world)
    assert path.exists()


def test_what_a_run_had_moved_is_journalled_only_by_who_may_move_files_there(world: World) -> None:
    world.changes["policy"] = NO_GRACE
    leftover(world)
    world.scan(full=True)
    run = fail_once(world, lambda: clean_up(world), after="rename", at="fsync-directory")
    with world.site() as site, open_registered(site, visible_roots(site)[0]) as root, hold_files(root):
        with pytest.raises(Locked, match="another run is moving files"):
            clean_up(world)
    assert (state_of(world)[run], pending(world, run)) == ("applying", 1)


def test_a_run_that_was_moving_files_is_ended_only_where_all_its_roots_are_seen(
    world: World, second: Path
) -> None:
    world.changes["policy"] = NO_GRACE
    paths = [leftover(world), leftover(World(world.url, second))]
    world.scan(full=True)
    run = fail_once(world, lambda: clean_up(world), after="rename", at="fsync-directory")
    for root in (world.root, second):
        clean_up(world, root)
        assert (state_of(world)[run], pending(world, run)) == ("applying", 2)
    clean_up(world)
    assert state_of(world)[run] in {"abandoned", "finished"}
    assert not any(path.exists() for path in paths)
