"""What logs said: a trace for each job and life of an instance, and how far each log was read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select

from jobctl.model.names import from_stored, to_stored
from jobctl.store.dialect import Dialect
from jobctl.store.engine import Connection
from jobctl.store.schema import evidence, log_position, log_stream
from jobctl.store.statements import put_rows, stream_range


class TraceRow(NamedTuple):
    """One trace in its JSON form."""

    job_id: str
    stream: str
    life: int
    claims: dict[str, Any]


class StreamRow(NamedTuple):
    """A log, and where each of its instances stands."""

    stream: str
    name: str
    state: dict[str, Any]
    noted_at: datetime


class PartRow(NamedTuple):
    """One file of a log, and how far it was read; ``head`` and ``tail`` are digests of so many bytes."""

    stream: str
    part: int
    path: str
    head_bytes: int
    head: str
    tail_bytes: int
    tail: str
    read_bytes: int
    read_lines: int


def stream_traces(
    connection: Connection, dialect: Dialect, low: str, high: str | None
) -> Iterator[tuple[Any, ...]]:
    """The traces of the jobs with ``low`` ≤ id < ``high``, by id; the claims as JSON text."""
    columns = f"job_id, stream, life, {dialect.text('claims')}"
    sql = f"SELECT {columns} FROM {dialect.table('evidence')}"  # noqa: S608 - names of our own
    return stream_range(connection, sql, "job_id", low, high)


def traces_of(connection: Connection, job_id: str) -> list[TraceRow]:
    """Every trace of one job."""
    rows = connection.execute(
        select(evidence.c.job_id, evidence.c.stream, evidence.c.life, evidence.c.claims)
        .where(evidence.c.job_id == job_id)
        .order_by(evidence.c.stream, evidence.c.life)
    )
    return [TraceRow._make(row) for row in rows]


def get_trace(connection: Connection, job_id: str, stream: str, life: int) -> dict[str, Any] | None:
    """The claims of one trace."""
    found = select(evidence.c.claims).where(
        evidence.c.job_id == job_id, evidence.c.stream == stream, evidence.c.life == life
    )
    claims: dict[str, Any] | None = connection.execute(found).scalar_one_or_none()
    return claims


def record_traces(connection: Connection, rows: Iterable[TraceRow], *, at: datetime) -> None:
    """Write traces; one that is there already is replaced by what is known of it now."""
    put_rows(connection, evidence, [{**row._asdict(), "noted_at": at} for row in rows])


def shared_jobs(connection: Connection) -> dict[str, list[TraceRow]]:
    """The traces of the jobs that several streams know of."""
    shared = select(evidence.c.job_id).group_by(evidence.c.job_id)
    shared = shared.having(func.count(evidence.c.stream.distinct()) > 1)
    columns = select(evidence.c.job_id, evidence.c.stream, evidence.c.life, evidence.c.claims)
    found: dict[str, list[TraceRow]] = {}
    for row in connection.execute(columns.where(evidence.c.job_id.in_(shared))):
        found.setdefault(row.job_id, []).append(TraceRow._make(row))
    return found


def count_jobs_by_log(connection: Connection) -> dict[str, int]:
    """How many jobs each stream of an instance knows of."""
    counted = select(evidence.c.stream, func.count(evidence.c.job_id.distinct())).group_by(evidence.c.stream)
    return {stream: count for stream, count in connection.execute(counted)}  # noqa: C416 - typed rows


def get_streams(connection: Connection) -> list[StreamRow]:
    """Every log that was read, in the order of their names."""
    columns = select(log_stream.c.stream, log_stream.c.name, log_stream.c.state, log_stream.c.noted_at)
    rows = connection.execute(columns.order_by(log_stream.c.name, log_stream.c.stream))
    return [StreamRow._make(row)._replace(name=from_stored(row.name)) for row in rows]


def get_parts(connection: Connection, stream: str | None = None) -> list[PartRow]:
    """The files of a log, or of all logs, in the order in which they were read."""
    columns = select(*(log_position.c[name] for name in PartRow._fields))
    if stream is not None:
        columns = columns.where(log_position.c.stream == stream)
    rows = connection.execute(columns.order_by(log_position.c.stream, log_position.c.part))
    return [PartRow._make(row)._replace(path=from_stored(row.path)) for row in rows]


def record_progress(
    connection: Connection, stream: str, name: str, state: Mapping[str, Any], part: PartRow, *, at: datetime
) -> None:
    """Write how far a log was read, and where its instances stand there."""
    log = {"stream": stream, "name": to_stored(name), "state": state, "noted_at": at}
    put_rows(connection, log_stream, [log])
    put_rows(connection, log_position, [{**part._asdict(), "path": to_stored(part.path), "noted_at": at}])


def forget_log(connection: Connection, stream: str, streams: Collection[str]) -> int:
    """Drop everything that one log said; ``streams`` are those of its instances. Gives the traces dropped."""
    gone = connection.execute(delete(evidence).where(evidence.c.stream.in_(sorted(streams)))).rowcount
    for table in (log_position, log_stream):
        connection.execute(delete(table).where(table.c.stream == stream))
    return gone


def claims_of(text: str | dict[str, Any]) -> dict[str, Any]:
    """The claims in a streamed row."""
    return json.loads(text) if isinstance(text, str) else text
