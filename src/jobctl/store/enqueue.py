"""Enqueue: new jobs with their payloads, and a wake-up for workers, in one transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from jobctl.errors import JobExists
from jobctl.model.enqueued import LARGEST_PAYLOAD, Enqueued, New
from jobctl.model.job import Job
from jobctl.model.storable import storable_json
from jobctl.model.timestamps import format_timestamp
from jobctl.store.dialect import bulk_insert
from jobctl.store.engine import Connection, Store
from jobctl.store.jobs import create_job, get_job
from jobctl.store.leases import CHANNEL
from jobctl.store.schema import job

_CHUNK = 10_000
_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f])")
_JOB = ("job_id", "status", "created_at", "kind", "queue", "owner", "priority", "run_at", "attempt")
_MORE = ("max_attempts", "idempotency_key", "origin", "version", "updated_at")
_EVENT = ("job_id", "at", "kind", "actor", "to_status")


def enqueue(connection: Connection, new: New, *, actor: str, at: datetime) -> Enqueued:
    """Enqueue one job, or return the one that has its idempotency key.

    Raises ``JobExists`` where another job has its id, ``ValueError`` for a payload that is no JSON.
    """
    payload = storable_json(json.loads(payload_text(new.payload))) if new.payload is not None else None
    try:
        made = create_job(connection, new.job, actor=actor, at=at, payload=payload)
    except JobExists:
        found = _with_key(connection, new.job)
        if found is None:
            raise
        return Enqueued(get_job(connection, found), existed=True)
    wake(connection, new.job.queue)
    return Enqueued(made, existed=False)


def enqueue_many(store: Store, jobs: Iterator[New], *, actor: str) -> Iterator[int]:
    """Enqueue a stream of jobs, in order, some thousands in one transaction; yields how many were new.

    One whose id or key is taken is left as it is.
    """
    while chunk := list(islice(jobs, _CHUNK)):
        try:
            with store.write() as connection:
                _insert(connection, store, chunk, actor=actor, at=store.now(connection))
            yield len(chunk)
        except IntegrityError:
            yield _one_by_one(store, chunk, actor=actor)


def wake(connection: Connection, queue: str) -> None:
    """Tell idle workers, once the transaction is committed. On SQLite they see that the file changed."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_notify(:channel, :queue)"), {"channel": CHANNEL, "queue": queue})


def payload_text(payload: Any) -> str:
    """A payload as JSON text. Raises ``ValueError`` for one that JSON cannot say, or that is too large."""
    try:
        written = json.dumps(payload, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the payload cannot be written as JSON: {error}") from None
    if len(written) > LARGEST_PAYLOAD:
        raise ValueError(f"the payload is {len(written):,} bytes of JSON, more than {LARGEST_PAYLOAD:,}")
    return written


def _with_key(connection: Connection, new: Job) -> str | None:
    if new.idempotency_key is None:
        return None
    same = (job.c.kind == new.kind, job.c.idempotency_key == new.idempotency_key)
    return connection.execute(select(job.c.job_id).where(*same)).scalar_one_or_none()


def _insert(connection: Connection, store: Store, chunk: Sequence[New], *, actor: str, at: datetime) -> None:
    stamp = format_timestamp(at)
    # Microseconds apart: jobs enqueued together are run in this order.
    turns = (at + timedelta(microseconds=number) for number in range(len(chunk)))
    rows = [
        _row(one, stamp, format_timestamp(one.run_at or turn))
        for (one, _), turn in zip(chunk, turns, strict=False)
    ]
    bulk_insert(connection, store.dialect, "job", (*_JOB, *_MORE), rows)
    bodies = [(one.job_id, _body(payload)) for one, payload in chunk if payload is not None]
    bulk_insert(connection, store.dialect, "job_body", ("job_id", "payload"), bodies)
    events = ((one.job_id, stamp, "created", actor, "queued") for one, _ in chunk)
    bulk_insert(connection, store.dialect, "event", _EVENT, events)
    for queue in {one.queue for one, _ in chunk}:
        wake(connection, queue)


def _row(one: Job, stamp: str, run_at: str) -> tuple[Any, ...]:
    asked = (one.job_id, "queued", stamp, one.kind, one.queue, one.owner, one.priority, run_at)
    return (*asked, 0, one.max_attempts, one.idempotency_key, "created", 1, stamp)


def _body(payload: Any) -> str:
    written = payload_text(payload)
    return payload_text(storable_json(payload)) if _UNSTORABLE.search(written) else written


def _one_by_one(store: Store, chunk: Sequence[New], *, actor: str) -> int:
    count = 0
    for new in chunk:
        try:
            with store.write() as connection:
                enqueued = enqueue(connection, new, actor=actor, at=store.now(connection))
        except JobExists:
            continue
        count += not enqueued.existed
    return count
