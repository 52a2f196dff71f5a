"""Look at jobs: one with all that is recorded of it, or many, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from jobctl.errors import UnknownJob
from jobctl.model.job import Artifact, Event, Job
from jobctl.model.status import Status
from jobctl.ops.roots import root_named
from jobctl.ops.site import Site
from jobctl.store import evidence, jobs

_PAGE = 500
_SHORTEST_PREFIX = 4


@dataclass(slots=True, kw_only=True)
class JobFilter:
    """Which jobs are wanted. ``text`` is sought in id, error, owner and URL; ``root`` is an id or a path."""

    statuses: frozenset[Status] = frozenset()
    text: str | None = None
    root: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class JobDetail(NamedTuple):
    """One job with its files and its history, at ``now`` by the store's clock."""

    job: Job
    artifacts: list[Artifact]
    events: list[Event]
    now: datetime


def store_now(site: Site) -> datetime:
    """The store's clock, by which ages of records are told."""
    with site.store.read() as connection:
        return site.store.now(connection)


def list_jobs(
    site: Site, wanted: JobFilter, *, after: str | None = None, limit: int | None = None
) -> Iterator[Job]:
    """Jobs, newest first, read page by page; ``after`` is the id of the last one already seen.

    Raises ``UnknownJob`` where ``after`` is not recorded, ``RootUnavailable`` for an unknown root.
    """
    root_id = root_named(site, wanted.root).root_id if wanted.root else None
    while limit is None or limit > 0:
        size = _PAGE if limit is None else min(limit, _PAGE)
        with site.store.read() as connection:
            page = jobs.find_jobs(
                connection,
                statuses=sorted(wanted.statuses),
                text=wanted.text,
                root_id=root_id,
                created_after=wanted.created_after,
                created_before=wanted.created_before,
                after=after,
                limit=size,
            )
        yield from page.jobs
        if page.next is None:
            return
        after = page.next
        limit = None if limit is None else limit - len(page.jobs)


def show_job(site: Site, job_id: str) -> JobDetail:
    """All that is recorded of a job, named by its id or by a beginning that only it has.

    Raises ``UnknownJob``, naming ids that begin alike.
    """
    with site.store.read() as connection:
        try:
            job = jobs.get_job(connection, job_id)
        except UnknownJob:
            alike = jobs.resolve_prefix(connection, job_id) if job_id else []
            if len(alike) != 1 or len(job_id) < _SHORTEST_PREFIX:
                if evidence.traces_of(connection, job_id):
                    raise UnknownJob(
                        f"no job {job_id} is recorded, but a log knows of it",
                        hint=f"see what it says: jobctl explain {job_id}",
                    ) from None
                near = alike or jobs.resolve_prefix(connection, job_id[:_SHORTEST_PREFIX])
                raise _unknown(job_id, near) from None
            job = jobs.get_job(connection, alike[0])
        return JobDetail(
            job,
            jobs.artifacts_of(connection, job.job_id),
            jobs.history(connection, job.job_id),
            site.store.now(connection),
        )


def _unknown(job_id: str, near: list[str]) -> UnknownJob:
    hint = "run 'jobctl list' to see the jobs, or 'jobctl scan' to look for its files"
    if near:
        hint = f"ids that begin alike: {', '.join(near)}"
    return UnknownJob(f"no job {job_id} is recorded", hint=hint)
