"""What scans saw: files with their verdicts, directories, heartbeats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, bindparam, delete, insert, select, update

from jobctl.model.names import from_stored, to_stored
from jobctl.model.records import DirectoryMark, Watch
from jobctl.model.timestamps import format_timestamp
from jobctl.store.dialect import Dialect
from jobctl.store.engine import Connection
from jobctl.store.schema import SCHEMA, directory, heartbeat_watch, scan, sighting
from jobctl.store.statements import put_rows, stream_range

_SIGHTING = "key, root_id, path, role, dev, inode, size, mtime_ns, ctime_ns, verdict, tier, reason, checker"
_BATCH = 5_000

_ON_CONFLICT = """
ON CONFLICT (key, root_id, path) DO UPDATE SET
    role = excluded.role, dev = excluded.dev, inode = excluded.inode, size = excluded.size,
    mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, verdict = excluded.verdict,
    tier = excluded.tier, reason = excluded.reason, checker = excluded.checker,
    first_seen = CASE
        WHEN was.inode = excluded.inode AND was.size = excluded.size AND was.mtime_ns = excluded.mtime_ns
        THEN was.first_seen ELSE excluded.first_seen END
"""
_RECORD_ON_SQLITE = f"""
INSERT INTO sighting AS was ({_SIGHTING}, first_seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
{_ON_CONFLICT}"""  # noqa: S608 - names of our own
_RECORD_ON_POSTGRESQL = f"""
INSERT INTO {SCHEMA}.sighting AS was (first_seen, {_SIGHTING})
SELECT %s::timestamptz, * FROM unnest(
    %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::integer[])
{_ON_CONFLICT}"""  # noqa: S608 - names of our own


def stream_sightings(
    connection: Connection, dialect: Dialect, low: str, high: str | None
) -> Iterator[tuple[Any, ...]]:
    """What was seen of the files with ``low`` ≤ key < ``high``, by key; paths stored."""
    sql = f"SELECT {_SIGHTING} FROM {dialect.table('sighting')}"  # noqa: S608 - names of our own
    return stream_range(connection, sql, "key", low, high)


def record_sightings(connection: Connection, rows: Iterable[tuple[Any, ...]], *, at: datetime) -> None:
    """Note files as they were seen now. The time of the first sighting stays while it is the same file."""
    # Fixed text and plain tuples, since a first scan passes a million of them; the last look
    # at a file counts, and PostgreSQL takes each key only once in a statement.
    latest = {row[:3]: (*row[:2], to_stored(row[2]), *row[3:]) for row in rows}
    values = list(latest.values())
    is_sqlite = connection.dialect.name == "sqlite"
    for start in range(0, len(values), _BATCH):
        batch = values[start : start + _BATCH]
        if is_sqlite:
            moment = format_timestamp(at)
            connection.exec_driver_sql(_RECORD_ON_SQLITE, [(*row, moment) for row in batch])
        else:
            # One statement with an array for each column: row by row it would take ten times as long.
            columns = [list(column) for column in zip(*batch, strict=True)]
            connection.exec_driver_sql(_RECORD_ON_POSTGRESQL, (at, *columns))


def forget_sightings(connection: Connection, places: Iterable[tuple[str, str, str]]) -> None:
    """Drop files that are proven gone."""
    _forget(connection, sighting, [(key, root_id, to_stored(path)) for key, root_id, path in places])


def sightings_of(connection: Connection, key: str) -> list[tuple[str, str, str | None, str | None]]:
    """Root id, path, role and verdict of every file seen of one job."""
    columns = select(sighting.c.root_id, sighting.c.path, sighting.c.role, sighting.c.verdict)
    rows = connection.execute(columns.where(sighting.c.key == key).order_by(sighting.c.path))
    return [(row.root_id, from_stored(row.path), row.role, row.verdict) for row in rows]


def newest_video(connection: Connection, root_id: str) -> str | None:
    """The path of the video of a root that was written last."""
    videos = select(sighting.c.path).where(sighting.c.root_id == root_id, sighting.c.role == "video")
    path = connection.execute(videos.order_by(sighting.c.mtime_ns.desc()).limit(1)).scalar_one_or_none()
    return None if path is None else from_stored(path)


def load_directories(connection: Connection, root_id: str) -> dict[str, DirectoryMark]:
    """The directories of a root as the last walk saw them, by path."""
    columns = [directory.c[name] for name in DirectoryMark._fields]
    rows = connection.execute(select(*columns).where(directory.c.root_id == root_id))
    marks = (DirectoryMark._make(row)._replace(path=from_stored(row.path)) for row in rows)
    return {mark.path: mark for mark in marks}


def record_directories(connection: Connection, root_id: str, marks: Iterable[DirectoryMark]) -> None:
    """Note directories as they were walked now."""
    documents = [{**mark._asdict(), "path": to_stored(mark.path), "root_id": root_id} for mark in marks]
    put_rows(connection, directory, documents)


def forget_directories(connection: Connection, root_id: str, paths: Iterable[str]) -> None:
    """Drop directories that are gone."""
    _forget(connection, directory, [(root_id, to_stored(path)) for path in paths])


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
    put_rows(connection, heartbeat_watch, documents)


def begin_scan(connection: Connection, scan_id: str, root_id: str, *, is_full: bool, at: datetime) -> None:
    """Record that a root is being walked; ``is_full``: without skipping any directory."""
    values = {"scan_id": scan_id, "root_id": root_id, "started_at": at}
    connection.execute(insert(scan), {**values, "is_full": is_full, "is_complete": False})


def finish_scan(
    connection: Connection, scan_id: str, *, is_complete: bool, counts: Mapping[str, Any], at: datetime
) -> None:
    """Record that a walk came to its end; ``is_complete``: everything was read without error.

    ``counts``: its ``findings`` by kind, and the ``room`` on its disk.
    """
    values = {"is_complete": is_complete, "counts": counts, "finished_at": at}
    connection.execute(update(scan).where(scan.c.scan_id == scan_id).values(values))


def _forget(connection: Connection, table: Table, keys: Sequence[tuple[str, ...]]) -> None:
    if not keys:
        return
    columns = table.primary_key.columns.values()
    gone = delete(table).where(*(column == bindparam(f"_{column.name}") for column in columns))
    rows = [dict(zip((f"_{column.name}" for column in columns), key, strict=True)) for key in keys]
    for start in range(0, len(rows), _BATCH):
        connection.execute(gone, rows[start : start + _BATCH])
