"""What the store claims of files and jobs, in the order and form that verifying reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, exists, or_, select

from jobctl.core.verify import Claim
from jobctl.model.names import from_stored, to_stored
from jobctl.model.plan import MOVES, Outcome, Verb
from jobctl.model.status import Status
from jobctl.store.engine import Connection
from jobctl.store.schema import artifact, job, run, run_action, tombstone

_PAGE = 1_000
_RELEASING = (Verb.RESTORE.value, Verb.PURGE.value)


class TakingRow(NamedTuple):
    """The journal's row of a step that was to move a file into quarantine."""

    run_id: str
    seq: int
    job_id: str
    path: str
    outcome: str


class ReleaseRow(NamedTuple):
    """The journal's row of a step on a file in quarantine. ``entry``: its place there, run and action."""

    root_id: str
    entry: str
    run_id: str
    verb: str
    outcome: str


def takings(connection: Connection, root_id: str) -> Iterator[TakingRow]:
    """The steps that were to move files of a root into quarantine, by run and number."""
    columns = [run_action.c[name] for name in TakingRow._fields]
    mine = and_(run_action.c.root_id == root_id, run_action.c.verb == Verb.QUARANTINE.value)
    rows = select(*columns).where(mine).order_by(run_action.c.run_id, run_action.c.seq)
    for row in connection.execution_options(yield_per=_PAGE).execute(rows):
        yield TakingRow._make(row)._replace(path=from_stored(row.path))


def releases(connection: Connection) -> Iterator[ReleaseRow]:
    """The steps that released a file from quarantine, or are still to, oldest run first."""
    columns = [run_action.c[name] for name in ReleaseRow._fields]
    counting = run_action.c.outcome.in_([Outcome.DONE.value, Outcome.ALREADY.value, Outcome.PENDING.value])
    rows = (
        select(*columns)
        .where(run_action.c.verb.in_(_RELEASING), counting)
        .order_by(run_action.c.run_id, run_action.c.seq)
    )
    for row in connection.execution_options(yield_per=_PAGE).execute(rows):
        yield ReleaseRow._make(row)


def open_runs(connection: Connection) -> list[Any]:
    """The runs that have not ended."""
    columns = (run.c.run_id, run.c.command, run.c.undo_of, run.c.header)
    return list(connection.execute(select(*columns).where(_is_open()).order_by(run.c.started_at)))


def is_open(connection: Connection, run_id: str) -> bool:
    """Whether a run has not ended."""
    found = select(run.c.run_id).where(run.c.run_id == run_id, _is_open())
    return connection.execute(found).one_or_none() is not None


def left_to_release(connection: Connection, run_id: str, *, limit: int) -> list[str]:
    """The places in quarantine of files that a run has still to release."""
    pending = and_(
        run_action.c.run_id == run_id,
        run_action.c.outcome == Outcome.PENDING.value,
        run_action.c.verb.in_(_RELEASING),
    )
    found = select(run_action.c.entry).where(pending).order_by(run_action.c.seq).limit(limit)
    return list(connection.execute(found).scalars())


def runs_since(connection: Connection, moment: datetime) -> list[str]:
    """The runs that were at work after a moment, or still are."""
    at_work = or_(_is_open(), run.c.finished_at >= moment)
    return list(connection.execute(select(run.c.run_id).where(at_work)).scalars())


def moves_of(
    connection: Connection, runs: Collection[str], *, job_id: str | None, root_id: str, path: str
) -> set[tuple[str, int, str]]:
    """Run, number and outcome of the steps of ``runs`` that move this file."""
    moving = and_(
        run_action.c.run_id.in_(runs),
        run_action.c.job_id == (job_id or ""),
        run_action.c.root_id == root_id,
        run_action.c.path == to_stored(path),
        run_action.c.verb.in_(sorted(verb.value for verb in MOVES)),
    )
    rows = connection.execute(
        select(run_action.c.run_id, run_action.c.seq, run_action.c.outcome).where(moving)
    )
    return {(row.run_id, row.seq, row.outcome) for row in rows}


def claims(connection: Connection) -> Iterator[Claim]:
    """Every file that records name as present or in quarantine."""
    columns = [artifact.c[name] for name in Claim._fields[:-1]]
    rows = (
        select(*columns, job.c.status.label("job_status"))
        .join(job, job.c.job_id == artifact.c.job_id)
        .where(artifact.c.state.in_(("present", "quarantined")))
        .order_by(artifact.c.root_id, artifact.c.path)
    )
    for row in connection.execution_options(yield_per=_PAGE).execute(rows):
        yield Claim._make(row)._replace(path=from_stored(row.path))


def expired_without_tombstone(connection: Connection) -> Iterator[str]:
    """Jobs that expired, of which no tombstone tells."""
    buried = exists().where(tombstone.c.job_id == job.c.job_id, tombstone.c.closed_at.is_(None))
    found = select(job.c.job_id).where(job.c.status == Status.EXPIRED.value, ~buried)
    yield from connection.execute(found.order_by(job.c.job_id)).scalars()


def tombstones_of_living(connection: Connection) -> Iterator[tuple[str, str | None]]:
    """Open tombstones that their job's record does not bear out, with its status.

    The status is ``None`` where a job that expired has no record. One that a user deleted has none either.
    """
    joined = select(tombstone.c.job_id, job.c.status).outerjoin(job, tombstone.c.job_id == job.c.job_id)
    is_gone = and_(job.c.job_id.is_(None), tombstone.c.cause == Status.EXPIRED.value)
    denied = or_(job.c.status != Status.EXPIRED.value, is_gone)
    found = joined.where(tombstone.c.closed_at.is_(None), denied).order_by(tombstone.c.job_id)
    for row in connection.execute(found):
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
        .order_by(artifact.c.job_id)
    )
    for row in connection.execute(rows):
        yield row.job_id, row.root_id, from_stored(row.path)


def _is_open() -> ColumnElement[bool]:
    return run.c.state.in_(("loading", "applying"))
