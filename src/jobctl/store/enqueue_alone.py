"""One job, enqueued in a transaction of its own: a hot path of services, so fixed SQL for each database."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError

from jobctl.model.enqueued import Enqueued, New
from jobctl.model.timestamps import format_timestamp
from jobctl.store.bell import CHANNEL
from jobctl.store.engine import Connection, Store
from jobctl.store.enqueue import EVENT_COLUMNS, JOB_COLUMNS, enqueue, job_row, stored_payload
from jobctl.store.prepared import run_prepared
from jobctl.store.statements import run_plain


def _insertion(table: str, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - our own


_JOB = _insertion("job", JOB_COLUMNS)
_BODY = _insertion("job_body", ("job_id", "payload"))
_EVENT = _insertion("event", EVENT_COLUMNS)
_REBORN = "UPDATE tombstone SET closed_at = ? WHERE job_id = ? AND closed_at IS NULL"

# One statement, so one round trip: what a server far away costs most.
_ALL = f"""
WITH made AS (
    INSERT INTO jobctl.job ({", ".join(JOB_COLUMNS)})
    VALUES (%s, %s, now(), %s, %s, %s, %s, coalesce(%s::timestamptz, now() + %s * interval '1 second'),
        %s, %s, %s, %s, %s, now())
    RETURNING job_id, queue, created_at, run_at
),
kept AS (
    INSERT INTO jobctl.job_body (job_id, payload)
    SELECT made.job_id, given.payload FROM made, (SELECT %s::jsonb) AS given (payload)
    WHERE given.payload IS NOT NULL
),
told AS (
    INSERT INTO jobctl.event (job_id, at, kind, actor, to_status)
    SELECT job_id, created_at, 'created', %s, 'queued' FROM made
),
reborn AS (
    UPDATE jobctl.tombstone SET closed_at = now() WHERE job_id = %s AND closed_at IS NULL
)
SELECT created_at, run_at, CASE WHEN %s THEN pg_notify('{CHANNEL}', queue) END FROM made
"""  # noqa: S608 - names of our own


def enqueue_alone(store: Store, new: New, *, actor: str, delay_s: float = 0.0) -> Enqueued:
    """Enqueue one job, ``delay_s`` from now unless it says when, or return the one that has its key.

    Raises as ``enqueue`` does. Nearly always it is new, and its rows are all there is to write; else
    the long way tells why.
    """
    payload = None if new.payload is None else stored_payload(new.payload)
    insert = _insert_postgresql if store.dialect.name == "postgresql" else _insert_sqlite
    with suppress(IntegrityError):
        at, due = insert(store, new, payload, actor, delay_s)
        made = replace(new.job, created_at=at, updated_at=at, run_at=due, version=1)
        return Enqueued(made, existed=False)
    with store.write() as connection:
        at = store.now(connection)
        if new.job.run_at is None:
            new.job.run_at = at + timedelta(seconds=delay_s)
        return enqueue(connection, new, actor=actor, at=at)


def _insert_sqlite(
    store: Store, new: New, payload: str | None, actor: str, delay_s: float
) -> tuple[datetime, datetime]:
    with store.write() as connection:
        at = store.now(connection)
        due = new.job.run_at or at + timedelta(seconds=delay_s)
        stamp = format_timestamp(at)
        row = job_row(new.job, stamp, format_timestamp(due))
        job_id = row[0]
        run_plain(connection, _JOB, row)
        if payload is not None:
            run_plain(connection, _BODY, (job_id, payload))
        run_plain(connection, _EVENT, (job_id, stamp, "created", actor, "queued"))
        run_plain(connection, _REBORN, (stamp, job_id))
    return at, due


def _insert_postgresql(
    store: Store, new: New, payload: str | None, actor: str, delay_s: float
) -> tuple[datetime, datetime]:
    job_id, status, _, kind, queue, owner, priority, _, *rest, _ = job_row(new.job, "", "")
    named = (job_id, status, kind, queue, owner, priority, new.job.run_at, delay_s, *rest)

    calls = store.bell.is_due(str(queue))

    def statement(connection: Connection) -> Any:
        return run_prepared(connection, _ALL, (*named, payload, actor, job_id, calls)).fetchone()

    at, due, _ = store.write_at_once(statement)
    return at.astimezone(UTC), due.astimezone(UTC)
