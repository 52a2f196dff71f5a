"""How a store stands, read so that it takes the same short time with ten jobs and with ten million.

Each query follows an index and ends after so many rows. Where there are more, the answer says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, literal_column, select

from jobctl.model.standing import Changes, Failure, QueueDepth, Reading, Running, Silent
from jobctl.model.status import Status
from jobctl.store.declared import task_names
from jobctl.store.engine import Connection
from jobctl.store.schema import event, job, lease, run, scan
from jobctl.store.statuses import held_by_index, is_status

_MOST_QUEUES = 200
_MOST_KINDS = 50
_MOST_PRIORITIES = 20
MOST_COUNTED = 20_000
"""Jobs of a queue, or of a part of it: no more are counted."""
_MOST_RUNNING = 20_000
_MOST_EVENTS = 50_000
_FIRST = 20
_MOST_SCANS = 500


class ScanRow(NamedTuple):
    """One finished walk of one root; ``counts`` holds its ``findings``, and the ``room`` on its disk."""

    root_id: str
    started_at: datetime
    finished_at: datetime
    is_complete: bool
    counts: dict[str, Any]


def queue_depths(connection: Connection, now: datetime) -> list[QueueDepth]:
    """The queues that hold jobs, how many, and which job has been due longest."""
    queues, tasks = _steps(connection, job.c.queue, _MOST_QUEUES), task_names(connection)
    return [queue_depth(connection, queue, now, tasks=tasks) for queue in queues]


def queue_depth(connection: Connection, queue: str, now: datetime, *, tasks: Collection[str]) -> QueueDepth:
    """How many jobs one queue holds, how many of which kind are due, and which has been longest.

    A job waits for a worker where its kind is one of the ``tasks`` that workers know, or where it was
    enqueued, which gave it its turn. What a service notes in its job table as queued has none.
    """
    queued, due = _count(connection, job.c.queue == queue), 0
    kinds, firsts = Counter[str](), list[Any]()
    since: dict[str, datetime] = {}
    groups = list(_groups(connection, queue))
    turn, none = _turn(connection), _no_turn(connection)
    for kind, group in groups:
        is_task = kind in tasks
        its_turn = and_(group, turn <= now) if is_task else and_(group, turn <= now, turn > none)
        if first := _first(connection, its_turn):
            kinds[kind] += _count(connection, its_turn)
            firsts += first
            since[kind] = min(since.get(kind, now), *(row.since for row in first if row.since), now)
        if not is_task and (first := _first(connection, and_(group, turn == none))):
            due += _count(connection, and_(group, turn == none))
            firsts += first
    due = min(due + kinds.total(), queued)
    firsts.sort(key=lambda row: (row.since is None, row.since))
    oldest = firsts[0] if firsts else None
    return QueueDepth(
        queue,
        queued,
        due,
        queued >= MOST_COUNTED,
        oldest.job_id if oldest else None,
        oldest.since if oldest else None,
        kinds,
        since,
        _next_turn(connection, [group for _, group in groups], now) if queued > due else None,
    )


def jobs_for_later(connection: Connection, queue: str, now: datetime) -> int:
    """How many jobs of a queue are due only later; ``MOST_COUNTED`` or more: at least so many."""
    turn = _turn(connection)
    groups = (group for _, group in _groups(connection, queue))
    # In the order of the index: else PostgreSQL, which takes a third of all for later, reads the table.
    return sum(_count(connection, and_(group, turn > now), turn, job.c.job_id) for group in groups)


def _groups(connection: Connection, queue: str) -> Iterator[tuple[str, ColumnElement[bool]]]:
    """The kinds and priorities of a queue's jobs, as the index of queued jobs has them."""
    for kind in _steps(connection, job.c.kind, _MOST_KINDS, job.c.queue == queue):
        of_kind = (job.c.queue == queue, job.c.kind == kind)
        for priority in _steps(connection, job.c.priority, _MOST_PRIORITIES, *of_kind):
            yield kind, and_(*of_kind, job.c.priority == priority)


def _next_turn(
    connection: Connection, groups: Sequence[ColumnElement[bool]], now: datetime
) -> datetime | None:
    turn = _turn(connection)
    found = (
        connection.execute(
            select(job.c.run_at)
            .where(is_status(Status.QUEUED), group, turn > now)
            .order_by(turn, job.c.job_id)
            .limit(1)
        ).scalar()
        for group in groups
    )
    return min((at for at in found if at is not None), default=None)


def _steps(connection: Connection, column: Any, at_most: int, *wanted: ColumnElement[bool]) -> Iterator[Any]:
    """The different values of a column of the index of queued jobs, one look-up each.

    Priorities come with the highest first, as the index has them.
    """
    falls = column is job.c.priority
    order = column.desc() if falls else column
    last: list[ColumnElement[bool]] = []
    for _ in range(at_most):
        found = select(column).where(is_status(Status.QUEUED), *wanted, *last).order_by(order).limit(1)
        row = connection.execute(found).one_or_none()
        if row is None:
            return
        yield row[0]
        last = [column < row[0] if falls else column > row[0]]


def _turn(connection: Connection) -> ColumnElement[datetime]:
    """When a queued job may run, as the index of queued jobs has it."""
    return func.coalesce(job.c.run_at, _no_turn(connection), type_=job.c.run_at.type)


def _no_turn(connection: Connection) -> ColumnElement[Any]:
    """What stands there for a job that was never enqueued."""
    is_sqlite = connection.dialect.name == "sqlite"
    return literal_column("''" if is_sqlite else "'-infinity'::timestamptz")


def _count(connection: Connection, wanted: ColumnElement[bool], *order: ColumnElement[Any]) -> int:
    some = select(job.c.queue).where(is_status(Status.QUEUED), wanted).order_by(*order).limit(MOST_COUNTED)
    counted: int = connection.execute(select(func.count()).select_from(some.subquery())).scalar_one()
    return counted


def _first(connection: Connection, group: ColumnElement[bool]) -> Sequence[Any]:
    """The jobs of a queue, a kind and a priority whose turn it is; of those without a time, some."""
    since = func.coalesce(job.c.run_at, job.c.created_at, type_=job.c.created_at.type).label("since")
    return connection.execute(
        select(job.c.job_id, job.c.kind, since)
        .where(is_status(Status.QUEUED), group)
        .order_by(_turn(connection), job.c.job_id)
        .limit(_FIRST)
    ).all()


def silent_jobs(connection: Connection, before: datetime) -> Silent:
    """The running jobs that no worker of jobctl holds, without a sign of life since ``before``."""
    running = _unheld().subquery()
    stale = running.c.beat < before
    counted = connection.execute(
        select(func.count(), func.min(running.c.beat, type_=job.c.updated_at.type)).where(stale)
    ).one()
    if not counted[0]:
        return Silent()
    found = select(running.c.job_id).where(running.c.beat == counted[1]).limit(1)
    read = connection.execute(select(func.count()).select_from(running)).scalar_one()
    return Silent(counted[0], read >= _MOST_RUNNING, connection.execute(found).scalar_one(), counted[1])


def _unheld() -> Any:
    is_held = select(lease.c.job_id).where(lease.c.job_id == job.c.job_id).exists()
    beat = func.coalesce(
        job.c.last_heartbeat, job.c.started_at, job.c.updated_at, type_=job.c.updated_at.type
    )
    wanted = [*held_by_index(Status.PROCESSING), ~is_held]
    return select(job.c.job_id, beat.label("beat")).where(*wanted).limit(_MOST_RUNNING)


def recent_changes(connection: Connection, since: datetime) -> Changes:
    """What became of jobs since then, or as far back as the last 50,000 lines of the history reach."""
    columns = (event.c.at, event.c.kind, event.c.from_status, event.c.to_status)
    last = select(*columns).order_by(event.c.event_id.desc()).limit(_MOST_EVENTS).subquery()
    groups = (last.c.kind, last.c.from_status, last.c.to_status)
    recent, oldest = (
        func.sum(case((last.c.at >= since, 1), else_=0)),
        func.min(last.c.at, type_=event.c.at.type),
    )
    rows = connection.execute(select(*groups, recent, func.count(), oldest).group_by(*groups)).all()
    net, arrived = Counter[Status](), Counter[Status]()
    for kind, left, reached, count, _, _ in rows:
        if reached and reached != left:
            net[Status(reached)] += count
            # What import and recover record came to its status long ago, and somewhere else.
            arrived[Status(reached)] += count if kind == "status" else 0
        if left and reached != left:
            net[Status(left)] -= count
    if sum(row[4] for row in rows) == _MOST_EVENTS:
        since = max(since, min(row[5] for row in rows))
    return Changes(since, net, arrived)


def running_jobs(connection: Connection, *, limit: int) -> list[Running]:
    """Jobs that are being processed, those that began last first."""
    progress = func.coalesce(job.c.max_progress, job.c.progress)
    some = (
        select(job.c.job_id, job.c.kind, job.c.queue, job.c.attempt, progress.label("progress"))
        .add_columns(job.c.started_at, job.c.last_heartbeat)
        .where(*held_by_index(Status.PROCESSING))
        .order_by(job.c.updated_at.desc(), job.c.job_id.desc())
        .limit(_MOST_RUNNING)
        .subquery()
    )
    held = (lease.c.job_id == some.c.job_id) & (lease.c.attempt == some.c.attempt)
    rows = connection.execute(
        select(some, lease.c.worker, lease.c.note, lease.c.cancel_at)
        .join_from(some, lease, held, isouter=True)
        .order_by(some.c.started_at.desc(), some.c.job_id)
        .limit(limit)
    )
    return [Running._make(row) for row in rows]


def recent_failures(connection: Connection, *, limit: int) -> list[Failure]:
    """The jobs that failed last, the newest first."""
    columns = (job.c.job_id, job.c.kind, job.c.updated_at, job.c.error_code, job.c.error)
    failed = held_by_index(Status.FAILED)
    order = (job.c.updated_at.desc(), job.c.job_id.desc())
    rows = connection.execute(select(*columns).where(*failed).order_by(*order).limit(limit))
    return [Failure._make(row) for row in rows]


def finished_scans(connection: Connection, root_id: str, *, since: datetime) -> list[ScanRow]:
    """The walks of a root that came to their end, the newest first."""
    columns = [scan.c[name] for name in ScanRow._fields]
    mine = (scan.c.root_id == root_id, scan.c.started_at >= since, scan.c.finished_at.is_not(None))
    rows = connection.execute(
        select(*columns).where(*mine).order_by(scan.c.started_at.desc()).limit(_MOST_SCANS)
    )
    return [ScanRow._make(row)._replace(counts=row.counts or {}) for row in rows]


def newest_complete_scan(connection: Connection, root_id: str) -> ScanRow | None:
    """The newest walk of a root that read everything, however long ago."""
    columns = [scan.c[name] for name in ScanRow._fields]
    mine = (scan.c.root_id == root_id, scan.c.is_complete, scan.c.finished_at.is_not(None))
    row = connection.execute(
        select(*columns).where(*mine).order_by(scan.c.started_at.desc()).limit(1)
    ).one_or_none()
    return None if row is None else ScanRow._make(row)._replace(counts=row.counts or {})


def last_mending(connection: Connection) -> datetime | None:
    """When a run last began that may have mended what a scan found; expiring mends nothing."""
    newest = select(func.max(run.c.started_at, type_=run.c.started_at.type)).where(run.c.command != "expire")
    found: datetime | None = connection.execute(newest).scalar_one()
    return found


def readings_of(scans: Sequence[ScanRow]) -> list[Reading]:
    """What walks noted of the room on their disk, oldest first."""
    return [
        Reading(row.finished_at, room["bytes"], room["bytes_free"])
        for row in reversed(scans)
        if (room := row.counts.get("room"))
    ]
