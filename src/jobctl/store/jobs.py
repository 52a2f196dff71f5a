"""Job records. The only module that writes a job's status, each change with its event.

The exceptions write many at once, as the same transition table allows and each with its event as
well: ``store.run_steps`` from a plan, ``store.leases`` what workers claim and settle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Row,
    RowMapping,
    Update,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from jobctl.core.steps import Step
from jobctl.errors import IllegalTransition, JobExists, StaleJob, UnknownJob
from jobctl.model.commands import show_command
from jobctl.model.detail import JobBody
from jobctl.model.job import Artifact, Confidence, Event, Executor, Job, Origin
from jobctl.model.names import from_stored
from jobctl.model.status import Cause, Status, check_transition
from jobctl.model.storable import storable_json, storable_text
from jobctl.store.engine import Connection
from jobctl.store.schema import (
    artifact,
    event,
    job,
    job_body,
    lease,
    publication,
    tombstone,
)
from jobctl.store.statements import upsert

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
        row.update(_succeeding(connection, row))
        if not _inserted(connection, row):
            raise _taken(connection, row)
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


def _succeeding(connection: Connection, row: Mapping[str, Any]) -> dict[str, int]:
    """Make room for a new incarnation where the record of this id has expired; what it goes on counting.

    Raises ``JobExists`` where it has not.
    """
    job_id = row["job_id"]
    expired = and_(job.c.job_id == job_id, job.c.status == Status.EXPIRED.value)
    # Held: else another writer's new incarnation could be what is removed.
    held = select(job.c.version, job.c.attempt).where(expired).with_for_update()
    old = connection.execute(held).one_or_none()
    if old is None:
        raise _taken(connection, row)
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
            hint=f"run '{show_command(job_id)}'",
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
            f"no job {job_id} is recorded",
            hint=f"run '{show_command(job_id)}' to look further, or 'jobctl list'",
        )
    return to_job(row)


def body_of(connection: Connection, job_id: str) -> JobBody:
    """What a job was enqueued with, and what it came to."""
    row = connection.execute(select(job_body).where(job_body.c.job_id == job_id)).one_or_none()
    return JobBody() if row is None else JobBody(row.payload, row.result)


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


def _taken(connection: Connection, row: Mapping[str, Any]) -> JobExists | StaleJob:
    """The error for a job that cannot be created, naming the one that stands in its way."""
    job_id, kind, key = row["job_id"], row["kind"], row["idempotency_key"]
    ids = select(job.c.job_id)
    found = connection.execute(ids.where(job.c.job_id == job_id)).scalar_one_or_none()
    message = f"a job {job_id} is recorded already; it was left as it is"
    if found is None and key is not None:
        same_key = and_(job.c.kind == kind, job.c.idempotency_key == key)
        found = connection.execute(ids.where(same_key)).scalar_one_or_none()
        message = f"job {found} has the idempotency key of {job_id} already; nothing was written"
    if found is None:
        return _changed_meanwhile(job_id)
    return JobExists(message, hint=f"run '{show_command(found)}'")


def _changed_meanwhile(job_id: str) -> StaleJob:
    return StaleJob(
        f"job {job_id} was changed by another writer at the same time; nothing was written",
        hint=f"run '{show_command(job_id)}' and try again",
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
