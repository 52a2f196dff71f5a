"""Rescue takes minutes where a video is long: what is done meanwhile counts, and who lives is left alone."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import update

from jobctl.model.attempts import Lease
from jobctl.model.job import Job
from jobctl.model.status import Status
from jobctl.ops.queue import cancel
from jobctl.ops.rescue import Published, Rescuer
from jobctl.ops.site import Site
from jobctl.store import jobs
from jobctl.store.schema import worker
from ops.test_rescue import lose
from ops.world import World


class Interrupted(Rescuer):
    """A rescuer during whose look for a video something else happens."""

    def __init__(self, site: Site, meanwhile: Callable[[Lease], object]) -> None:
        super().__init__(site, actor="test", warn=print)
        self._meanwhile = meanwhile

    def _published(self, lease: Lease) -> Published:
        found = super()._published(lease)
        self._meanwhile(lease)
        return found


def test_a_cancel_that_comes_meanwhile_is_not_lost(world: World) -> None:
    """Whoever cancels the job is told that it is."""
    with world.site() as site:
        lose(site, 1, published=0)
        rescuer = Interrupted(site, lambda lease: cancel(site, lease.job_id))
        (rescued,) = rescuer.rescue_all()
    assert rescued.to is Status.CANCELLED


def test_what_a_living_worker_runs_is_left_alone(world: World) -> None:
    with world.site() as site:
        lose(site, 1, published=0)
        with site.store.write() as connection:
            connection.execute(update(worker).values(ended_at=None, state="running"))
        rescuer = Rescuer(site, actor="test", warn=print)
        assert not rescuer.is_needed()
        assert rescuer.rescue_all() == []
        assert first_job(site).status is Status.PROCESSING


def first_job(site: Site) -> Job:
    with site.store.read() as connection:
        return jobs.get_job(connection, "j000")
