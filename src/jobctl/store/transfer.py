"""Whole job records out of the store and into it: what export reads and import writes.

A record is a row of a plan: the job's columns but for version and time of change, and its
``body``: payload, result, artifacts and events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, insert, select, tuple_

from jobctl.core.job_rows import ARTIFACT_FIELDS, EVENT_FIELDS, JOB_FIELDS
from jobctl.model.plan import Row
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp
from jobctl.store.schema import artifact, event, job, job_body, tombstone
from jobctl.store.statements import upsert

_PAGE = 500
_NAMES_EVENT = ("at", "kind", "actor", "run_id", "attempt", "from_status", "to_status")


def stream_records(connection: Connection, statuses: Sequence[Status] = ()) -> Iterator[Row]:
    """Every record, or those of some statuses, by job id; a page at a time, flat in memory."""
    wanted: list[ColumnElement[bool]] = []
    if statuses:
        wanted.append(job.c.status.in_([status.value for status in statuses]))
    after = ""
    while True:
        page = select(job.c.job_id).where(job.c.job_id > after, *wanted).order_by(job.c.job_id).limit(_PAGE)
        job_ids = list(connection.execute(page).scalars())
        if not job_ids:
            return
        records = records_of(connection, job_ids)
        yield from (records[job_id] for job_id in job_ids)
        after = job_ids[-1]


def records_of(connection: Connection, job_ids: Sequence[str]) -> dict[str, Row]:
    """The records of these jobs, as far as there are any."""
    columns = [job.c[name] for name in JOB_FIELDS]
    found = {
        row[0]: {**_plain(JOB_FIELDS, row), "body": _empty_body()}
        for row in connection.execute(select(*columns).where(job.c.job_id.in_(job_ids)))
    }
    for row in connection.execute(select(job_body).where(job_body.c.job_id.in_(found))):
        found[row.job_id]["body"].update(payload=row.payload, result=row.result)
    for job_id, rows in _grouped(connection, artifact, ARTIFACT_FIELDS, found, "root_id", "path").items():
        found[job_id]["body"]["artifacts"] = rows
    for job_id, rows in _grouped(connection, event, EVENT_FIELDS, found, "event_id").items():
        found[job_id]["body"]["events"] = rows
    return found


def buried(connection: Connection, job_ids: Sequence[str]) -> dict[str, str]:
    """Those of these jobs that have an open tombstone, with its cause."""
    open_ones = select(tombstone.c.job_id, tombstone.c.cause).where(
        tombstone.c.job_id.in_(job_ids), tombstone.c.closed_at.is_(None)
    )
    return {row.job_id: row.cause for row in connection.execute(open_ones)}


def holders_of_keys(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The jobs that have these pairs of kind and idempotency key."""
    pair = tuple_(job.c.kind, job.c.idempotency_key)
    found = select(job.c.kind, job.c.idempotency_key, job.c.job_id).where(pair.in_(keys))
    return {(row.kind, row.idempotency_key): row.job_id for row in connection.execute(found)}


def insert_records(connection: Connection, records: Sequence[Row], *, at: datetime) -> set[str]:
    """Write new records with all that hangs on them; give back which were written.

    Not written is one whose id, or whose idempotency key, is taken by now.
    """
    rows = [
        {**{name: record[name] for name in JOB_FIELDS}, "version": 1, "updated_at": at} for record in records
    ]
    written = set(
        connection.execute(
            upsert(connection, job).on_conflict_do_nothing().returning(job.c.job_id), rows
        ).scalars()
    )
    new = [record for record in records if record["job_id"] in written]
    bodies = [
        _own(record, payload=body["payload"], result=body["result"]) for record, body in _with_body(new)
    ]
    _insert(connection, job_body, [row for row in bodies if (row["payload"], row["result"]) != (None, None)])
    artifacts = [
        _own(record, **file, version=1) for record, body in _with_body(new) for file in body["artifacts"]
    ]
    _insert(connection, artifact, artifacts)
    events = [_own(record, **line) for record, body in _with_body(new) for line in body["events"]]
    _insert(connection, event, _unknown(connection, events))
    return written


def _empty_body() -> dict[str, Any]:
    return {"payload": None, "result": None, "artifacts": [], "events": []}


def _with_body(records: Sequence[Row]) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    return ((record, record["body"]) for record in records)


def _own(record: Row, **values: Any) -> Row:
    return {"job_id": record["job_id"], **values}


def _insert(connection: Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _unknown(connection: Connection, events: list[Row]) -> list[Row]:
    """The events that the store does not have already: history outlives a record that was taken back."""
    job_ids = sorted({row["job_id"] for row in events})
    columns = [event.c.job_id, *(event.c[name] for name in _NAMES_EVENT)]
    rows = connection.execute(select(*columns).where(event.c.job_id.in_(job_ids)))
    known = {(row.job_id, *_plain(_NAMES_EVENT, row[1:]).values()) for row in rows}
    return [row for row in events if (row["job_id"], *(row[name] for name in _NAMES_EVENT)) not in known]


def _grouped(
    connection: Connection, table: Table, names: Sequence[str], job_ids: Mapping[str, Row], *order: str
) -> dict[str, list[Row]]:
    columns = [table.c[name] for name in names]
    rows = connection.execute(
        select(table.c.job_id, *columns)
        .where(table.c.job_id.in_(job_ids))
        .order_by(table.c.job_id, *(table.c[name] for name in order))
    )
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.job_id].append(_plain(names, row[1:]))
    return grouped


def _plain(names: Sequence[str], values: Sequence[Any]) -> Row:
    return {
        name: format_timestamp(value) if isinstance(value, datetime) else value
        for name, value in zip(names, values, strict=True)
    }
