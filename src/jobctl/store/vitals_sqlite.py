"""Facts about the health of a store that only SQLite has. Each function reads one."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy.exc import DatabaseError

from jobctl.core.health.databases import Wal
from jobctl.store.dialect import SQLite
from jobctl.store.engine import Store, explained

_MOST_DAMAGES = 20
TRUNCATE = "PRAGMA wal_checkpoint(TRUNCATE)"


class Pages(NamedTuple):
    """The pages of the file, the empty ones among them, and the bytes of each."""

    pages: int
    free: int
    size: int


def path_of(store: Store) -> str:
    """The file of an embedded store."""
    if not isinstance(store.dialect, SQLite):
        raise TypeError(f"{store.url} is no file")
    return store.dialect.path


def damages(store: Store) -> list[str]:
    """What SQLite's quick check says is wrong with the file."""
    with store.read() as connection:
        try:
            found = connection.exec_driver_sql(f"PRAGMA quick_check({_MOST_DAMAGES})").scalars().all()
        except DatabaseError as error:
            found = [str(error.orig)]
    return [line for line in found if line != "ok"]


def write_ahead_log(store: Store) -> Wal:
    """How large the log is, and how much of it can be written back now: this is done, as writers do it."""
    size = 0
    with suppress(FileNotFoundError):
        size = os.stat(f"{path_of(store)}-wal").st_size
    # Outside of a transaction: within one, nothing is written back.
    with explained(store.dialect), store.engine.connect() as connection:
        _, frames, written_back = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
    return Wal(size, max(0, frames), max(0, written_back))


def journal_mode(store: Store) -> str:
    """How SQLite keeps commits whole."""
    return str(_value(store, "journal_mode"))


def synchronous(store: Store) -> int:
    """How SQLite waits for the disk: 2 is FULL."""
    return int(_value(store, "synchronous"))


def pages(store: Store) -> Pages:
    """How large the file is, and how much of it is empty."""
    return Pages(*(int(_value(store, name)) for name in ("page_count", "freelist_count", "page_size")))


def command_of(store: Store, *words: str) -> str:
    """A command that does something to the file: ``sqlite-utils``, which jobctl is installed with."""
    verb, *rest = words
    return shlex.join([sys.executable, "-m", "sqlite_utils", verb, path_of(store), *rest])


def _value(store: Store, pragma: str) -> Any:
    with store.read() as connection:
        return connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
