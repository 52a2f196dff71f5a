"""Rescue: a job that cannot be helped from here stands in no other's way."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from jobctl.model.attempts import Lease, Settlement
from jobctl.model.enqueued import New
from jobctl.model.files import Role
from jobctl.model.job import Executor, Job
from jobctl.model.status import Cause, Status
from jobctl.ops.queue import cancel
from jobctl.ops.rescue import Published, Rescuer
from jobctl.ops.site import Site
from jobctl.store import jobs as job_store
from jobctl.store import workers
from jobctl.store.enqueue import enqueue_many
from jobctl.store.leases import Holder, open_leases
from jobctl.store.roots import get_roots
from jobctl.store.schema import job, lease
from media import encode
from ops.world import World

HOLDER = Holder("lost", Executor("elsewhere", "boot", 1, 1), ("default",))


def take(site: Site, jobs: int) -> None:
    """Have a worker take jobs."""
    with site.store.write() as connection:
        at = site.store.now(connection)
        workers.register(connection, HOLDER, tasks=[], slots=1, isolation="process", lease_s=10.0, at=at)
    sum(enqueue_many(site.store, (New(Job(job_id=f"j{number:03}")) for number in range(jobs)), actor="test"))
    with closing(open_leases(site.store, HOLDER)) as leases:
        assert len(leases.take_turn([], jobs, [Job(job_id="").kind]).claims) == jobs


def lose(site: Site, jobs: int, *, published: int) -> None:
    """Have a worker take jobs, want to publish some of them, and be lost."""
    take(site, jobs)
    with site.store.write() as connection:
        at = site.store.now(connection)
        (root,) = get_roots(connection)
        for number in range(published):
            name = f"j{number:03}"
            wanted = workers.Offer(name, 1, root.root_id, f"{name}.mp4", Role.VIDEO, 1, "0" * 64)
            workers.offer(connection, wanted, at=at)
        workers.end_worker(connection, HOLDER.worker_id, "lost", at=at)


def offer(site: Site, path: Path, *, sha256: str | None = None) -> None:
    """Have the first attempt of the first job want to publish a file as it lies there, or other bytes."""
    with site.store.write() as connection:
        (root,) = get_roots(connection)
        sha256 = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
        wanted = ("j000", 1, root.root_id, path.name, Role.VIDEO, path.stat().st_size, sha256)
        workers.offer(connection, workers.Offer(*wanted), at=site.store.now(connection))


def test_a_rescued_video_is_recorded_with_its_length(world: World) -> None:
    """It was read through to complete its job: that is when its length is known."""
    path = encode(world.root / "j000.mp4")
    with world.site() as site:
        lose(site, 1, published=0)
        offer(site, path)
        (rescued,) = Rescuer(site, actor="test", warn=lambda _: None).rescue_all()
        assert rescued.to is Status.COMPLETED
        with site.store.read() as connection:
            (file,) = job_store.artifacts_of(connection, "j000")
    assert file.media is not None
    assert file.media["duration_s"] == pytest.approx(2.0, abs=0.1)


def test_a_whole_video_of_other_bytes_than_were_to_be_published_completes_nothing(world: World) -> None:
    """An attempt that was cut off before may have come back and given its own film the name."""
    path = encode(world.root / "j000.mp4")
    with world.site() as site:
        lose(site, 1, published=0)
        offer(site, path, sha256="0" * 64)
        (rescued,) = Rescuer(site, actor="test", warn=print).rescue_all()
    assert rescued.to is Status.FAILED


def test_what_a_living_worker_runs_is_left_alone(world: World) -> None:
    with world.site() as site:
        take(site, 1)
        rescuer = Rescuer(site, actor="test", warn=print)
        assert not rescuer.is_needed()
        assert rescuer.rescue_all() == []
        with site.store.read() as connection:
            assert job_store.get_job(connection, "j000").status is Status.PROCESSING


def test_what_an_earlier_attempt_was_to_publish_does_not_complete_the_lost_one(world: World) -> None:
    path = encode(world.root / "j000.mp4")
    with world.site() as site:
        lose(site, 1, published=0)
        offer(site, path)
        with site.store.write() as connection:
            for table in (job, lease):
                connection.execute(update(table).values(attempt=2))
        (rescued,) = Rescuer(site, actor="test", warn=print).rescue_all()
    assert (rescued.to, rescued.attempt) == (Status.FAILED, 2)


def test_a_cancel_that_comes_while_the_lost_video_is_looked_for_is_not_lost(world: World) -> None:
    """To look through a video takes minutes; whoever cancels its job meanwhile was told that it is."""

    class Interrupted(Rescuer):
        def _published(self, lease: Lease) -> Published:
            found = super()._published(lease)
            cancel(self._site, lease.job_id)
            return found

    with world.site() as site:
        lose(site, 1, published=0)
        (rescued,) = Interrupted(site, actor="test", warn=print).rescue_all()
        assert rescued.to is Status.CANCELLED


def test_a_job_that_went_on_while_the_lost_video_was_looked_for_is_left_alone(world: World) -> None:
    class Overtaken(Rescuer):
        def _published(self, lease: Lease) -> Published:
            found = super()._published(lease)
            with closing(open_leases(self._site.store, HOLDER)) as leases:
                leases.take_turn([Settlement(*lease.id, Status.COMPLETED, Cause.EXECUTOR, result="1")], 0)
            return found

    with world.site(pooled=False) as site:
        lose(site, 1, published=0)
        assert Overtaken(site, actor="test", warn=print).rescue_all() == []
        with site.store.read() as connection:
            assert job_store.get_job(connection, "j000").status is Status.COMPLETED


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
