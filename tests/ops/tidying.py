"""Short words for tests of what takes files away and gives them back."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobctl.model.plan import Outcome
from jobctl.ops.apply import RunReport, apply_plan
from jobctl.ops.hold import hold_roots
from jobctl.ops.init import initialise
from jobctl.ops.plan import Plan
from jobctl.ops.quarantine import PurgeOptions, Wanted, plan_purge, plan_restore
from jobctl.ops.runs import actions_of
from jobctl.ops.same_plan import plan_duplicates
from jobctl.ops.verify import Verification
from jobctl.outputs import effects
from jobctl.policy import Policy, Rule
from ops.world import Calendar, World, a_job_id

MONTH = Policy(rule=Rule(timedelta(days=1), {"completed": timedelta(days=30), "failed": timedelta(days=30)}))


def leftover(world: World, number: int = 0) -> Path:
    return world.file(f"temp_composition_{number}.mp4", b"x" * (number + 1))


def second_root(world: World) -> World:
    """The same site with another root, beside the first and seen from there."""
    second = World(world.url, world.root.with_name("second"))
    initialise(
        world.settings,
        roots=[str(second.root)],
        layout="presentations",
        host_local=False,
        now=store_now(world),
    )
    return second


def settle(world: World, calendar: Calendar, **time: float) -> None:
    """A first complete walk, and a grace after it."""
    world.scan(full=True)
    calendar.pass_(**(time or {"hours": 25}))


def walked_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that walks of what changed skip from now on."""
    world.root.joinpath("quiet").mkdir(exist_ok=True)
    world.scan()
    monkeypatch.setattr("jobctl.outputs.walk._MTIME_GRAIN_NS", -(10**18))


def failing_scandir(world: World, directory: str):
    """What reading a directory does, but for one whose disk fails."""
    wanted = os.stat(world.root / directory).st_ino

    def scandir(fd: int):
        if os.fstat(fd).st_ino == wanted:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.scandir(fd)

    return scandir


def kept(plan: Plan) -> list[str]:
    return [each.reason for each in plan.kept()]


def notes(world: World, report: RunReport) -> list[tuple[Outcome, str | None]]:
    with world.site() as site:
        return [(taken.outcome, taken.note) for taken in actions_of(site, report.run_id or "")]


def restore(world: World, **wanted: Any) -> RunReport:
    with (
        world.site() as site,
        hold_roots(site, command="quarantine restore") as hold,
        plan_restore(hold, [Wanted(**wanted)]) as plan,
    ):
        return apply_plan(hold, plan)


def purge_plan(world: World, **options: Any) -> Plan:
    with world.site() as site, hold_roots(site, command="quarantine purge") as hold:
        plan = plan_purge(hold, PurgeOptions(**options))
    world.plans.append(plan)
    return plan


def purge(world: World) -> RunReport:
    with (
        world.site() as site,
        hold_roots(site, command="quarantine purge") as hold,
        plan_purge(hold, PurgeOptions()) as plan,
    ):
        return apply_plan(hold, plan)


def duplicates_plan(world: World) -> Plan:
    with world.site() as site, hold_roots(site, command="duplicates") as hold:
        plan = plan_duplicates(hold)
    world.plans.append(plan)
    return plan


def differences(world: World) -> list[str]:
    with world.site() as site:
        return [difference.kind.value for difference in Verification(site)]


def link(world: World, number: int, path: str, *, role: str = "video", state: str = "present") -> None:
    """Let a record name a file."""
    with world.site() as site, site.store.write() as connection:
        table = site.store.dialect.table("artifact")
        root_id = connection.exec_driver_sql(
            f"SELECT root_id FROM {site.store.dialect.table('root')}"
        ).scalar_one()
        values = ", ".join(f"'{value}'" for value in (a_job_id(number), root_id, path, role, state))
        connection.exec_driver_sql(
            f"INSERT INTO {table} (job_id, root_id, path, role, state, version) VALUES ({values}, 1)"
        )


def store_now(world: World) -> datetime:
    with world.site() as site, site.store.read() as connection:
        return site.store.now(connection)


@contextmanager
def observed(**observers: Callable[[str, int], None]) -> Iterator[None]:
    """Call ``before`` or ``after`` around each effect within the block."""
    effects.observe(**observers)  # type: ignore[arg-type]
    try:
        yield
    finally:
        effects.observe()
