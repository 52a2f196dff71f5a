"""Dumps that are SQLite files: one table of jobs, for any tool that reads SQLite."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from jobctl.core.cells import from_columns, to_columns
from jobctl.core.dump import EXPORTED, Entry, Wrong, is_exported
from jobctl.core.foreign import json_safe
from jobctl.errors import UsageError
from jobctl.store.foreign import open_readonly

TABLE = "jobs"
"""The table that an export writes."""

_TYPES: Mapping[str, type] = {
    **dict.fromkeys(EXPORTED, str),
    **dict.fromkeys(("progress", "max_progress"), float),
    **dict.fromkeys(("priority", "attempt", "spared", "max_attempts"), int),
}
_SEARCHED = ("status", "created_at", "owner")
_BATCH = 500


def write_table(path: str, documents: Iterable[Mapping[str, Any]]) -> int:
    """Write exported documents into a new SQLite file; give back how many. Structure becomes JSON text.

    Raises ``OSError`` where there is no room for it.
    """
    import sqlite_utils  # noqa: PLC0415 - slow to import

    database = sqlite_utils.Database(path)
    try:
        table = database[TABLE]
        table.create(dict(_TYPES), pk="job_id", not_null={"format", "job_id", "status"})  # type: ignore[union-attr]
        table.insert_all(map(to_columns, documents), batch_size=_BATCH)  # type: ignore[union-attr]
        for column in _SEARCHED:
            table.create_index([column])  # type: ignore[union-attr]
        database.analyze()
        return int(table.count)
    except sqlite3.OperationalError as error:
        # Whoever made the file tells what the system says of it.
        raise OSError(errno.EIO, str(error)) from error
    finally:
        database.close()


def read_table(path: str, table: str | None) -> Iterator[Entry]:
    """Every row of a table of a SQLite file; without a name, of the only one, or the one of an export.

    Raises ``UsageError`` where it is no such file, or the table is not there or not to be guessed.
    """
    try:
        with closing(open_readonly(path)) as database:
            name = _table(database, path, table)
            quoted = '"' + name.replace('"', '""') + '"'
            rows = database.execute(f"SELECT * FROM {quoted}")  # noqa: S608 - the name is quoted
            names = [column[0] for column in rows.description]
            for number, row in enumerate(rows, start=1):
                yield _entry(f"{name}:{number}", dict(zip(names, row, strict=True)))
    except sqlite3.Error as error:
        raise UsageError(
            f"{path} cannot be read as a SQLite file: {error}; nothing was changed",
            hint="check the file, or name its format with --format",
        ) from None


def _table(database: sqlite3.Connection, path: str, table: str | None) -> str:
    found = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
    names = [name for (name,) in found if not name.startswith("sqlite_")]
    if table is not None and table not in names:
        raise UsageError(
            f"{path} has no table {table!r}; nothing was changed", hint=f"there are: {', '.join(names)}"
        )
    if table is not None:
        return table
    if TABLE in names or len(names) == 1:
        return TABLE if TABLE in names else names[0]
    raise UsageError(
        f"{path} has {len(names)} tables; nothing was changed",
        hint=f"name one with --table: {', '.join(names)}",
    )


def _entry(where: str, values: dict[str, Any]) -> Entry:
    if not is_exported(values):
        return Entry(where, {name: json_safe(value) for name, value in values.items() if value is not None})
    try:
        return Entry(where, from_columns(values))
    except Wrong as error:
        return Entry(where, None, str(error))
