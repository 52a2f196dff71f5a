"""The queue: enqueue, cancel, retry, and who works on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from jobctl.errors import IllegalTransition, UsageError
from jobctl.model.attempts import WorkerRow
from jobctl.model.enqueued import Enqueued, New
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.ops.site import Site
from jobctl.store import jobs, workers
from jobctl.store.dialect import place_of, within_schema
from jobctl.store.engine import Connection
from jobctl.store.enqueue import enqueue, enqueue_many, wake
from jobctl.work import TaskSpec


class Workers(NamedTuple):
    """The workers of a store, at ``now`` by its clock; ``busy``: how many attempts each runs."""

    rows: list[WorkerRow]
    busy: dict[str, int]
    now: datetime


def new_job(
    spec: TaskSpec,
    *,
    job_id: str | None = None,
    queue: str | None = None,
    owner: str | None = None,
    priority: int = 0,
    key: str | None = None,
    retries: int | None = None,
) -> Job:
    """A job for a task; what is left out is as the task says."""
    return Job(
        job_id=job_id or str(uuid.uuid4()),
        kind=spec.name,
        queue=queue or spec.queue,
        owner=owner,
        priority=priority,
        max_attempts=1 + (spec.retries if retries is None else retries),
        idempotency_key=key,
    )


def enqueue_one(
    site: Site, new: New, *, at: datetime | None = None, delay_s: float | None = None
) -> Enqueued:
    """Enqueue one job. Raises ``JobExists`` or ``ValueError``."""
    with site.store.write() as connection:
        return _enqueue(site, connection, new, at, delay_s)


def enqueue_stream(site: Site, news: Iterator[New]) -> int:
    """Enqueue a stream of jobs, flat in memory; how many were new."""
    return sum(enqueue_many(site.store, news, actor=site.actor))


def enqueue_within(
    site: Site, connection: Connection, new: New, *, at: datetime | None, delay_s: float | None
) -> Job:
    """Enqueue one job on a connection of somebody else's, who commits. Raises as ``enqueue_one`` does."""
    if place_of(connection) != place_of(site.store.engine):
        raise UsageError(
            "the connection leads to another database than the job store; nothing was enqueued",
            hint="open the queue on the database of the connection",
        )
    with within_schema(connection) as translated:
        return _enqueue(site, translated, new, at, delay_s).job


def _enqueue(
    site: Site, connection: Connection, new: New, at: datetime | None, delay_s: float | None
) -> Enqueued:
    now = site.store.now(connection)
    new.job.run_at = at if at is not None else now + timedelta(seconds=delay_s or 0.0)
    return enqueue(connection, new, actor=site.actor, at=now)


def cancel(site: Site, job_id: str) -> Job:
    """End a job that is queued, or ask the attempt that runs to stop.

    A job that runs without a worker of jobctl's is ended at once: its executor's next write is
    refused. Raises ``UnknownJob``, ``StaleJob``, or ``IllegalTransition`` for one that is ended.
    """
    with site.store.write() as connection:
        now = jobs.get_job(connection, job_id)
        at = site.store.now(connection)
        if now.status is Status.PROCESSING and workers.ask_to_stop(connection, job_id, now.attempt, at=at):
            wake(connection, "")
            return now
        return _change(site, connection, now, Status.CANCELLED, at)


def retry(site: Site, job_id: str) -> Job:
    """Enqueue a failed or cancelled job again, with one more attempt at least.

    Raises ``UnknownJob``, ``StaleJob``, or ``IllegalTransition``.
    """
    with site.store.write() as connection:
        now = jobs.get_job(connection, job_id)
        at = site.store.now(connection)
        most = max(now.max_attempts, now.attempt + 1)
        job = _change(site, connection, now, Status.QUEUED, at, max_attempts=most, run_at=at)
        wake(connection, job.queue)
        return job


def _change(site: Site, connection: Connection, now: Job, to: Status, at: datetime, **changes: Any) -> Job:
    if now.status is to:
        raise IllegalTransition(
            f"job {now.job_id} is {to} already; nothing was changed", hint=f"run 'jobctl show {now.job_id}'"
        )
    return jobs.change_status(
        connection,
        now.job_id,
        to,
        expect=now.status,
        cause=Cause.OPERATOR,
        actor=site.actor,
        at=at,
        changes=changes,
    )


def look_at_workers(site: Site, *, every: bool = False) -> Workers:
    """The workers that are not known to have ended; with ``every`` all that are remembered."""
    with site.store.read() as connection:
        return Workers(
            workers.list_workers(connection, every=every),
            workers.count_leases(connection),
            site.store.now(connection),
        )


def is_known_task(site: Site, task: str) -> bool:
    """Whether some running worker knows a task."""
    with site.store.read() as connection:
        return any(task in row.tasks for row in workers.list_workers(connection, every=False))
