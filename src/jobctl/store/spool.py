"""A sorted spool: JSON documents in any order in, by key out, in a temporary file of its own.

For what is read from outside and does not fit in memory. SQLite keeps the file, sorts it
and removes it, whatever becomes of the program.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from jobctl.errors import DiskFailed

_BATCH = 5_000
_CACHE_KIB = 8 * 1024


class SortedSpool:
    """Takes documents under a key; gives them back in byte order of the key, as often as wanted."""

    def __init__(self) -> None:
        # An empty name: a private file, which is on disk only where it outgrows the cache.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            f"PRAGMA cache_size = {-_CACHE_KIB}; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE entry (key TEXT NOT NULL, document TEXT NOT NULL);"
        )
        self._waiting: list[tuple[str, str]] = []
        self._is_sorted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, key: str, document: Any) -> None:
        """Take a document. Raises ``DiskFailed`` where there is no room for it."""
        self._waiting.append((key, json.dumps(document, separators=(",", ":"))))
        if len(self._waiting) >= _BATCH:
            self._write()

    def stream(self, low: str = "", high: str | None = None) -> Iterator[tuple[str, Any]]:
        """Give key and document with ``low`` ≤ key < ``high``, by key, those of a key as they came."""
        self._sort()
        upper, bounds = ("", (low,)) if high is None else (" AND key < ?", (low, high))
        rows = self._database.execute(
            f"SELECT key, document FROM entry WHERE key >= ?{upper} ORDER BY key, rowid",  # noqa: S608
            bounds,
        )
        for key, document in rows:
            yield key, json.loads(document)

    def _write(self) -> None:
        with _written():
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO entry VALUES (?, ?)", self._waiting)
            self._database.execute("COMMIT")
        self._waiting.clear()
        self._is_sorted = False

    def _sort(self) -> None:
        if self._waiting:
            self._write()
        if not self._is_sorted:
            with _written():
                self._database.execute("CREATE INDEX IF NOT EXISTS entry_by_key ON entry (key)")
            self._is_sorted = True


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise DiskFailed(
            f"a temporary file could not be written: {error}; nothing was changed",
            hint="make room, or name another directory in TMPDIR",
        ) from error
