"""Enqueue: new jobs with their payloads, and a wake-up for workers, in one transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from jobctl.errors import JobExists, UnknownJob
from jobctl.model.enqueued import LARGEST_PAYLOAD, Enqueued, Left, New
from jobctl.model.job import Job
from jobctl.model.storable import storable_json, storable_text
from jobctl.model.timestamps import every_microsecond, format_timestamp
from jobctl.store.bell import wake
from jobctl.store.engine import Connection, Store
from jobctl.store.jobs import close_tombstones, create_job, get_job
from jobctl.store.schema import job, job_body
from jobctl.store.statements import bulk_insert

_CHUNK = 10_000
_CHUNK_BYTES = 16 << 20
_AT_ONCE = 200
_as_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f])")
_FIRST = ("job_id", "status", "created_at", "kind", "queue", "owner", "priority", "run_at", "attempt")
_MORE = ("max_attempts", "idempotency_key", "origin", "version", "updated_at")

JOB_COLUMNS = (*_FIRST, *_MORE)
"""What of a job is written when it is enqueued, in the order of ``job_row``."""

_CREATED_AT = JOB_COLUMNS.index("created_at")

EVENT_COLUMNS = ("job_id", "at", "kind", "actor", "to_status")
"""What of the first event of its history is."""


_Written = tuple[New, str | None]
"""A job, and its payload as JSON text that both databases hold."""


def enqueue(connection: Connection, new: New, *, actor: str, at: datetime) -> Enqueued:
    """Enqueue one job, or return the one that has its idempotency key.

    Raises ``JobExists`` where another job has its id, ``ValueError`` for a payload that is no JSON.
    """
    payload = _read_back(new.payload)
    try:
        made = create_job(connection, new.job, actor=actor, at=at, payload=payload)
    except JobExists:
        found = _with_key(connection, new.job)
        if found is None:
            raise
        is_same = _payload_of(connection, found) == payload
        return Enqueued(get_job(connection, found), existed=True, has_same_payload=is_same)
    wake(connection, new.job.queue)
    return Enqueued(made, existed=False)


def enqueue_many(
    store: Store, jobs: Iterator[New], *, actor: str, note: Callable[[Left], None] = lambda _: None
) -> Iterator[int]:
    """Enqueue a stream of jobs, in order, some thousands in one transaction; yields how many were new.

    One whose id or key is taken is left as it is, and noted.
    """
    for chunk in _chunks(jobs):
        try:
            with store.write() as connection:
                _insert(connection, store, chunk, actor=actor, at=store.now(connection))
            yield len(chunk)
        except IntegrityError:
            yield _one_by_one(store, [new for new, _ in chunk], actor=actor, note=note)


def payload_text(payload: Any) -> str:
    """A payload as JSON text. Raises ``ValueError`` for one that JSON cannot say, or that is too large."""
    try:
        written = _as_json(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the payload cannot be written as JSON: {error}") from None
    if len(written) > LARGEST_PAYLOAD:
        raise ValueError(f"the payload is {len(written):,} bytes of JSON, more than {LARGEST_PAYLOAD:,}")
    return written


def job_row(one: Job, stamp: str, run_at: str) -> tuple[Any, ...]:
    """A new job as it is written, created at ``stamp``."""
    return (
        storable_text(one.job_id),
        "queued",
        stamp,
        storable_text(one.kind),
        storable_text(one.queue),
        None if one.owner is None else storable_text(one.owner),
        one.priority,
        run_at,
        0,
        one.max_attempts,
        None if one.idempotency_key is None else storable_text(one.idempotency_key),
        "created",
        1,
        stamp,
    )


def stored_payload(payload: Any) -> str:
    """A payload as JSON text that both databases hold. Raises as ``payload_text`` does."""
    written = payload_text(payload)
    return payload_text(storable_json(payload)) if _UNSTORABLE.search(written) else written


def _with_key(connection: Connection, new: Job) -> str | None:
    if new.idempotency_key is None:
        return None
    kind, key = storable_text(new.kind), storable_text(new.idempotency_key)
    same = (job.c.kind == kind, job.c.idempotency_key == key)
    return connection.execute(select(job.c.job_id).where(*same)).scalar_one_or_none()


def _payload_of(connection: Connection, job_id: str) -> Any:
    return connection.execute(select(job_body.c.payload).where(job_body.c.job_id == job_id)).scalar()


def _chunks(jobs: Iterator[New]) -> Iterator[list[_Written]]:
    """Some thousands of jobs at a time, with their payloads as text; fewer, where those are large."""
    chunk, size = list[_Written](), 0
    for new in jobs:
        text = None if new.payload is None else stored_payload(new.payload)
        chunk.append((new, text))
        size += len(text or "")
        if len(chunk) == _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _insert(
    connection: Connection, store: Store, chunk: Sequence[_Written], *, actor: str, at: datetime
) -> None:
    # Microseconds apart: jobs enqueued together are listed and run in this order, and indexes grow at an end.
    rows = [
        job_row(one, turn, turn if one.run_at is None else format_timestamp(one.run_at))
        for ((one, _), _), turn in zip(chunk, every_microsecond(at), strict=False)
    ]
    bulk_insert(connection, store.dialect, "job", JOB_COLUMNS, rows)
    bodies = ((row[0], text) for row, (_, text) in zip(rows, chunk, strict=True) if text is not None)
    bulk_insert(connection, store.dialect, "job_body", ("job_id", "payload"), bodies)
    events = ((row[0], row[_CREATED_AT], "created", actor, "queued") for row in rows)
    bulk_insert(connection, store.dialect, "event", EVENT_COLUMNS, events)
    close_tombstones(connection, [row[0] for row in rows], at)
    for queue in {new.job.queue for new, _ in chunk}:
        store.bell.ring(connection, queue)


def _one_by_one(store: Store, chunk: Sequence[New], *, actor: str, note: Callable[[Left], None]) -> int:
    """Each for itself, but many in one transaction: to make each durable alone takes ten times as long."""
    count = 0
    for first in range(0, len(chunk), _AT_ONCE):
        some = chunk[first : first + _AT_ONCE]
        with store.write() as connection:
            at = store.now(connection)
            left = [
                each for new in some if (each := _enqueue_or_leave(connection, new, actor, at)) is not None
            ]
        # Not before what became of the others is certain.
        for each in left:
            note(each)
        count += len(some) - len(left)
    return count


def _enqueue_or_leave(connection: Connection, new: New, actor: str, at: datetime) -> Left | None:
    try:
        made = enqueue(connection, new, actor=actor, at=at)
    except JobExists:
        return Left(new.job.job_id, None, _is_again(connection, new))
    if made.existed:
        return Left(made.job.job_id, new.job.idempotency_key, made.has_same_payload)
    return None


def _is_again(connection: Connection, new: New) -> bool:
    """Whether the job that has its id was enqueued as this one was to be."""
    with suppress(UnknownJob):
        there = get_job(connection, storable_text(new.job.job_id))
        is_of_task = there.kind == storable_text(new.job.kind)
        return is_of_task and _payload_of(connection, there.job_id) == _read_back(new.payload)
    return True


def _read_back(payload: Any) -> Any:
    """A payload as the database gives it back."""
    return None if payload is None else storable_json(json.loads(payload_text(payload)))
