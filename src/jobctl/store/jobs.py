"""Job records. The only module that writes a job's status, each change with its event.

The exceptions write many at once, as the same transition table allows and each with its event as
well: ``store.run_steps`` from a plan, ``store.leases`` what workers claim and settle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    RowMapping,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    true,
    tuple_,
    update,
)

from jobctl.core.steps import Step
from jobctl.errors import IllegalTransition, JobExists, StaleJob, UnknownJob
from jobctl.model.attempts import QueueState
from jobctl.model.detail import JobBody
from jobctl.model.job import Artifact, Confidence, Event, Executor, Job, Origin
from jobctl.model.names import from_stored
from jobctl.model.records import Ended
from jobctl.model.status import Cause, Status, check_transition
from jobctl.model.storable import storable_json, storable_text
from jobctl.store.dialect import upsert
from jobctl.store.engine import Connection
from jobctl.store.schema import (
    ENDED_JOB,
    UNFINISHED_JOB,
    artifact,
    event,
    job,
    job_body,
    lease,
    publication,
    tombstone,
)

_PAGE = 500
_IDS_AT_ONCE = 500
_CLOSED_ONE_BY_ONE = 20
_GUARDED = frozenset({"job_id", "status", "version", "updated_at", "attempt"})
# Made once: to put a statement together takes longer than many a database takes to carry it out.
_COLUMNS = tuple(each.name for each in fields(Job))
_INSERTIONS: dict[str, Any] = {}
_ONE = select(job).where(job.c.job_id == bindparam("wanted"))
_BODY = insert(job_body)
_EVENT = insert(event)
_REBORN = (
    update(tombstone)
    .where(tombstone.c.job_id == bindparam("reborn"), tombstone.c.closed_at.is_(None))
    .values(closed_at=bindparam("since"))
)


def create_job(
    connection: Connection,
    new: Job,
    *,
    actor: str,
    at: datetime,
    payload: Mapping[str, Any] | None = None,
) -> Job:
    """Record a new job, queued; an open tombstone of the id is closed with it.

    An expired record of the id gives way to this new incarnation; its history stays, and its
    attempts go on being counted, so that no worker of the old one can write to the new one.

    Raises ``JobExists``, also where another job of the kind has the same idempotency key,
    and ``IllegalTransition`` for a job that is not queued.
    """
    if new.status is not Status.QUEUED:
        raise IllegalTransition(
            f"job {new.job_id} cannot be created as {new.status}; nothing was written",
            hint="create it queued and change its status, or import it with 'jobctl recover'",
        )
    row = _storable({name: getattr(new, name) for name in _COLUMNS})
    row.update(executor=None, created_at=new.created_at or at, updated_at=at, version=1)
    # Nearly always the id is new, so what stands in its way is looked for only where something does.
    if not _inserted(connection, row):
        row.update(_succeeding(connection, new))
        if not _inserted(connection, row):
            raise _exists(connection, new)
    if payload is not None:
        connection.execute(_BODY, {"job_id": row["job_id"], "payload": payload})
    connection.execute(_REBORN, {"reborn": row["job_id"], "since": at})
    before = Status.EXPIRED.value if row["version"] > 1 else None
    record_event(
        connection, row["job_id"], at, "created", actor, from_status=before, to_status=Status.QUEUED.value
    )
    return job_of(row)


def _inserted(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Insert a record, unless its id or its key is taken."""
    return connection.execute(_insertion(connection), row).one_or_none() is not None


def _insertion(connection: Connection) -> Any:
    name = connection.dialect.name
    if name not in _INSERTIONS:
        _INSERTIONS[name] = upsert(connection, job).on_conflict_do_nothing().returning(job.c.job_id)
    return _INSERTIONS[name]


def _succeeding(connection: Connection, new: Job) -> dict[str, int]:
    """Make room for a new incarnation where the record of this id has expired; what it goes on counting.

    Raises ``JobExists`` where it has not.
    """
    job_id = storable_text(new.job_id)
    expired = and_(job.c.job_id == job_id, job.c.status == Status.EXPIRED.value)
    old = connection.execute(select(job.c.version, job.c.attempt).where(expired)).one_or_none()
    if old is None:
        raise _exists(connection, new)
    for table in (artifact, job_body, lease, publication, job):
        connection.execute(delete(table).where(table.c.job_id == job_id))
    return {"version": old.version + 1, "attempt": old.attempt, "spared": old.attempt}


def change_status(
    connection: Connection,
    job_id: str,
    to: Status,
    *,
    expect: Status,
    cause: Cause,
    actor: str,
    at: datetime,
    attempt: int | None = None,
    run_id: str | None = None,
    changes: Mapping[str, Any] | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Job:
    """Take a job from ``expect`` to ``to``: the one function through which statuses change.

    ``attempt`` is the fencing token of who asks: where it is given and no longer the
    job's, nothing is written. ``changes`` are other fields to write with it.

    Raises ``UnknownJob``, ``StaleJob`` or ``IllegalTransition``.
    """
    now = get_job(connection, job_id)
    if now.status is not expect or (attempt is not None and now.attempt != attempt):
        raise StaleJob(
            f"job {job_id} is {now.status} in attempt {now.attempt}, not {expect} in attempt "
            f"{now.attempt if attempt is None else attempt}; nothing was written",
            hint=f"run 'jobctl show {job_id}'",
        )
    step = Step(to, cause)
    take_step(connection, now, step, actor=actor, at=at, run_id=run_id, changes=changes, detail=detail)
    return get_job(connection, job_id)


def take_step(
    connection: Connection,
    now: Job,
    step: Step,
    *,
    actor: str,
    at: datetime,
    run_id: str | None = None,
    changes: Mapping[str, Any] | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Job:
    """Change the status of a job that was just read; what it is then, without reading it again.

    The rest as of ``change_status``. Raises ``StaleJob`` or ``IllegalTransition``.
    """
    job_id, (to, cause) = now.job_id, step
    check_transition(job_id, now.status, to, cause, now.error_code)
    values = {**_implied(now, to, at), **_allowed(changes or {})}
    _update(connection, now, {**values, "status": to.value}, at=at)
    record_event(
        connection,
        job_id,
        at,
        "status",
        actor,
        run_id=run_id,
        attempt=values.get("attempt", now.attempt),
        from_status=now.status.value,
        to_status=to.value,
        detail={"cause": cause.value, **_reason(to, values), **(detail or {})},
    )
    if values.get("executor") is not None:
        values["executor"] = Executor(**values["executor"])
    return replace(now, **values, status=to, version=now.version + 1, updated_at=at)


def change_fields(connection: Connection, now: Job, changes: Mapping[str, Any], *, at: datetime) -> None:
    """Write fields of a job other than its status. Raises ``StaleJob`` unless it is as ``now`` says."""
    _update(connection, now, _allowed(changes), at=at)


def _update(connection: Connection, now: Job, values: Mapping[str, Any], *, at: datetime) -> None:
    named = {
        **values,
        "version": now.version + 1,
        "updated_at": at,
        "seen_id": now.job_id,
        "seen_version": now.version,
        "seen_status": now.status.value,
    }
    if connection.execute(_update_of(frozenset(values)), named).rowcount != 1:
        raise _changed_meanwhile(now.job_id)


@lru_cache(maxsize=100)
def _update_of(names: frozenset[str]) -> Update:
    as_seen = (
        job.c.job_id == bindparam("seen_id"),
        job.c.version == bindparam("seen_version"),
        job.c.status == bindparam("seen_status"),
    )
    written = sorted({*names, "version", "updated_at"})
    return update(job).where(*as_seen).values({name: bindparam(name) for name in written})


def report_progress(
    connection: Connection, job_id: str, *, attempt: int, progress: float, at: datetime
) -> None:
    """Keep what the current attempt reports, with a sign of life. Raises ``StaleJob`` for an old attempt.

    A report that is no number is a sign of life and nothing more.
    """
    if not isfinite(progress):
        heartbeat(connection, job_id, attempt=attempt, at=at)
        return
    clamped = min(100.0, max(0.0, progress))
    highest = func.coalesce(job.c.max_progress, 0.0)
    values = {
        "progress": progress,
        "max_progress": func.greatest(highest, clamped)
        if connection.dialect.name == "postgresql"
        else func.max(highest, clamped),
        "last_heartbeat": at,
    }
    _of_attempt(connection, job_id, attempt, values)


def heartbeat(connection: Connection, job_id: str, *, attempt: int, at: datetime) -> None:
    """Show a sign of life of the current attempt. Raises ``StaleJob`` for an old one."""
    _of_attempt(connection, job_id, attempt, {"last_heartbeat": at})


def delete_job(connection: Connection, job_id: str, *, actor: str, at: datetime) -> None:
    """Remove a record for good, leaving a tombstone that recover honours.

    Raises ``UnknownJob``, or ``StaleJob`` where another writer changed it at the same time.
    """
    now = get_job(connection, job_id)
    as_seen = and_(job.c.job_id == job_id, job.c.version == now.version)
    if connection.execute(delete(job).where(as_seen)).rowcount != 1:
        raise _changed_meanwhile(job_id)
    for table in (artifact, job_body, lease, publication):
        connection.execute(delete(table).where(table.c.job_id == job_id))
    connection.execute(delete(tombstone).where(tombstone.c.job_id == job_id))
    buried = {"job_id": job_id, "at": at, "cause": "deleted", "actor": actor}
    connection.execute(insert(tombstone), buried)
    record_event(connection, job_id, at, "deleted", actor, from_status=now.status.value)


def get_job(connection: Connection, job_id: str) -> Job:
    """One record. Raises ``UnknownJob``."""
    row = connection.execute(_ONE, {"wanted": storable_text(job_id)}).one_or_none()
    if row is None:
        raise UnknownJob(
            f"no job {job_id} is recorded", hint="run 'jobctl list', or 'jobctl scan' for its files"
        )
    return to_job(row)


def body_of(connection: Connection, job_id: str) -> JobBody:
    """What a job was enqueued with, and what it came to."""
    row = connection.execute(select(job_body).where(job_body.c.job_id == job_id)).one_or_none()
    return JobBody() if row is None else JobBody(row.payload, row.result)


def resolve_prefix(connection: Connection, prefix: str, *, limit: int = 5) -> list[str]:
    """Ids that begin with ``prefix``."""
    low = storable_text(prefix)
    found = select(job.c.job_id).where(job.c.job_id >= low, job.c.job_id < low + "\U0010ffff")
    return list(connection.execute(found.order_by(job.c.job_id).limit(limit)).scalars())


def count_by_status(connection: Connection) -> dict[Status, int]:
    """How many jobs stand where."""
    counted = connection.execute(select(job.c.status, func.count()).group_by(job.c.status))
    return {Status(status): count for status, count in counted}


def queue_states(connection: Connection, now: datetime) -> list[QueueState]:
    """The queued jobs of each queue that has any, at ``now`` by the store's clock."""
    since = func.coalesce(job.c.run_at, job.c.created_at)
    is_due = func.coalesce(job.c.run_at <= now, true())
    rows = connection.execute(
        select(
            job.c.queue,
            func.count(),
            func.sum(case((is_due, 1), else_=0)),
            func.min(case((is_due, since)), type_=job.c.created_at.type),
        )
        .where(_is(Status.QUEUED))
        .group_by(job.c.queue)
        .order_by(job.c.queue)
    )
    return [
        QueueState(queue, count, due, max(0.0, (now - first).total_seconds()) if first else 0.0)
        for queue, count, due, first in rows
    ]


def count_live_by_root(connection: Connection) -> dict[str, int]:
    """How many jobs that have not expired name each root; those that name none under an empty id."""
    counted = select(job.c.root_id, func.count()).where(job.c.status != Status.EXPIRED.value)
    return {root_id or "": count for root_id, count in connection.execute(counted.group_by(job.c.root_id))}


def ended_before(connection: Connection, status: str, before: datetime | None) -> Iterator[list[Ended]]:
    """The jobs of an ended status last changed before a moment, oldest first, some at a time."""
    columns = [job.c[name] for name in Ended._fields]
    wanted: list[ColumnElement[bool]] = [_is(Status(status)), literal_column(ENDED_JOB)]
    if before is not None:
        wanted.append(job.c.updated_at < before)
    order = (job.c.updated_at, job.c.job_id)
    last: Ended | None = None
    while True:
        further = [] if last is None else [tuple_(*order) > (last.updated_at, last.job_id)]
        rows = connection.execute(select(*columns).where(*wanted, *further).order_by(*order).limit(_PAGE))
        page = [Ended._make(row) for row in rows]
        if not page:
            return
        yield page
        last = page[-1]


def unfinished_ids(connection: Connection, status: Status, *, before: datetime | None = None) -> list[str]:
    """The ids of the jobs that are queued or processing, perhaps only those last changed before a moment."""
    wanted: list[ColumnElement[bool]] = [_is(status), literal_column(UNFINISHED_JOB)]
    if before is not None:
        wanted.append(job.c.updated_at < before)
    return list(connection.execute(select(job.c.job_id).where(*wanted).order_by(job.c.job_id)).scalars())


def _is(status: Status) -> ColumnElement[bool]:
    # Written out: planners use a partial index only where they see that it fits.
    return job.c.status == literal_column(f"'{status.value}'")


def history(connection: Connection, job_id: str) -> list[Event]:
    """Every change of a job, oldest first."""
    columns = [event.c[name] for name in Event._fields]
    rows = connection.execute(select(*columns).where(event.c.job_id == job_id).order_by(event.c.event_id))
    return [Event._make(row) for row in rows]


def artifacts_of(connection: Connection, job_id: str) -> list[Artifact]:
    """The files of a job, its video first."""
    rows = connection.execute(select(artifact).where(artifact.c.job_id == job_id).order_by(artifact.c.path))
    found = [Artifact(**{**row._mapping, "path": from_stored(row.path)}) for row in rows]
    return sorted(found, key=lambda file: file.role != "video")


def _implied(now: Job, to: Status, at: datetime) -> dict[str, Any]:
    """What a change of status says of the other fields."""
    if to is Status.PROCESSING:
        fresh = {"progress": None, "max_progress": None, "error": None, "error_code": None}
        return {**fresh, "attempt": now.attempt + 1, "started_at": at, "last_heartbeat": at}
    if to is Status.COMPLETED:
        return {"completed_at": at, "progress": 100.0, "error": None, "error_code": None}
    if to is Status.QUEUED:
        return {"executor": None}
    return {}


def _reason(to: Status, values: Mapping[str, Any]) -> dict[str, Any]:
    """Why a job failed, for its history: the record tells it no longer once the job is tried again."""
    return {
        name: values[name] for name in ("error", "error_code") if to is Status.FAILED and values.get(name)
    }


def _exists(connection: Connection, new: Job) -> JobExists:
    """The error for a job that cannot be created, naming the one that stands in its way."""
    same_key = and_(job.c.kind == new.kind, job.c.idempotency_key == new.idempotency_key)
    found = connection.execute(select(job.c.job_id).where(job.c.job_id == new.job_id)).scalar_one_or_none()
    if found is not None:
        message = f"a job {found} is recorded already; it was left as it is"
    else:
        found = connection.execute(select(job.c.job_id).where(same_key)).scalar_one()
        message = f"job {found} has the idempotency key of {new.job_id} already; nothing was written"
    return JobExists(message, hint=f"run 'jobctl show {found}'")


def _changed_meanwhile(job_id: str) -> StaleJob:
    return StaleJob(
        f"job {job_id} was changed by another writer at the same time; nothing was written",
        hint=f"run 'jobctl show {job_id}' and try again",
    )


def _storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values in a form both databases hold, whatever bytes a message or a name came with."""
    return {
        name: storable_json(value) if type(value) in {str, list} else value for name, value in values.items()
    }


def _allowed(changes: Mapping[str, Any]) -> dict[str, Any]:
    forbidden = _GUARDED & changes.keys()
    if forbidden:
        raise ValueError(f"these fields follow from the change itself: {', '.join(sorted(forbidden))}")
    values = _storable(changes)
    if isinstance(values.get("executor"), Executor):
        values["executor"] = values["executor"]._asdict()
    return values


def _of_attempt(connection: Connection, job_id: str, attempt: int, values: Mapping[str, Any]) -> None:
    current = and_(job.c.job_id == job_id, job.c.attempt == attempt, job.c.status == Status.PROCESSING.value)
    if connection.execute(update(job).where(current).values(**values)).rowcount != 1:
        get_job(connection, job_id)
        raise StaleJob(
            f"attempt {attempt} of job {job_id} is no longer the current one; nothing was written",
            hint=f"run 'jobctl show {job_id}'",
        )


def record_event(
    connection: Connection, job_id: str, at: datetime, kind: str, actor: str, **more: Any
) -> None:
    """Add a line to a job's history."""
    connection.execute(_EVENT, {"job_id": job_id, "at": at, "kind": kind, "actor": actor, **more})


def close_tombstones(connection: Connection, job_ids: Sequence[str], at: datetime) -> None:
    """Note of jobs that were buried that each of these ids begins a new life."""
    if len(job_ids) > _CLOSED_ONE_BY_ONE and not _any_tombstone(connection):
        return
    for start in range(0, len(job_ids), _IDS_AT_ONCE):
        ids = job_ids[start : start + _IDS_AT_ONCE]
        buried = and_(tombstone.c.job_id.in_(ids), tombstone.c.closed_at.is_(None))
        connection.execute(update(tombstone).where(buried).values(closed_at=at))


def _any_tombstone(connection: Connection) -> bool:
    return connection.execute(select(tombstone.c.job_id).limit(1)).one_or_none() is not None


def to_job(row: Row[Any]) -> Job:
    """The job that a row of its table holds."""
    return job_of(row._mapping)


def job_of(columns: Mapping[str, Any] | RowMapping) -> Job:
    """The job that these columns make, by their names."""
    values: dict[str, Any] = dict(columns)
    values["status"] = Status(values["status"])
    values["origin"] = Origin(values["origin"])
    values["confidence"] = Confidence(values["confidence"]) if values["confidence"] else None
    values["executor"] = Executor(**values["executor"]) if values["executor"] else None
    values["created_files"] = values["created_files"] or []
    return Job(**values)
