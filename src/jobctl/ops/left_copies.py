"""Copies of a store in a file that restores left behind which were killed: found and told, never removed.

A restore copies the store that is there before it replaces what is in it. Killed in between, that copy
stays, and the next one makes another. On a server all of it is one transaction, which leaves nothing.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from jobctl.core.backups import is_kept
from jobctl.ops.site import Site
from jobctl.store import restored, sqlite_backup
from jobctl.store.dialect import SQLite


class LeftCopy(NamedTuple):
    """A file, and its size in bytes."""

    path: str
    size: int


def work_beside(store: str) -> str:
    """How the names of the files begin that a restore works on, beside a store in a file of this name."""
    return f".{store}.restoring-"


def left_copies(site: Site) -> list[LeftCopy]:
    """What restores left beside the store that were killed, as far as nothing is in it that is not elsewhere.

    Not what a restore tells in the journal to have kept, and nothing while one is at work.
    """
    dialect = site.store.dialect
    if not isinstance(dialect, SQLite):
        return []
    directory, name = os.path.split(dialect.path)
    paths = [os.path.join(directory, each) for each in sorted(os.listdir(directory))]
    works = [path for path in paths if os.path.basename(path).startswith(work_beside(name))]
    if any(map(_may_be_at_work, works)):
        return []
    with site.store.read() as connection:
        told = {os.path.basename(path) for path in restored.all_kept(connection)}
    copies = [path for path in paths if is_kept(os.path.basename(path), store=name)]
    kept = [path for path in copies if os.path.basename(path) in told]
    untold = [path for path in copies if path not in kept]
    left = [*works, *(path for path in untold if _is_elsewhere(path, [dialect.path, *kept]))]
    return [LeftCopy(path, os.lstat(path).st_size) for path in left]


def _may_be_at_work(path: str) -> bool:
    """Whether a process may have this file in work: it holds a lock on it as long as it lives."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        finally:
            os.close(fd)
    return True


def _is_elsewhere(path: str, stores: Sequence[str]) -> bool:
    """Whether all that a copy holds is in one of these stores as well."""
    # What was moved aside with its log is no copy: it is all there is of a damaged store.
    if os.path.lexists(f"{path}-wal"):
        return False
    return any(_holds(store, path) for store in stores)


def _holds(store: str, path: str) -> bool:
    with suppress(OSError, sqlite3.Error):
        return os.path.samefile(store, path) or sqlite_backup.goes_on_from(store, path)
    return False
