"""What reports read: the history of a period, of some jobs, and what is stored where."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import and_, case, func, or_, select

from jobctl.core.reporting.activity import Line
from jobctl.core.reporting.billing import Milestone
from jobctl.core.reporting.incidents import MAKING, UNMAKING, Stay
from jobctl.core.reporting.outages import Returned, Sight
from jobctl.model.files import Role
from jobctl.model.job import Event
from jobctl.model.names import from_stored
from jobctl.model.plan import Verb
from jobctl.model.status import Status
from jobctl.model.storage import Stored, Walked
from jobctl.model.timestamps import format_timestamp
from jobctl.store.dialect import Dialect
from jobctl.store.engine import Connection
from jobctl.store.evidence import TraceRow, claims_of
from jobctl.store.schema import artifact, directory, event, job, root, run
from jobctl.store.statements import stream_rows

LONGEST_REASON = 300
_SEES = (Verb.NOTE_MISSING, Verb.LINK, Verb.CREATE, Verb.COMPLETE, Verb.UNNOTE)
_IDS_AT_ONCE = 500
_LONG_ROWS_AT_ONCE = 50

_LINES = """
SELECT event_id, job_id, {at}, kind, coalesce(from_status, ''), coalesce(to_status, ''),
    coalesce(detail ->> 'cause', ''), coalesce(detail ->> 'verb', ''), coalesce(detail ->> 'error_code', ''),
    substr(coalesce(detail ->> 'error', detail ->> 'reason', ''), 1, {longest})
FROM {event}
WHERE at >= ? AND at < ?
ORDER BY event_id
"""

_MILESTONES = """
SELECT e.job_id, {at}, e.kind, coalesce(e.from_status, ''), coalesce(e.to_status, ''),
    coalesce(e.detail ->> 'verb', ''), j.owner, {completed_at}, v.seconds, v.sha256
FROM {event} AS e
LEFT JOIN {job} AS j ON j.job_id = e.job_id
LEFT JOIN (
    SELECT job_id, max(CAST(media ->> 'duration_s' AS DOUBLE PRECISION)) AS seconds, max(sha256) AS sha256
    FROM {artifact}
    WHERE role = 'video' AND verdict = 'whole' GROUP BY job_id
) AS v ON v.job_id = e.job_id
WHERE e.kind IN ('created', 'undone')
    OR (e.to_status = 'completed' AND e.from_status IS DISTINCT FROM e.to_status)
ORDER BY e.job_id, e.event_id
"""

_FALLEN = """
SELECT job_id, stream, life, {claims} FROM {evidence}
WHERE job_id IN (SELECT job_id FROM {evidence} WHERE stream = ? AND life > ? AND life <= ?)
ORDER BY job_id, stream, life
"""


def lines(connection: Connection, dialect: Dialect, since: datetime, until: datetime) -> Iterator[Line]:
    """The history of a period, in its order; long reasons are cut."""
    sql = _LINES.format(
        at=dialect.moment("at"),
        longest=LONGEST_REASON,
        event=dialect.table("event"),
    )
    bounds = (format_timestamp(since), format_timestamp(until))
    return map(Line._make, stream_rows(connection, sql, bounds))


def milestones(connection: Connection, dialect: Dialect) -> Iterator[Milestone]:
    """All that decides which jobs were completed when, job by job."""
    sql = _MILESTONES.format(
        at=dialect.moment("e.at"),
        completed_at=dialect.moment("j.completed_at"),
        event=dialect.table("event"),
        job=dialect.table("job"),
        artifact=dialect.table("artifact"),
    )
    return map(Milestone._make, stream_rows(connection, sql, ()))


def traces_of_life(
    connection: Connection, dialect: Dialect, stream: str, above: int, upto: int
) -> Iterator[TraceRow]:
    """Every trace of the jobs that a stream tells of in its lives ``above`` < life ≤ ``upto``, by job."""
    sql = _FALLEN.format(claims=dialect.text("claims"), evidence=dialect.table("evidence"))
    for job_id, of_stream, life, claims in stream_rows(connection, sql, (stream, above, upto)):
        yield TraceRow(job_id, of_stream, life, claims_of(claims))


def stays_of(connection: Connection, job_ids: Iterable[str]) -> dict[str, list[Stay]]:
    """The lines of the history that made records of these jobs, or may have removed them."""
    found: dict[str, list[Stay]] = {}
    columns = (event.c.job_id, event.c.at, event.c.kind, event.c.detail["verb"].as_string())
    for some in _batches(job_ids):
        rows = select(*columns).where(event.c.job_id.in_(some), event.c.kind.in_(sorted(MAKING | UNMAKING)))
        for job_id, at, kind, verb in connection.execute(rows.order_by(event.c.job_id, event.c.event_id)):
            is_gone = kind == "deleted" or verb == Verb.FORGET
            found.setdefault(job_id, []).append(Stay(format_timestamp(at), kind, not is_gone))
    return found


def owners_of(connection: Connection, job_ids: Iterable[str]) -> dict[str, str | None]:
    """Who owns these jobs, as far as they are recorded."""
    found: dict[str, str | None] = {}
    for some in _batches(job_ids):
        rows = connection.execute(select(job.c.job_id, job.c.owner).where(job.c.job_id.in_(some)))
        found.update((job_id, owner) for job_id, owner in rows)
    return found


def returned(connection: Connection, since: datetime) -> list[Returned]:
    """The records that were rebuilt since a moment, with the last time that each names itself."""
    verb, earlier = event.c.detail["verb"].as_string(), event.alias()
    undone = (
        select(func.max(earlier.c.at, type_=event.c.at.type))
        .where(
            earlier.c.job_id == event.c.job_id,
            earlier.c.event_id < event.c.event_id,
            earlier.c.kind == "undone",
            earlier.c.detail["verb"].as_string() == Verb.FORGET.value,
        )
        .scalar_subquery()
    )
    named = (job.c.created_at, job.c.started_at, job.c.last_heartbeat, job.c.completed_at)
    rows = connection.execute(
        select(
            event.c.job_id, event.c.at, event.c.to_status, event.c.run_id, run.c.started_at, undone, *named
        )
        .join_from(event, job, job.c.job_id == event.c.job_id, isouter=True)
        .join(run, run.c.run_id == event.c.run_id, isouter=True)
        .where(event.c.kind == "recovered", verb == Verb.CREATE.value, event.c.at >= since)
        .order_by(event.c.event_id)
    )
    return [
        Returned(
            job_id,
            format_timestamp(at),
            max((format_timestamp(each) for each in moments if each is not None and each <= at), default=""),
            format_timestamp(missed_at) if missed_at else "",
            format_timestamp(undone_at) if undone_at else "",
            to_status == Status.COMPLETED.value,
            run_id or "",
        )
        for job_id, at, to_status, run_id, missed_at, undone_at, *moments in rows
    ]


def sights_of_videos(connection: Connection, until: datetime) -> list[Sight]:
    """What the history says of the videos that were missed once, until a moment.

    Of a job that ended for good nobody misses the video any longer.
    """
    verb, path = event.c.detail["verb"].as_string(), event.c.detail["path"].as_string()
    missed = select(event.c.job_id).where(event.c.kind == "artifact", verb == Verb.NOTE_MISSING.value)
    ended = or_(event.c.kind == "deleted", event.c.to_status == Status.EXPIRED.value)
    sees = or_(verb.in_(_SEES), and_(event.c.kind == "artifact", verb.is_(None)))
    is_video = (
        select(artifact.c.job_id)
        .where(
            artifact.c.job_id == event.c.job_id, artifact.c.path == path, artifact.c.role == Role.VIDEO.value
        )
        .exists()
    )
    rows = connection.execute(
        select(event.c.job_id, path, event.c.at, verb, ended)
        .where(event.c.job_id.in_(missed), event.c.at < until, or_(ended, and_(sees, is_video)))
        .order_by(event.c.job_id, event.c.event_id)
    )
    found: list[Sight] = []
    for job_id, place, at, seen_by, has_ended in rows:
        places = {each.path for each in found if each.job_id == job_id} if has_ended else {place}
        is_there = seen_by != Verb.NOTE_MISSING.value
        found += [Sight(job_id, each, format_timestamp(at), is_there) for each in sorted(places)]
    return found


def latest_events(connection: Connection, *, limit: int) -> Iterator[Event]:
    """The last lines of the whole history, the newest first; a few at a time, since each may be long."""
    columns = [event.c[name] for name in Event._fields]
    rows = select(*columns).order_by(event.c.event_id.desc()).limit(limit)
    # Who has enough leaves the rest: no cursor stays open for it.
    with connection.execution_options(yield_per=_LONG_ROWS_AT_ONCE).execute(rows) as found:
        yield from map(Event._make, found)


def database_version(connection: Connection) -> str:
    """What the database says of its version."""
    named = "sqlite_version()" if connection.dialect.name == "sqlite" else "version()"
    return str(connection.exec_driver_sql(f"SELECT {named}").scalar_one())


def stored(connection: Connection, since: datetime, until: datetime) -> list[Stored]:
    """What the records say of files, by root and state, and of those noted within a period."""
    is_new = and_(artifact.c.noted_at >= since, artifact.c.noted_at < until)
    size = func.coalesce(artifact.c.size, 0)
    sums = [func.sum(size), func.sum(case((is_new, 1), else_=0)), func.sum(case((is_new, size), else_=0))]
    rows = connection.execute(
        select(artifact.c.root_id, root.c.path, artifact.c.state, func.count(), *sums)
        .join(root, root.c.root_id == artifact.c.root_id, isouter=True)
        .group_by(artifact.c.root_id, root.c.path, artifact.c.state)
        .order_by(artifact.c.root_id, artifact.c.state)
    )
    return [
        Stored(root_id, from_stored(path or ""), state, *(int(each) for each in numbers))
        for root_id, path, state, *numbers in rows
    ]


def walked(connection: Connection) -> list[Walked]:
    """What the last walks saw, by root."""
    columns: tuple[Any, ...] = (directory.c.files, directory.c.bytes, directory.c.foreign_files)
    sums = [func.coalesce(func.sum(column), 0) for column in columns]
    rows = connection.execute(
        select(root.c.root_id, root.c.path, *sums)
        .join(directory, directory.c.root_id == root.c.root_id)
        .group_by(root.c.root_id, root.c.path)
        .order_by(root.c.root_id)
    )
    return [
        Walked(root_id, from_stored(path), *(int(each) for each in numbers))
        for root_id, path, *numbers in rows
    ]


def _batches(job_ids: Iterable[str]) -> Iterator[Collection[str]]:
    rest = iter(sorted(set(job_ids)))
    while some := list(islice(rest, _IDS_AT_ONCE)):
        yield some
