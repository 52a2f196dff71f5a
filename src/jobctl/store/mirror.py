"""Whole jobs, record and payload, as a service's own objects mirror them.

Statuses change in ``store.jobs`` alone, step by step through the transition table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select

from jobctl.core.steps import Step
from jobctl.model.job import Executor, Job
from jobctl.model.status import Status
from jobctl.model.storable import storable_json, storable_text
from jobctl.store.engine import Connection, Store
from jobctl.store.enqueue import payload_text
from jobctl.store.jobs import change_fields, create_job, job_of, take_step
from jobctl.store.schema import job, job_body
from jobctl.store.statements import upsert

_FULL = 100.0
_NAMES = tuple(job.c.keys())


class Whole(NamedTuple):
    """A record and the payload beside it; the payload is empty where there is none that has names."""

    job: Job
    payload: Mapping[str, Any]


class Change(NamedTuple):
    """What to write of a job. ``payload``: the whole of it anew; ``None`` leaves it as it is."""

    steps: Sequence[Step]
    fields: Mapping[str, Any]
    payload: Mapping[str, Any] | None


def find_whole(connection: Connection, job_id: str, *, kind: str | None = None) -> Whole | None:
    """A job, or ``None``."""
    row = connection.execute(_by_id(kind), {"wanted": storable_text(job_id)}).one_or_none()
    return None if row is None else _to_whole(row)


def hold(store: Store, connection: Connection, job_id: str) -> datetime:
    """Let no other writer come between until the transaction ends; the moment, by the store's clock.

    To be called before the job is looked at: the statement that waits for another writer sees what it
    waited for as that one left it, and all else as it was before. On SQLite there is one writer only.
    """
    if store.dialect.name == "postgresql":
        moment: datetime | None = connection.execute(
            _HOLD, {"wanted": storable_text(job_id)}
        ).scalar_one_or_none()
        if moment is not None:
            return moment.astimezone(UTC)
    return store.now(connection)


def page_of_wholes(connection: Connection, *, kind: str | None, after: str, limit: int) -> list[Whole]:
    """The jobs behind ``after``, by id."""
    rows = _wholes(kind).where(job.c.job_id > after).order_by(job.c.job_id).limit(limit)
    return [_to_whole(row) for row in connection.execute(rows)]


def page_of_ids(connection: Connection, *, kind: str | None, after: str, limit: int) -> list[str]:
    """The ids of the jobs behind ``after``, in order."""
    rows = select(job.c.job_id).where(job.c.job_id > after, *_of_kind(kind))
    return list(connection.execute(rows.order_by(job.c.job_id).limit(limit)).scalars())


def has_job(connection: Connection, job_id: str, *, kind: str | None) -> bool:
    """Whether a job is recorded."""
    found = select(job.c.job_id).where(job.c.job_id == storable_text(job_id), *_of_kind(kind))
    return connection.execute(found).one_or_none() is not None


def count_jobs(connection: Connection, *, kind: str | None) -> int:
    """How many jobs there are."""
    counted: int = connection.execute(
        select(func.count()).select_from(job).where(*_of_kind(kind))
    ).scalar_one()
    return counted


def create_whole(
    connection: Connection,
    job_id: str,
    kind: str,
    change: Change,
    *,
    actor: str,
    executor: Executor,
    at: datetime,
) -> Whole:
    """Record a job that is already where the steps of ``change`` lead.

    Raises ``JobExists``, ``IllegalTransition``, or ``ValueError`` for a payload that is no JSON.
    """
    new = Job(job_id=job_id, kind=kind, **change.fields)
    new.max_progress = highest_progress(None, change.fields)
    payload = _storable(change.payload) if change.payload else None
    now = create_job(connection, new, actor=actor, at=at, payload=payload)
    # What is not known is left to what the steps say of it.
    known = (
        {name: value for name, value in change.fields.items() if value is not None} if change.steps else {}
    )
    further = Change(change.steps, known, None)
    return _step(connection, Whole(now, payload or {}), further, actor=actor, executor=executor, at=at)


def change_whole(
    connection: Connection, now: Whole, change: Change, *, actor: str, executor: Executor, at: datetime
) -> Whole:
    """Write to a job that is as ``now`` says; what it is then.

    Raises ``StaleJob`` or ``IllegalTransition``, or ``ValueError`` for a payload that is no JSON.
    """
    payload = now.payload if change.payload is None else _storable(change.payload)
    if change.payload is not None:
        body = upsert(connection, job_body).values(job_id=now.job.job_id, payload=payload)
        taken = body.on_conflict_do_update(index_elements=["job_id"], set_={"payload": body.excluded.payload})
        connection.execute(taken)
    return _step(connection, Whole(now.job, payload), change, actor=actor, executor=executor, at=at)


def _step(
    connection: Connection, now: Whole, change: Change, *, actor: str, executor: Executor, at: datetime
) -> Whole:
    """Take the steps, each with the fields; without any the fields alone, as far as there are some."""
    current = now.job
    for step in change.steps:
        begins = step.to is Status.PROCESSING
        more = {"executor": executor} if begins else {}
        highest = highest_progress(None if begins else current.max_progress, change.fields)
        fields = {**change.fields, **more, **_highest_field(highest)}
        current = take_step(connection, current, step, actor=actor, at=at, changes=fields)
    is_written = bool(change.fields) or change.payload is not None
    if change.steps or not is_written:
        return now._replace(job=current)
    highest = highest_progress(current.max_progress, change.fields)
    fields = {**change.fields, **_highest_field(highest)}
    change_fields(connection, current, fields, at=at)
    written = replace(current, **fields, version=current.version + 1, updated_at=at)
    return now._replace(job=written)


def _highest_field(highest: float | None) -> dict[str, Any]:
    return {} if highest is None else {"max_progress": highest}


def highest_progress(before: float | None, fields: Mapping[str, Any]) -> float | None:
    """The highest progress of an attempt in percent, once ``fields`` are written; ``before``: until then."""
    reported: float | None = fields.get("progress")
    if reported is None:
        return before
    return max(before or 0.0, min(_FULL, max(0.0, reported)))


def _storable(payload: Mapping[str, Any]) -> dict[str, Any]:
    payload_text(payload)
    kept: dict[str, Any] = storable_json(payload)
    return kept


@cache
def _by_id(kind: str | None) -> Select[Any]:
    """Made once: making a statement takes longer than many a database takes to answer it."""
    return _wholes(kind).where(job.c.job_id == bindparam("wanted"))


_HOLD = select(func.clock_timestamp()).where(job.c.job_id == bindparam("wanted")).with_for_update(of=job)


def _wholes(kind: str | None) -> Select[Any]:
    joined = job.outerjoin(job_body, job_body.c.job_id == job.c.job_id)
    return select(job, job_body.c.payload).select_from(joined).where(*_of_kind(kind))


def _of_kind(kind: str | None) -> list[ColumnElement[bool]]:
    return [] if kind is None else [job.c.kind == kind]


def _to_whole(row: Row[Any]) -> Whole:
    fields, payload = row[:-1], row[-1]
    columns: dict[str, Any] = dict(zip(_NAMES, fields, strict=True))
    return Whole(job_of(columns), payload if isinstance(payload, dict) else {})
