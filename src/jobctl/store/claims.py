"""What the store claims of files and jobs, in the order and form that verifying reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, exists, select

from jobctl.model.names import from_stored
from jobctl.model.plan import Outcome, Verb
from jobctl.model.status import Status
from jobctl.store.engine import Connection
from jobctl.store.schema import artifact, job, lock, run, run_action, tombstone


class Holder(NamedTuple):
    """Who holds a lock."""

    name: str
    heartbeat: datetime


class Claim(NamedTuple):
    """An artifact row: what a record says of one of its files."""

    job_id: str
    root_id: str
    path: str
    role: str
    state: str
    job_status: str


def outcomes(connection: Connection, run_id: str, numbers: Sequence[int]) -> dict[int, str]:
    """The outcomes of the steps of a run that took files."""
    mine = and_(run_action.c.run_id == run_id, run_action.c.seq.in_(numbers))
    taking = run_action.c.verb == Verb.QUARANTINE.value
    rows = connection.execute(select(run_action.c.seq, run_action.c.outcome).where(mine, taking))
    return {row.seq: row.outcome for row in rows}


def releases(connection: Connection) -> Iterator[tuple[str, str]]:
    """The place in quarantine of every file that a run released, and by which verb."""
    released = run_action.c.verb.in_([Verb.RESTORE.value, Verb.PURGE.value])
    done = run_action.c.outcome.in_([Outcome.DONE.value, Outcome.ALREADY.value])
    columns = select(run_action.c.entry, run_action.c.verb).where(released, done)
    for row in connection.execution_options(yield_per=1_000).execute(columns):
        yield row.entry, row.verb


def open_runs(connection: Connection) -> list[Any]:
    """The runs that have not ended."""
    columns = (run.c.run_id, run.c.command, run.c.undo_of, run.c.header)
    unfinished = run.c.state.in_(("loading", "applying"))
    return list(connection.execute(select(*columns).where(unfinished).order_by(run.c.started_at)))


def holders(connection: Connection) -> list[Holder]:
    """The locks that somebody holds."""
    held = select(lock.c.name, lock.c.heartbeat).where(lock.c.holder.is_not(None))
    return [Holder._make(row) for row in connection.execute(held)]


def claims(connection: Connection) -> Iterator[Claim]:
    """Every file that records name as present or in quarantine."""
    columns = [artifact.c[name] for name in Claim._fields[:-1]]
    rows = (
        select(*columns, job.c.status)
        .join(job, job.c.job_id == artifact.c.job_id)
        .where(artifact.c.state.in_(("present", "quarantined")))
        .order_by(artifact.c.root_id, artifact.c.path)
    )
    for row in connection.execution_options(yield_per=1_000).execute(rows):
        yield Claim._make(row)._replace(path=from_stored(row.path))


def expired_without_tombstone(connection: Connection) -> Iterator[str]:
    """Jobs that expired, of which no tombstone tells."""
    buried = exists().where(tombstone.c.job_id == job.c.job_id, tombstone.c.closed_at.is_(None))
    found = select(job.c.job_id).where(job.c.status == Status.EXPIRED.value, ~buried)
    yield from connection.execute(found.order_by(job.c.job_id)).scalars()


def tombstones_of_living(connection: Connection) -> Iterator[tuple[str, str]]:
    """Open tombstones of jobs whose records have not expired, with their status."""
    joined = select(job.c.job_id, job.c.status).join(tombstone, tombstone.c.job_id == job.c.job_id)
    open_ = tombstone.c.closed_at.is_(None)
    for row in connection.execute(joined.where(open_, job.c.status != Status.EXPIRED.value)):
        yield row.job_id, row.status


def completed_without_video(connection: Connection) -> Iterator[tuple[str, str, str]]:
    """Completed jobs whose video was purged and that have no other: job, root and path."""
    other = artifact.alias("other")
    has_other = exists().where(
        other.c.job_id == artifact.c.job_id, other.c.role == "video", other.c.state != "purged"
    )
    rows = (
        select(artifact.c.job_id, artifact.c.root_id, artifact.c.path)
        .join(job, job.c.job_id == artifact.c.job_id)
        .where(
            job.c.status == Status.COMPLETED.value,
            artifact.c.role == "video",
            artifact.c.state == "purged",
            ~has_other,
        )
    )
    for row in connection.execute(rows):
        yield row.job_id, row.root_id, from_stored(row.path)
