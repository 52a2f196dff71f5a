"""Workers: their rows, the leases of those that died, and what their attempts publish.

The hot paths (claim, settle, beat, report) are in ``store.leases``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, literal, null, select, update

from jobctl.errors import StaleJob
from jobctl.model.attempts import AttemptId, Lease, LeaseHolder, LeaseNote, WorkerRow
from jobctl.model.commands import show_command
from jobctl.model.job import Executor, Job
from jobctl.model.names import from_stored, to_stored
from jobctl.model.status import Status
from jobctl.store.engine import Connection
from jobctl.store.jobs import get_job, record_event
from jobctl.store.leases import Holder
from jobctl.store.schema import artifact, event, job, lease, publication, worker
from jobctl.store.statements import put_rows


class Offer(NamedTuple):
    """A file an attempt wants to publish. ``path`` is relative to its root, as ``os.fsdecode`` gives it."""

    job_id: str
    attempt: int
    root_id: str
    path: str
    role: str
    size: int
    sha256: str | None

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.job_id, self.attempt)


def register(
    connection: Connection,
    holder: Holder,
    *,
    tasks: Sequence[str],
    slots: int,
    isolation: str,
    lease_s: float,
    at: datetime,
) -> None:
    """Record a worker that begins its life."""
    row = {
        "worker_id": holder.worker_id,
        "state": "running",
        "executor": holder.executor._asdict(),
        "queues": list(holder.queues),
        "tasks": sorted(tasks),
        "slots": slots,
        "isolation": isolation,
        "lease_s": lease_s,
        "started_at": at,
        "seen_at": at,
    }
    connection.execute(insert(worker), row)


def end_worker(
    connection: Connection,
    worker_id: str,
    state: str,
    *,
    at: datetime,
    beat: int | None = None,
    counters: Mapping[str, float] | None = None,
) -> bool:
    """Record that a worker ended: ``stopped``, or ``lost``; with ``beat`` only if it has not beaten since.

    ``counters``: what it did, where that has become more since it last beat.
    """
    still = [worker.c.worker_id == worker_id, worker.c.ended_at.is_(None)]
    if beat is not None:
        still.append(worker.c.beat == beat)
    values = {"state": state, "ended_at": at} | ({} if counters is None else {"counters": dict(counters)})
    ended = connection.execute(update(worker).where(*still).values(values))
    return ended.rowcount == 1


def forgotten_leases(connection: Connection, *, limit: int, after: str = "") -> list[Lease]:
    """Leases of workers that ended, by job id: nobody renews them any more."""
    live = select(worker.c.worker_id).where(worker.c.ended_at.is_(None), worker.c.worker_id == lease.c.worker)
    wanted = select(lease).where(~live.exists(), lease.c.job_id > after)
    rows = connection.execute(wanted.order_by(lease.c.job_id).limit(limit))
    return [Lease(row.job_id, row.attempt, row.worker, row.cancel_at is not None) for row in rows]


def lock_lease(connection: Connection, one: Lease) -> Lease | None:
    """Take the lease of a dead worker into this transaction; ``None`` where another rescuer has it."""
    same = and_(lease.c.job_id == one.job_id, lease.c.attempt == one.attempt, lease.c.worker == one.worker)
    found = select(lease).where(same).with_for_update(skip_locked=True)
    row = connection.execute(found).one_or_none()
    return None if row is None else Lease(row.job_id, row.attempt, row.worker, row.cancel_at is not None)


def release(connection: Connection, one: AttemptId) -> None:
    """End a lease."""
    connection.execute(delete(lease).where(lease.c.job_id == one.job_id, lease.c.attempt == one.attempt))


def expect_current(connection: Connection, asked: AttemptId, *, locks: bool = True) -> Job:
    """The job of an attempt that still holds it. Raises ``StaleJob``.

    ``locks``: it goes on holding it until the transaction ends.
    """
    if locks:
        locked = select(job.c.job_id).where(job.c.job_id == asked.job_id).with_for_update()
        connection.execute(locked).one_or_none()
    now = get_job(connection, asked.job_id)
    if now.status is not Status.PROCESSING or now.attempt != asked.attempt:
        raise StaleJob(
            f"attempt {asked.attempt} of job {asked.job_id} no longer holds it: "
            f"it is {now.status} in attempt {now.attempt}; nothing was written",
            hint=f"run '{show_command(asked.job_id)}'",
        )
    return now


def offer(connection: Connection, wanted: Offer, *, at: datetime) -> None:
    """Allow an attempt to give a file its final name. Raises ``StaleJob``."""
    expect_current(connection, wanted.id)
    row = {**wanted._asdict(), "path": to_stored(wanted.path), "at": at}
    put_rows(connection, publication, [row])


def accept(
    connection: Connection,
    offered: Offer,
    *,
    actor: str,
    at: datetime,
    mtime_ns: int,
    fields: Mapping[str, Any],
    media: Mapping[str, Any] | None = None,
) -> None:
    """Record a file as the job's, and with it ``fields`` of the job. Raises ``StaleJob``.

    ``media``: what was read of its content; where nothing was, what is known of the same bytes stays.
    """
    now = expect_current(connection, offered.id)
    path = to_stored(offered.path)
    _record_artifact(connection, offered, at=at, mtime_ns=mtime_ns, media=media)
    files = now.created_files if path in now.created_files else [*now.created_files, path]
    connection.execute(
        update(job).where(job.c.job_id == offered.job_id).values(created_files=files, **fields)
    )
    withdraw(connection, offered.job_id, offered.root_id, offered.path)
    detail = {"path": path, "role": offered.role, "sha256": offered.sha256, "size": offered.size}
    record_event(connection, offered.job_id, at, "artifact", actor, attempt=offered.attempt, detail=detail)


def _record_artifact(
    connection: Connection, offered: Offer, *, at: datetime, mtime_ns: int, media: Mapping[str, Any] | None
) -> None:
    # Only what was published went through a check; else the file is as its handler left it.
    is_checked = offered.role == "video" and offered.sha256 is not None
    place = {"job_id": offered.job_id, "root_id": offered.root_id, "path": to_stored(offered.path)}
    found = {
        "role": offered.role,
        "size": offered.size,
        "sha256": offered.sha256,
        "mtime_ns": mtime_ns,
        "state": "present",
        "verdict": "whole" if is_checked else None,
        "tier": "1b" if is_checked else None,
        "noted_at": at,
    }
    same = and_(*(artifact.c[name] == value for name, value in place.items()))
    replaced = connection.execute(
        update(artifact)
        .where(same)
        .values(**found, media=media or _known_media(offered.sha256), version=artifact.c.version + 1)
    )
    if not replaced.rowcount:
        connection.execute(insert(artifact), {**place, **found, "media": media, "version": 1})


def _known_media(sha256: str | None) -> ColumnElement[Any]:
    return null() if sha256 is None else case((artifact.c.sha256 == sha256, artifact.c.media), else_=null())


def withdraw(connection: Connection, job_id: str, root_id: str, path: str) -> None:
    """Forget an offer."""
    same = and_(
        publication.c.job_id == job_id,
        publication.c.root_id == root_id,
        publication.c.path == to_stored(path),
    )
    connection.execute(delete(publication).where(same))


def forget_offers(connection: Connection, job_id: str) -> None:
    """Forget all offers of a job that is ended or begins anew."""
    connection.execute(delete(publication).where(publication.c.job_id == job_id))


def offers_of(connection: Connection, job_id: str) -> list[Offer]:
    """What attempts of a job were allowed to publish and did not report published."""
    columns = [publication.c[name] for name in Offer._fields]
    rows = connection.execute(select(*columns).where(publication.c.job_id == job_id))
    return [Offer._make(row)._replace(path=from_stored(row.path)) for row in rows]


def accepted_by(connection: Connection, of: AttemptId) -> list[Offer]:
    """What an attempt published and reported published."""
    named = select(event.c.detail).where(
        event.c.job_id == of.job_id, event.c.kind == "artifact", event.c.attempt == of.attempt
    )
    told = {detail["path"] for detail in connection.execute(named).scalars() if detail}
    files = select(artifact).where(artifact.c.job_id == of.job_id, artifact.c.state == "present")
    return [
        Offer(*of, row.root_id, from_stored(row.path), row.role, row.size, row.sha256)
        for row in connection.execute(files)
        if row.path in told and row.sha256
    ]


def count_leases(connection: Connection) -> dict[str, int]:
    """How many attempts each worker runs."""
    counted = select(lease.c.worker, func.count()).group_by(lease.c.worker)
    return {row[0]: row[1] for row in connection.execute(counted)}


def holders(connection: Connection) -> list[LeaseHolder]:
    """The workers that hold jobs, whether they still run or not."""
    counted = select(lease.c.worker, func.count().label("jobs")).group_by(lease.c.worker).subquery()
    columns = (worker.c.worker_id, worker.c.executor, worker.c.lease_s, worker.c.beat, worker.c.seen_at)
    rows = connection.execute(
        select(*columns, worker.c.ended_at.is_not(None), counted.c.jobs)
        .join(counted, counted.c.worker == worker.c.worker_id)
        .order_by(worker.c.worker_id)
    )
    return [LeaseHolder._make(row)._replace(executor=Executor(**row.executor)) for row in rows]


def lease_of(connection: Connection, job_id: str) -> LeaseNote | None:
    """Who holds a job, and what its attempt last said it is at."""
    row = connection.execute(select(lease).where(lease.c.job_id == job_id)).one_or_none()
    return None if row is None else LeaseNote(row.attempt, row.worker, row.note, row.cancel_at)


def leased_jobs(connection: Connection) -> frozenset[str]:
    """The jobs that a worker holds, or held when it was lost."""
    return frozenset(connection.execute(select(lease.c.job_id)).scalars())


def forget_workers(connection: Connection, *, before: datetime) -> None:
    """Drop the rows of workers that ended long ago, but for those whose jobs wait to be rescued still."""
    holds = select(lease.c.worker).where(lease.c.worker == worker.c.worker_id)
    connection.execute(delete(worker).where(worker.c.ended_at < before, ~holds.exists()))


def list_workers(connection: Connection, *, every: bool) -> list[WorkerRow]:
    """The workers that are not known to have ended, or every one, the youngest first."""
    wanted = select(*(worker.c[name] for name in WorkerRow._fields)).order_by(worker.c.started_at.desc())
    if not every:
        wanted = wanted.where(worker.c.ended_at.is_(None))
    return [
        WorkerRow._make(row)._replace(
            executor=Executor(**row.executor),
            counters=row.counters or {},
            specs=row.specs or {},
            troubles=row.troubles or [],
        )
        for row in connection.execute(wanted)
    ]


def ask_to_stop(connection: Connection, job_id: str, attempt: int, *, at: datetime) -> bool:
    """Ask the attempt of a worker to stop; ``False`` where no worker holds it."""
    held = and_(lease.c.job_id == job_id, lease.c.attempt == attempt)
    asked = (
        update(lease)
        .where(held)
        .values(cancel_at=func.coalesce(lease.c.cancel_at, literal(at, lease.c.cancel_at.type)))
    )
    return connection.execute(asked).rowcount == 1
