"""Random worlds: whatever files, records and ages there are, nothing needed goes, and all comes back."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import demo_tree
from jobctl.model.finding import FindingKind
from jobctl.model.plan import Outcome
from jobctl.model.status import Cause, Status
from jobctl.ops.runs import actions_of
from jobctl.ops.verify import Verification
from jobctl.policy import Policy, Rule
from jobctl.store import jobs
from ops.world import Calendar, World, a_job_id, set_age

JOBS = 3
POLICY = Policy(
    rule=Rule(timedelta(days=1), {"completed": timedelta(days=2), "failed": timedelta(days=2)}),
    kinds={
        "kept": Rule(timedelta(days=900), {"completed": timedelta(days=900), "failed": timedelta(days=900)})
    },
)
FILES = {
    "video": "presentation_{}.mp4",
    "broken": "presentation_{}.mp4",
    "below": "more/presentation_{}.mp4",
    "thumbnail": "thumbnail_{}.jpg",
    "leftover": "avatar_{}.mp4",
    "slide": "slide_1_{}.mp4",
    "hidden": ".presentation_{}.mp4.0123456789ab.part",
}
RECORDS = ("none", "queued", "processing", "completed", "failed", "cancelled", "deleted")
TAKEN_ON_REQUEST = (FindingKind.ORPHAN_VIDEO, FindingKind.LOST)

a_job = st.fixed_dictionaries(
    {
        "files": st.sets(st.sampled_from(sorted(FILES)), max_size=4),
        "record": st.sampled_from(RECORDS),
        "kind": st.sampled_from(["presentation", "kept"]),
        "recovers": st.booleans(),
    }
)
a_world = st.fixed_dictionaries(
    {
        "jobs": st.lists(a_job, min_size=1, max_size=JOBS),
        "nameless": st.integers(0, 2),
        "links": st.booleans(),
        "asked": st.sets(st.sampled_from(TAKEN_ON_REQUEST)),
        "changes": st.sampled_from(["nothing", "file", "record"]),
    }
)


@pytest.fixture(scope="module")
def videos() -> tuple[bytes, bytes]:
    """A whole video, and one that was cut off."""
    directory = Path(tempfile.mkdtemp())
    demo_tree.encode(directory / "video.mp4", seed=1, frames=4, size=(64, 48))
    whole = (directory / "video.mp4").read_bytes()
    shutil.rmtree(directory)
    return whole, whole[: len(whole) // 2]


def build(world: World, drawn: dict[str, Any], videos: tuple[bytes, bytes]) -> None:
    whole, cut = videos
    for number, job in enumerate(drawn["jobs"]):
        for kind in sorted(job["files"]):
            content = {"video": whole, "below": whole, "broken": cut}.get(kind, kind.encode())
            path = world.root / FILES[kind].format(a_job_id(number))
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            set_age(path, 7_200)
        record(world, number, job)
    for number in range(drawn["nameless"]):
        world.file(f"temp_composition_{number}.mp4", bytes([number]))
    if drawn["links"] and drawn["nameless"]:
        (world.root / "current").symlink_to("temp_composition_0.mp4")


def record(world: World, number: int, job: dict[str, Any]) -> None:
    """Bring a job's record to the status that was drawn."""
    wanted = job["record"]
    if wanted == "none":
        return
    world.queue_job(number, kind=job["kind"])
    steps = {
        "processing": [(Status.PROCESSING, Cause.CLAIM)],
        "completed": [(Status.PROCESSING, Cause.CLAIM), (Status.COMPLETED, Cause.EXECUTOR)],
        "failed": [(Status.PROCESSING, Cause.CLAIM), (Status.FAILED, Cause.EXECUTOR)],
        "cancelled": [(Status.CANCELLED, Cause.OPERATOR)],
    }.get(wanted, [])
    with world.site() as site, site.store.write() as connection:
        at, now = site.store.now(connection), Status.QUEUED
        for to, cause in steps:
            jobs.change_status(
                connection, a_job_id(number), to, expect=now, cause=cause, actor="service", at=at
            )
            now = to
        if wanted == "deleted":
            jobs.delete_job(connection, a_job_id(number), actor="user", at=at)


def statuses(world: World) -> dict[str, str]:
    with world.site() as site, site.store.read() as connection:
        rows = [job for page in [jobs.find_jobs(connection, limit=100).jobs] for job in page]
    return {job.job_id: job.status.value for job in rows}


def total_bytes(world: World) -> int:
    """Of all files, wherever they lie; manifests and markers are not counted."""
    own = {"manifest.jsonl", "root.json", "lock"}
    return sum(
        path.lstat().st_size
        for path in world.root.rglob("*")
        if path.name not in own and path.is_file() and not path.is_symlink()
    )


def moved(world: World, run_id: str | None) -> list[Any]:
    if run_id is None:
        return []
    with world.site() as site:
        return [each.action for each in actions_of(site, run_id) if each.outcome is Outcome.DONE]


def expect_nothing_needed_went(
    world: World, before: dict[str, str], run_id: str | None, asked: set[FindingKind]
) -> None:
    """No open job's file, no completed job's last video, nothing that is the only sign of a job."""
    after = statuses(world)
    for action in moved(world, run_id):
        if action.path is None or not action.job_id:
            continue
        assert before.get(action.job_id) not in {"queued", "processing"}
        is_video = Path(action.path).name.startswith("presentation_")
        if is_video and after.get(action.job_id) == "completed":
            left = [path for path in world.tree() if action.job_id in path and "presentation_" in path]
            assert [path for path in left if not Path(path).name.startswith(".")], action
        if before.get(action.job_id) is None and action.category in {kind.value for kind in TAKEN_ON_REQUEST}:
            assert action.category in asked


def expect_undo_gives_all_back(world: World, run_id: str | None, tree: Any, tables: Any) -> None:
    if run_id is None:
        return
    undone = world.undo(run_id)
    assert undone.counts["failed"] == 0
    if undone.counts["conflict"] == 0 and undone.counts["skipped"] == 0:
        assert (world.tree(), world.tables()) == (tree, tables)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=a_world)
def test_nothing_needed_goes_and_undo_brings_all_back(
    drawn: dict[str, Any], videos: tuple[bytes, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        directory, calendar = tmp_path_factory.mktemp("world"), Calendar(monkeypatch)
        world = World(str(directory / "jobs.db"), directory / "outputs")
        world.init()
        build(world, drawn, videos)
        if any(job["recovers"] for job in drawn["jobs"]):
            world.recover()
        world.scan(full=True)
        calendar.pass_(hours=25)
        try:
            live_one_life(world, drawn, calendar)
        finally:
            world.close()
            shutil.rmtree(directory)


def live_one_life(world: World, drawn: dict[str, Any], calendar: Calendar) -> None:
    size, before = total_bytes(world), statuses(world)
    plan = world.cleanup_plan(findings=frozenset(drawn["asked"]))
    meddle(world, plan, drawn["changes"])
    size, tree, tables = total_bytes(world), world.tree(), world.tables()
    report = world.apply(plan)
    expect_nothing_needed_went(world, before, report.run_id, drawn["asked"])
    assert total_bytes(world) == size
    if drawn["changes"] == "nothing":
        assert world.cleanup_plan(findings=frozenset(drawn["asked"])).total == 0
    expect_undo_gives_all_back(world, report.run_id, tree, tables)
    calendar.pass_(days=3)
    before, tree, tables = statuses(world), world.tree(), world.tables()
    expired = world.expire(POLICY)
    after = statuses(world)
    ended = {"completed", "failed", "cancelled", "expired"}
    for job_id, status in before.items():
        assert status not in ended or after[job_id] in {status, "expired"}
        if drawn["changes"] != "record" and drawn["jobs"][number_of(job_id)]["kind"] == "kept":
            assert after[job_id] == status or status in {"queued", "processing"}
            assert after[job_id] != "expired"
    assert world.expire_plan(POLICY).total == 0
    expect_undo_gives_all_back(world, expired.run_id, tree, tables)
    with world.site() as site:
        kinds = {difference.kind.value for difference in Verification(site)}
    assert kinds <= {"missing"}


def meddle(world: World, plan: Any, how: str) -> None:
    """Somebody changes what the first step rests on, between plan and application."""
    first = next(iter(plan), None)
    if first is None or how == "nothing":
        return
    if how == "file":
        path = world.root / first.path
        path.write_bytes(path.read_bytes() + b"!")
    elif first.job_id and first.job_id not in world.job_ids():
        world.queue_job(number_of(first.job_id))


def number_of(job_id: str) -> int:
    return next(number for number in range(JOBS) if a_job_id(number) == job_id)
