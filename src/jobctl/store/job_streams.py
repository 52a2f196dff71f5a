"""What reconciling reads of all jobs: in the order of their ids, as narrow as can be, flat in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobctl.model.names import from_stored
from jobctl.model.records import Declined, Linked, Record, Tombstone
from jobctl.store.dialect import Dialect
from jobctl.store.engine import Connection
from jobctl.store.statements import stream_range


def stream_records(
    connection: Connection, dialect: Dialect, low: str, high: str | None
) -> Iterator[tuple[Any, ...]]:
    """What reconciling needs of the jobs with ``low`` ≤ id < ``high``, by id, as plain ``Record`` tuples."""
    moments = {"created_at", "started_at", "completed_at", "last_heartbeat", "updated_at"}
    columns = ", ".join(
        dialect.moment(name) if name in moments else dialect.text(name) if name == "executor" else name
        for name in Record._fields
    )
    sql = f"SELECT {columns} FROM {dialect.table('job')}"  # noqa: S608 - names of our own
    return stream_range(connection, sql, "job_id", low, high)


def stream_artifacts(
    connection: Connection, dialect: Dialect, low: str, high: str | None
) -> Iterator[tuple[Any, ...]]:
    """The artifacts of the jobs with ``low`` ≤ id < ``high``, as plain ``Linked`` tuples, paths stored."""
    sql = f"SELECT {', '.join(Linked._fields)} FROM {dialect.table('artifact')}"  # noqa: S608 - names of our own
    return stream_range(connection, sql, "job_id", low, high)


def stream_tombstones(
    connection: Connection, dialect: Dialect, low: str, high: str | None
) -> Iterator[Tombstone]:
    """The open tombstones with ``low`` ≤ id < ``high``, by id."""
    columns = f"job_id, {dialect.moment('at')}, cause"
    sql = f"SELECT {columns} FROM {dialect.table('tombstone')} WHERE closed_at IS NULL"  # noqa: S608
    return map(Tombstone._make, stream_range(connection, sql, "job_id", low, high))


def stream_declined(
    connection: Connection, dialect: Dialect, low: str, high: str | None
) -> Iterator[Declined]:
    """The marks of undone recoveries with ``low`` ≤ id < ``high``, by id."""
    columns = ", ".join(dialect.moment(name) if name == "at" else name for name in Declined._fields)
    sql = f"SELECT {columns} FROM {dialect.table('declined')}"  # noqa: S608 - names of our own
    for row in stream_range(connection, sql, "job_id", low, high):
        mark = Declined._make(row)
        yield mark._replace(path=from_stored(mark.path))
