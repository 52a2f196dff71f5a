"""What scans saw: files with their verdicts, directories, heartbeats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, and_, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from jobctl.model.names import from_stored, to_stored
from jobctl.model.records import DirectoryMark, Watch
from jobctl.store.dialect import Dialect, stream_range
from jobctl.store.engine import Connection
from jobctl.store.schema import directory, heartbeat_watch, sighting

_SIGHTING = "key, root_id, path, role, dev, inode, size, mtime_ns, ctime_ns, verdict, tier, reason, checker"
_BATCH = 5_000


def stream_sightings(
    connection: Connection, dialect: Dialect, low: str, high: str | None
) -> Iterator[tuple[Any, ...]]:
    """What was seen of the files with ``low`` ≤ key < ``high``, by key; paths stored."""
    sql = f"SELECT {_SIGHTING} FROM {dialect.table('sighting')}"  # noqa: S608 - names of our own
    return stream_range(connection, sql, "key", low, high)


def record_sightings(connection: Connection, rows: Iterable[tuple[Any, ...]], *, at: datetime) -> None:
    """Note files as they were seen now; the time of the first sighting stays."""
    names = [name.strip() for name in _SIGHTING.split(",")]
    documents = [
        {**dict(zip(names, row, strict=True)), "path": to_stored(row[2]), "first_seen": at} for row in rows
    ]
    _upsert(connection, sighting, documents, keep=frozenset({"first_seen"}))


def forget_sightings(connection: Connection, places: Iterable[tuple[str, str, str]]) -> None:
    """Drop files that are proven gone."""
    for key, root_id, path in places:
        gone = and_(sighting.c.key == key, sighting.c.root_id == root_id, sighting.c.path == to_stored(path))
        connection.execute(delete(sighting).where(gone))


def sightings_of(connection: Connection, key: str) -> list[tuple[str, str, str | None, str | None]]:
    """Root id, path, role and verdict of every file seen of one job."""
    columns = select(sighting.c.root_id, sighting.c.path, sighting.c.role, sighting.c.verdict)
    rows = connection.execute(columns.where(sighting.c.key == key).order_by(sighting.c.path))
    return [(row.root_id, from_stored(row.path), row.role, row.verdict) for row in rows]


def load_directories(connection: Connection, root_id: str) -> dict[str, DirectoryMark]:
    """The directories of a root as the last walk saw them, by path."""
    columns = [directory.c[name] for name in DirectoryMark._fields]
    rows = connection.execute(select(*columns).where(directory.c.root_id == root_id))
    marks = (DirectoryMark._make(row)._replace(path=from_stored(row.path)) for row in rows)
    return {mark.path: mark for mark in marks}


def record_directories(connection: Connection, root_id: str, marks: Iterable[DirectoryMark]) -> None:
    """Note directories as they were walked now."""
    documents = [{**mark._asdict(), "path": to_stored(mark.path), "root_id": root_id} for mark in marks]
    _upsert(connection, directory, documents)


def forget_directories(connection: Connection, root_id: str, paths: Iterable[str]) -> None:
    """Drop directories that are gone."""
    for path in paths:
        gone = and_(directory.c.root_id == root_id, directory.c.path == to_stored(path))
        connection.execute(delete(directory).where(gone))


def stream_watches(
    connection: Connection, dialect: Dialect, low: str, high: str | None, *, host: str
) -> Iterator[Watch]:
    """Since when this host has watched which heartbeats."""
    columns = f"job_id, boot_id, attempt, {dialect.moment('last_heartbeat')}, since"
    sql = f"SELECT {columns} FROM {dialect.table('heartbeat_watch')} WHERE host = ?"  # noqa: S608
    return map(Watch._make, stream_range(connection, sql, "job_id", low, high, host))


def note_heartbeats(connection: Connection, watches: Iterable[Watch], *, host: str) -> None:
    """Remember heartbeats that were seen for the first time."""
    documents = [{**watch._asdict(), "host": host} for watch in watches]
    _upsert(connection, heartbeat_watch, documents)


def _upsert(
    connection: Connection,
    table: Table,
    documents: Sequence[Mapping[str, Any]],
    *,
    keep: frozenset[str] = frozenset(),
) -> None:
    if not documents:
        return
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    key = [column.name for column in table.primary_key]
    statement = insert(table)
    renewed = {
        column.name: statement.excluded[column.name]
        for column in table.c
        if column.name not in keep and column.name not in key
    }
    statement = statement.on_conflict_do_update(index_elements=key, set_=renewed)
    for start in range(0, len(documents), _BATCH):
        connection.execute(statement, documents[start : start + _BATCH])
