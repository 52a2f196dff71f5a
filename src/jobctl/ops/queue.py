"""The queue: enqueue, cancel, retry, and who works on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from jobctl import clock
from jobctl.errors import IllegalTransition, JobctlError, StaleJob, UnknownJob, UsageError
from jobctl.model.attempts import WorkerRow
from jobctl.model.commands import show_command
from jobctl.model.enqueued import LATEST, Enqueued, Left, New, length_if_too_long
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.ops.jobs import JobFilter, list_jobs
from jobctl.ops.site import Site
from jobctl.store import jobs, workers
from jobctl.store.bell import wake
from jobctl.store.dialect import place_of, within_schema
from jobctl.store.engine import Connection
from jobctl.store.enqueue import enqueue, enqueue_many
from jobctl.store.enqueue_alone import enqueue_alone
from jobctl.work import LONGEST_NAME, TaskSpec


class Workers(NamedTuple):
    """The workers of a store, at ``now`` by its clock; ``busy``: how many jobs each has taken.

    ``gone``: those that have not ended, and are dead or silent.
    """

    rows: list[WorkerRow]
    busy: dict[str, int]
    now: datetime
    gone: frozenset[str] = frozenset()

    def state(self, row: WorkerRow) -> str:
        """What is to be told of a worker: one that is lost may still say that it runs."""
        return "lost" if row.worker_id in self.gone else row.state

    def busy_slots(self, row: WorkerRow) -> int:
        """How many of a worker's slots are busy: what it has taken ahead of them waits."""
        return min(self.busy.get(row.worker_id, 0), row.slots)


class Retried(NamedTuple):
    """A job that is to be enqueued again, as it was found."""

    job_id: str
    version: int
    status: Status
    error_code: str
    error: str


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
    """A job for a task; what is left out is as the task says.

    Raises ``ValueError`` for names too long, and for an empty key.
    """
    names = (("job id", job_id), ("task", spec.name), ("queue", queue), ("key", key), ("owner", owner))
    for what, name in names:
        if (length := length_if_too_long(name)) is not None:
            raise ValueError(f"the {what} is {length:,} bytes long, more than {LONGEST_NAME}")
    if key == "":
        raise ValueError("the key is empty: with it, all jobs of the task would be one")
    return Job(
        job_id=job_id or new_job_id(),
        kind=spec.name,
        queue=queue or spec.queue,
        owner=owner,
        priority=priority,
        max_attempts=1 + (spec.retries if retries is None else retries),
        idempotency_key=key,
    )


def new_job_id() -> str:
    """A random UUID (RFC 9562, version 4), as text; without the object in between, which costs twice that."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def enqueue_one(site: Site, new: New, *, at: datetime | None = None, delay_s: float = 0.0) -> Enqueued:
    """Enqueue one job. Raises ``JobExists`` or ``ValueError``."""
    new.job.run_at = None if at is None else unless_past(at, moments_after(site)(timedelta(0)))
    return enqueue_alone(site.store, new, actor=site.actor, delay_s=delay_s)


def enqueue_stream(site: Site, news: Iterator[New], note: Callable[[Left], None] = lambda _: None) -> int:
    """Enqueue a stream of jobs, flat in memory; how many were new. The others are noted."""
    return sum(enqueue_many(site.store, news, actor=site.actor, note=note))


def unless_past(at: datetime, now: datetime) -> datetime | None:
    """When a job is due; ``None``, which is at once, where that has passed: it waits only from now on.

    Raises ``ValueError`` for what is beyond the calendar.
    """
    if at >= LATEST:
        raise ValueError(f"at {at} is beyond the calendar")
    return at.astimezone(UTC) if at > now else None


def moments_after(site: Site) -> Callable[[timedelta], datetime]:
    """What is so long from now by the store's clock, which is asked once and then followed.

    The function raises ``ValueError`` for what is beyond the calendar.
    """
    began = clock.monotonic()
    with site.store.read() as connection:
        then = site.store.now(connection)

    def after(wait: timedelta) -> datetime:
        with suppress(OverflowError):
            moment = then + timedelta(seconds=clock.monotonic() - began) + wait
            if moment < LATEST:
                return moment
        raise ValueError("its delay leads beyond the calendar")

    return after


def enqueue_within(
    site: Site, connection: Connection, new: New, *, at: datetime | None, delay_s: float
) -> Enqueued:
    """Enqueue one job on a connection of somebody else's, who commits. Raises as ``enqueue_one`` does."""
    if place_of(connection) != place_of(site.store.engine):
        raise UsageError(
            "the connection leads to another database than the job store; nothing was enqueued",
            hint="open the queue on the database of the connection",
        )
    with within_schema(connection) as translated:
        now = site.store.now(translated)
        wait = timedelta(seconds=delay_s)
        new.job.run_at = now + wait if at is None else unless_past(at, now) or now
        return enqueue(translated, new, actor=site.actor, at=now)


def cancel(site: Site, job_id: str) -> Job:
    """End a job that is queued, or ask the attempt that runs to stop.

    A job that runs without a worker of jobctl's is ended at once: its executor's next write is
    refused. Raises ``UnknownJob``, or ``IllegalTransition`` for one that is ended; ``StaleJob`` only where
    it changes each time between being read and being changed.
    """
    for _ in range(_MOST_LOOKS - 1):
        with suppress(StaleJob):
            return _cancel(site, job_id)
    return _cancel(site, job_id)


def _cancel(site: Site, job_id: str) -> Job:
    with site.store.write() as connection:
        now = jobs.get_job(connection, job_id)
        at = site.store.now(connection)
        if now.status is Status.PROCESSING and workers.ask_to_stop(connection, job_id, now.attempt, at=at):
            wake(connection, "")
            return now
        return _change(site, connection, now, Status.CANCELLED, at)


def retry(site: Site, job_id: str, *, expect_version: int | None = None) -> Job:
    """Enqueue a failed or cancelled job again, with one more attempt at least.

    Raises ``UnknownJob``, ``IllegalTransition``, or ``StaleJob``, also for another version than expected.
    """
    with site.store.write() as connection:
        now = jobs.get_job(connection, job_id)
        if expect_version is not None and now.version != expect_version:
            raise StaleJob(
                f"job {job_id} was changed since it was listed; it was left as it is",
                hint=f"run '{show_command(job_id)}'",
            )
        at = site.store.now(connection)
        most = max(now.max_attempts, now.tries + 1)
        job = _change(site, connection, now, Status.QUEUED, at, max_attempts=most, run_at=at)
        wake(connection, job.queue)
        return job


_MOST_LOOKS = 5

RETRIED = frozenset({Status.FAILED, Status.CANCELLED})
"""What can be enqueued again."""


def find_retried(site: Site, wanted: JobFilter, *, limit: int | None) -> list[Retried]:
    """The failed and cancelled jobs of a filter, newest first. Raises ``UsageError`` for other statuses."""
    statuses = wanted.statuses or RETRIED
    if not statuses <= RETRIED:
        other = ", ".join(sorted(statuses - RETRIED))
        raise UsageError(
            f"jobs that are {other} cannot be enqueued again; nothing was changed",
            hint="only failed and cancelled ones can; what a lost worker left: jobctl expire",
        )
    found = list_jobs(site, replace(wanted, statuses=statuses), limit=limit)
    return [
        Retried(job.job_id, job.version, job.status, job.error_code or "", job.error or "") for job in found
    ]


def retry_all(site: Site, found: Iterable[Retried]) -> Iterator[Job | JobctlError]:
    """Enqueue them again, as far as they are still as they were found; why not, of the others."""
    for each in found:
        try:
            yield retry(site, each.job_id, expect_version=each.version)
        except (UnknownJob, StaleJob, IllegalTransition) as error:
            yield error


def _change(site: Site, connection: Connection, now: Job, to: Status, at: datetime, **changes: Any) -> Job:
    if now.status is to:
        raise IllegalTransition(
            f"job {now.job_id} is {to} already; nothing was changed", hint=f"run '{show_command(now.job_id)}'"
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
    from jobctl.ops.serving import is_lost  # noqa: PLC0415 - who enqueues has no need of it

    with site.store.read() as connection:
        now = site.store.now(connection)
        rows = workers.list_workers(connection, every=every)
        gone = frozenset(
            row.worker_id
            for row in rows
            if row.ended_at is None and is_lost(site, row.executor, row.seen_at, row.lease_s, now)
        )
        return Workers(rows, workers.count_leases(connection), now, gone)
