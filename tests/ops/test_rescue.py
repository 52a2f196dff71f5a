"""Rescue: a job that cannot be helped from here stands in no other's way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from jobctl.model.attempts import Settlement
from jobctl.model.enqueued import New
from jobctl.model.files import Role
from jobctl.model.finding import FindingKind
from jobctl.model.job import Executor, Job
from jobctl.model.status import Cause, Status
from jobctl.ops.rescue import Rescuer
from jobctl.ops.site import Site
from jobctl.store import jobs as job_store
from jobctl.store import schema, workers
from jobctl.store.enqueue import enqueue_many
from jobctl.store.leases import Holder, Leases, open_leases
from jobctl.store.roots import get_roots
from media import encode
from ops.world import World, a_job_id

KIND = Job(job_id="").kind
HOLDER = Holder("lost", Executor("elsewhere", "boot", 1, 1), ("default",))


def lose(site: Site, jobs: int, *, published: int) -> None:
    """Have a worker take jobs, want to publish some of them, and be lost."""
    with site.store.write() as connection:
        at = site.store.now(connection)
        (root,) = get_roots(connection)
        workers.register(connection, HOLDER, tasks=[], slots=1, isolation="process", lease_s=10.0, at=at)
    sum(enqueue_many(site.store, (New(Job(job_id=f"j{number:03}")) for number in range(jobs)), actor="test"))
    with closing(open_leases(site.store, HOLDER)) as leases:
        assert len(leases.take_turn([], jobs, [KIND]).claims) == jobs
    with site.store.write() as connection:
        for number in range(published):
            name = f"j{number:03}"
            wanted = workers.Offer(name, 1, root.root_id, f"{name}.mp4", Role.VIDEO, 1, "0" * 64)
            workers.offer(connection, wanted, at=at)
        workers.end_worker(connection, HOLDER.worker_id, "lost", at=at)


def publish(site: Site, path: Path, content: bytes | None = None) -> None:
    """Have the lost worker publish a video of its first job; ``content``: what it was allowed to publish."""
    with site.store.write() as connection:
        (root,) = get_roots(connection)
        sha256 = hashlib.sha256(path.read_bytes() if content is None else content).hexdigest()
        wanted = ("j000", 1, root.root_id, path.name, Role.VIDEO, path.stat().st_size, sha256)
        workers.offer(connection, workers.Offer(*wanted), at=site.store.now(connection))


def test_a_rescued_video_is_recorded_with_its_length_and_its_place(world: World) -> None:
    """It was read through to complete its job: that is when its length is known."""
    path = encode(world.root / "j000.mp4")
    with world.site() as site:
        lose(site, 1, published=0)
        publish(site, path)
        (rescued,) = Rescuer(site, actor="test", warn=lambda _: None).rescue_all()
        assert rescued.to is Status.COMPLETED
        with site.store.read() as connection:
            (file,) = job_store.artifacts_of(connection, "j000")
            job = job_store.get_job(connection, "j000")
    assert file.media is not None
    assert (job.root_id, job.video_url) == (file.root_id, "/presentations/j000/video")
    assert file.media["duration_s"] == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("share", "accepted"), [(1.0, b"other"), (0.5, None)], ids=["of other bytes", "not whole"]
)
def test_another_video_than_was_published_completes_no_job(
    world: World, share: float, accepted: bytes | None
) -> None:
    path = encode(world.root / "j000.mp4")
    os.truncate(path, int(path.stat().st_size * share))
    with world.site() as site:
        lose(site, 1, published=0)
        publish(site, path, accepted)
        (rescued,) = Rescuer(site, actor="test", warn=lambda _: None).rescue_all()
        assert rescued.to is not Status.COMPLETED


def test_what_an_earlier_attempt_published_is_not_the_video_of_the_one_that_was_lost(world: World) -> None:
    path = encode(world.root / "j000.mp4")
    with world.site() as site:
        lose(site, 1, published=0)
        publish(site, path)
        with site.store.write() as connection:
            connection.execute(update(schema.publication).values(attempt=0))
        (rescued,) = Rescuer(site, actor="test", warn=lambda _: None).rescue_all()
        assert rescued.to is not Status.COMPLETED


def test_jobs_below_a_root_that_is_away_are_told_once_and_the_others_are_rescued(
    world: World, tmp_path: Path
) -> None:
    said: list[str] = []
    with world.site() as site:
        lose(site, 130, published=120)
        world.root.rename(tmp_path / "away")
        rescuer = Rescuer(site, actor="test", warn=said.append)
        rescued = [each.job_id for _ in range(6) for each in rescuer.rescue()]
        assert rescued == [f"j{number}" for number in range(120, 130)]
        assert len(said) == 120
        (tmp_path / "away").rename(world.root)
        assert len(rescuer.rescue_all()) == 120
        assert not rescuer.is_needed()


def test_a_video_that_somebody_has_open_for_writing_is_judged_once_it_is_closed(world: World) -> None:
    """A child that outlived its worker may be about to close it; the other jobs do not wait for it."""
    said: list[str] = []
    path = encode(world.root / "j000.mp4")
    with world.site() as site:
        lose(site, 2, published=0)
        publish(site, path)
        rescuer = Rescuer(site, actor="test", warn=said.append)
        with path.open("r+b"):
            assert [each.job_id for each in rescuer.rescue_all()] == ["j001"]
        assert [each.to for each in rescuer.rescue_all()] == [Status.COMPLETED]
    (warning,) = said
    assert "cannot be judged yet: it is open for writing" in warning


# --- jobs that wait for their retry, of which an older attempt left a video ------------------------


def retried(world: World, leases: Leases, *, error_code: str | None = None) -> Path:
    """The whole video that the first attempt of a job left, which is given back to the queue."""
    assert [claim.attempt for claim in leases.take_turn([], 1, [KIND]).claims] == [1]
    path = world.video(age_s=0)
    given_back = Settlement(a_job_id(), 1, Status.QUEUED, Cause.RETRY, error_code=error_code, delay_s=0.0)
    leases.take_turn([given_back], 0)
    return path


@pytest.fixture
def queued(world: World) -> Iterator[Leases]:
    """A worker's connection, and a job that waits for it."""
    with world.site() as site:
        assert sum(enqueue_many(site.store, [New(Job(job_id=a_job_id(), max_attempts=3))], actor="test")) == 1
        with closing(open_leases(site.store, HOLDER)) as leases:
            yield leases


def test_a_job_that_waits_for_its_retry_is_completed_by_its_video_and_runs_no_more(
    world: World, queued: Leases
) -> None:
    path = retried(world, queued)
    content = path.read_bytes()
    assert world.recover().counts["done"] == 1
    job = world.job()
    assert (job.status, job.attempt) == (Status.COMPLETED, 1)
    assert queued.take_turn([], 1, [KIND]).claims == []
    assert (path.read_bytes(), queued.held()) == (content, [])


def test_a_job_whose_retry_began_after_the_plan_is_left_to_it(world: World, queued: Leases) -> None:
    path = retried(world, queued)
    plan = world.plan()
    assert [claim.attempt for claim in queued.take_turn([], 1, [KIND]).claims] == [2]
    assert world.apply(plan).counts["conflict"] == 1
    assert (world.job().status, path.exists()) == (Status.PROCESSING, True)


def test_the_video_of_an_attempt_that_is_known_to_have_failed_completes_nothing(
    world: World, queued: Leases
) -> None:
    """Neither while the job waits to be tried again nor once it has failed for good."""
    path = retried(world, queued, error_code="ValueError")
    (finding,) = world.scan()
    assert (finding.kind, "its last attempt failed (ValueError)" in finding.reason) == (
        FindingKind.CONFLICT,
        True,
    )
    assert world.recover().counts["planned"] == 0
    assert [claim.attempt for claim in queued.take_turn([], 1, [KIND]).claims] == [2]
    assert path.exists()
