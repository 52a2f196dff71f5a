"""Whatever the world is like: what lives stays, nothing is lost, and what was done can be taken back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

import demo_tree
from databases import Databases as StoreDatabases
from jobctl import __version__
from jobctl.errors import ExitCode
from jobctl.model.finding import FindingKind
from jobctl.model.plan import MOVES
from jobctl.model.status import ENDED, OPEN, Status
from jobctl.ops.apply import RunReport, apply_plan
from jobctl.ops.hold import hold_roots
from jobctl.ops.plan import Plan
from jobctl.ops.quarantine import PurgeOptions, list_entries, opened_roots, plan_purge
from jobctl.policy import Policy, Rule
from jobctl.store.engine import create_store
from ops.random_world import FAULTS, JOBS, Builder, Drawn, State, drawn_worlds, go_wrong, observe
from ops.world import Calendar, World, a_job_id

RETAIN = {Status.COMPLETED: 7, Status.FAILED: 2, Status.CANCELLED: 1}
POLICY = Policy(
    rule=Rule(timedelta(hours=24), {status.value: timedelta(days=days) for status, days in RETAIN.items()})
)
ASKED = [frozenset(), frozenset({FindingKind.ORPHAN_VIDEO}), frozenset({FindingKind.LOST})]
EXAMPLES = {"sqlite": 15, "postgresql": 3}
_numbers = count(1)


class Databases(NamedTuple):
    """Gives a new empty store as often as it is asked."""

    kind: str
    fresh: Callable[[], str]


@pytest.fixture(params=sorted(EXAMPLES, reverse=True))
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Databases]:
    if request.param == "sqlite":
        yield Databases("sqlite", lambda: _new_file(tmp_path))
        return
    server = request.getfixturevalue("store_databases")
    made: list[str] = []
    yield Databases("postgresql", lambda: _taken(server, made))
    for url in made:
        server.give_back(url)


def _new_file(tmp_path: Path) -> str:
    empty = tmp_path / "empty.db"
    if not empty.exists():
        create_store(str(empty), now=datetime.now(UTC), version=__version__)[0].close()
    return shutil.copyfile(empty, tmp_path / f"{next(_numbers)}.db").as_posix()


def _taken(server: StoreDatabases, made: list[str]) -> str:
    made.append(server.take())
    return made[-1]


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    whole = []
    for number in range(JOBS):
        path = tmp_path / f"{number}.mp4"
        demo_tree.encode(path, seed=number, frames=4, size=(64, 48))
        whole.append(path.read_bytes())
    return Builder(whole, tmp_path / "app.db")


def applied(world: World, plan: Plan) -> RunReport:
    try:
        return world.apply(plan)
    finally:
        plan.close()


def changed(state: State, after: State) -> dict[str, tuple[Status | None, Status | None]]:
    ids = state.statuses.keys() | after.statuses.keys()
    pairs = {job_id: (state.statuses.get(job_id), after.statuses.get(job_id)) for job_id in ids}
    return {job_id: pair for job_id, pair in pairs.items() if pair[0] != pair[1]}


def job_in(path: str) -> str | None:
    """The job whose id a file name bears."""
    return next((a_job_id(number) for number in range(JOBS) if a_job_id(number) in path), None)


def is_video(path: str) -> bool:
    return os.path.basename(path).startswith("presentation_") and path.endswith(".mp4")


def expect_nothing_needed_went(
    before: State, after: State, drawn: Drawn, whole: list[bytes], asked: frozenset[FindingKind]
) -> None:
    """What a live record or a reference needs stays; a job keeps its last whole video."""
    assert before.bytes == after.bytes, "bytes were lost or doubled"
    referenced = {a_job_id(number) for number in drawn.referenced}
    for path in before.files.keys() - after.files.keys():
        job_id = job_in(path)
        for claimant in before.claims.get(path, set()) - {job_id}:
            assert after.statuses.get(claimant) in {None, Status.EXPIRED}, f"{path}: named by {claimant}"
        assert before.statuses.get(job_id or "") not in OPEN, f"{path}: its job is open"
        assert job_id not in referenced, f"{path}: a table names its job"
        assert not path.startswith(("notes about", "link to", "symlink to")), f"{path}: foreign"
        if is_video(path) and before.files[path] in whole:
            expect_video_may_go(path, job_id or "", before, after, drawn, whole, asked)
    for name, content in after.files.items():
        assert before.files.get(name) == content, f"{name}: neither there before nor the same"


def expect_video_may_go(
    path: str,
    job_id: str,
    before: State,
    after: State,
    drawn: Drawn,
    whole: list[bytes],
    asked: frozenset[FindingKind],
) -> None:
    others = [name for name, content in after.files.items() if job_in(name) == job_id and content in whole]
    is_deleted = any(a_job_id(n) == job_id and job.status == "deleted" for n, job in enumerate(drawn.jobs))
    was_asked = job_id not in before.statuses and FindingKind.ORPHAN_VIDEO in asked
    has_ended = after.statuses.get(job_id) in {Status.CANCELLED, Status.EXPIRED}
    assert has_ended or is_deleted or was_asked or any(map(is_video, others)), f"{path}: the last whole video"


def expect_taken_back(world: World, report: RunReport, tree: object, rows: object) -> None:
    """Undo brings back tree and rows; what it cannot is a listed conflict."""
    if report.undo_command is None:
        return
    undone = world.undo(report.run_id)
    if undone.exit_code is ExitCode.CLEAN:
        assert (world.tree(), world.tables()) == (tree, rows)
    else:
        assert undone.counts["conflict"] + undone.counts["skipped"] > 0


def a_planned_file(plan: Plan, data: st.DataObject) -> tuple[str, int] | None:
    """One of the files that the plan moves, and the number of its job."""
    paths = sorted(action.path for action in plan if action.verb in MOVES and action.path)
    if not paths:
        return None
    path = data.draw(st.sampled_from(paths))
    numbers = [number for number in range(JOBS) if a_job_id(number) in path]
    return path, numbers[0] if numbers else 0


@pytest.fixture
def world_of(
    databases: Databases, builder: Builder, calendar: Calendar, tmp_path: Path
) -> Iterator[Callable[..., World]]:
    """Makes a drawn world anew, at the present."""
    worlds: list[World] = []

    def made(drawn: Drawn) -> World:
        calendar.store_s = calendar.boot_s = calendar.root_s = 0.0
        world = World(databases.fresh(), tmp_path / f"outputs-{next(_numbers)}")
        world.init()
        builder.build(drawn, world)
        worlds.append(world)
        return world

    yield made
    for world in worlds:
        world.close()


def checked(databases: Databases) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis, with as many examples as the database is quick."""
    return settings(
        max_examples=EXAMPLES[databases.kind],
        # What fails is told as it was drawn: to make it smaller takes minutes.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def test_cleanup_takes_what_nobody_needs_and_undo_brings_it_back(
    databases: Databases, world_of: Callable[..., World], builder: Builder, calendar: Calendar
) -> None:
    @checked(databases)
    @given(drawn_worlds(), st.sampled_from(ASKED), st.sampled_from(FAULTS), st.data())
    def check(drawn: Drawn, asked: frozenset[FindingKind], fault: str, data: st.DataObject) -> None:
        world = world_of(drawn)
        world.scan(full=True)
        calendar.pass_(hours=25)
        plan = world.cleanup_plan(findings=asked)
        target = a_planned_file(plan, data)
        if target:
            go_wrong(fault, *target, world)
        before, tree, rows = observe(world), world.tree(), world.tables()
        report = applied(world, plan)
        after = observe(world)
        event(f"moved {report.counts['done']}")
        expect_nothing_needed_went(before, after, drawn, builder.whole, asked)
        assert changed(before, after) == {}
        if fault == "none":
            assert report.counts["done"] == report.counts["planned"]
            with world.cleanup_plan(findings=asked) as second:
                assert list(second) == []
        expect_taken_back(world, report, tree, rows)
        calendar.pass_(hours=25)
        back = observe(world).files
        with world.cleanup_plan(findings=asked) as third:
            given_back = {action.path for action in third} & (back.keys() - after.files.keys())
        assert given_back == set(), "what was given back is pinned"

    check()


def test_expire_ends_what_has_outlived_itself_and_undo_brings_it_back(
    databases: Databases, world_of: Callable[..., World], builder: Builder, calendar: Calendar
) -> None:
    @checked(databases)
    @given(drawn_worlds(), st.sampled_from(FAULTS), st.data())
    def check(drawn: Drawn, fault: str, data: st.DataObject) -> None:
        world = world_of(drawn)
        calendar.pass_(hours=1)
        plan = world.expire_plan(POLICY)
        target = a_planned_file(plan, data)
        if target:
            go_wrong(fault, *target, world)
        before, tree, rows = observe(world), world.tree(), world.tables()
        report = applied(world, plan)
        after = observe(world)
        event(f"did {report.counts['done']}")
        expect_nothing_needed_went(before, after, drawn, builder.whole, frozenset())
        for job_id, (old, new) in changed(before, after).items():
            assert old is not None
            assert new is Status.EXPIRED if old in ENDED else new is not None, f"{job_id}: {old} to {new}"
        expect_taken_back(world, report, tree, rows)

    check()


def test_purge_leaves_what_is_needed_again(
    databases: Databases, world_of: Callable[..., World], builder: Builder, calendar: Calendar
) -> None:
    @checked(databases)
    @given(drawn_worlds(), st.frozensets(st.integers(0, JOBS - 1)), st.frozensets(st.integers(0, JOBS - 1)))
    def check(drawn: Drawn, referred: frozenset[int], reborn: frozenset[int]) -> None:
        world = world_of(drawn)
        world.scan(full=True)
        calendar.pass_(hours=25)
        world.cleanup(findings=ASKED[1])
        world.expire(POLICY)
        for number in reborn:
            if a_job_id(number) not in world.job_ids():
                world.queue_job(number)
        builder.refer(world, referred)
        calendar.pass_(days=13)
        assert purged(world).counts["planned"] == 0
        calendar.pass_(days=2)
        before, lay = observe(world), in_quarantine(world)
        report = purged(world)
        after, lies = observe(world), in_quarantine(world)
        event(f"purged {report.counts['done']} of {len(lay)}")
        assert (after.files, after.statuses) == (before.files, before.statuses)
        needed = {a_job_id(number) for number in referred}
        needed |= {job_id for job_id, status in before.statuses.items() if status in OPEN}
        for entry, job_id in lay.items():
            assert job_id not in needed or entry in lies, f"{entry} of {job_id} was purged"
        assert len(lay) - len(lies) == report.counts["done"]

    check()


def purged(world: World) -> RunReport:
    with world.site() as site, hold_roots(site, command="quarantine purge") as hold:
        with plan_purge(hold, PurgeOptions()) as plan:
            return apply_plan(hold, plan)


def in_quarantine(world: World) -> dict[tuple[str, int], str | None]:
    """Run and action of what lies in quarantine, and whose it was."""
    with world.site() as site, opened_roots(site, None, []) as opened:
        found = list(list_entries(opened, troubles=[]))
    return {
        (entry.run_id, entry.action): entry.job_id for entry in found if entry.whereabouts == "quarantined"
    }
