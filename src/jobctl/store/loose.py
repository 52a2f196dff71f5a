"""Files that may go, since when; and those that were given back and stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import bindparam, delete, select

from jobctl.model.names import from_stored, to_stored
from jobctl.model.records import LooseSince
from jobctl.model.timestamps import parse_timestamp
from jobctl.store.dialect import Dialect
from jobctl.store.engine import Connection
from jobctl.store.schema import loose, pin
from jobctl.store.statements import put_rows, stream_range

Place = tuple[str, str, str]
"""Key, root id and path of a file."""

_BATCH = 5_000


def stream_loose(
    connection: Connection, dialect: Dialect, low: str, high: str | None
) -> Iterator[LooseSince]:
    """The files with ``low`` ≤ key < ``high`` that may go, by key."""
    columns = ", ".join(dialect.moment(name) if name == "since" else name for name in LooseSince._fields)
    sql = f"SELECT {columns} FROM {dialect.table('loose')}"  # noqa: S608 - names of our own
    for row in stream_range(connection, sql, "key", low, high):
        known = LooseSince._make(row)
        yield known._replace(path=from_stored(row[2]), since=parse_timestamp(row[-1]))


def record_loose(connection: Connection, rows: Iterable[LooseSince]) -> None:
    """Note that files may go from now on; what was noted of the same places before is replaced."""
    put_rows(connection, loose, [{**row._asdict(), "path": to_stored(row.path)} for row in rows])


def forget_loose(connection: Connection, places: Iterable[Place]) -> None:
    """Note that files may not go, or are gone."""
    gone = delete(loose).where(
        loose.c.key == bindparam("_key"),
        loose.c.root_id == bindparam("_root_id"),
        loose.c.path == bindparam("_path"),
    )
    rows = [{"_key": key, "_root_id": root_id, "_path": to_stored(path)} for key, root_id, path in places]
    for start in range(0, len(rows), _BATCH):
        connection.execute(gone, rows[start : start + _BATCH])


def pins(connection: Connection) -> dict[tuple[str, str], tuple[int, int, int]]:
    """The files that were given back: root id and path to inode, size and mtime."""
    rows: Iterable[Any] = connection.execute(select(pin))
    return {(row.root_id, from_stored(row.path)): (row.inode, row.size, row.mtime_ns) for row in rows}
