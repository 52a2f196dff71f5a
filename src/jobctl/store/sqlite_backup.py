"""Copies of a SQLite store while others use it, and one that takes the place of its contents.

Both by SQLite's own backup interface (sqlite.org/c3ref/backup_finish.html): what it copies is one
moment of the source, and what it writes is one transaction of the target.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import quote

from jobctl import clock
from jobctl.model.backup import Contents
from jobctl.model.timestamps import parse_timestamp
from jobctl.store.foreign import open_readonly
from jobctl.store.sqlite_turns import BUSY_TIMEOUT_S, begin_immediate

OnStep = Callable[[int, int], None]
"""Told after each step how many pages are done, of how many."""

_STEP = 1_024
# Far fewer than the pages of the emptiest store, so that the first step is never the last.
_SMALL_STEP = 16
_TOLD = 5
_HEADER = b"SQLite format 3\0"
_LAST_EVENT = "SELECT event_id, at, job_id, kind FROM event ORDER BY event_id DESC LIMIT 1"
_THIS_EVENT = "SELECT 1 FROM event WHERE event_id = ? AND at = ? AND job_id = ? AND kind = ?"
_HELD_BACK = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
# Where SQLite's locks lie in a file (its os.h): who has a store in WAL mode open holds one of these bytes.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510
_FLOCK = "hhqqi4x"


class ChangedMeanwhile(Exception):
    """Somebody wrote to the store between the last look at it and the moment it was to be replaced."""


def copy_database(source: sqlite3.Connection, target: str, on_step: OnStep) -> None:
    """Copy one moment of ``source`` into the empty file ``target``; nobody has to wait for it.

    The copy is one file, without any beside it. It is not on the disk yet: the caller sees to that.
    """
    with closing(_connect(target)) as copy:
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        is_own = not source.in_transaction
        if is_own:
            source.execute("BEGIN")
        try:
            # A transaction that has read keeps to its moment: else each change would begin the copy anew.
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(copy, pages=_STEP, progress=_telling(on_step))
        finally:
            if is_own:
                source.execute("ROLLBACK")
        # What was copied says that it is in WAL mode.
        copy.execute("PRAGMA journal_mode = DELETE")


def expect_last_page(source: sqlite3.Connection, path: str) -> None:
    """Raise ``sqlite3.DatabaseError`` where a file ends within a page: SQLite would fill it up with zeros.

    Unless a log lies beside it, that may have all of the page.
    """
    (size,) = source.execute("PRAGMA page_size").fetchone()
    if os.path.getsize(path) % size and not os.path.exists(f"{path}-wal"):
        raise sqlite3.DatabaseError("its last page is cut short")


def faults_of(path: str) -> list[str]:
    """What is wrong with a copy, a few sentences; empty for a sound one. The whole file is read."""
    try:
        with closing(open_readonly(path)) as connection:
            said = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_TOLD})")]
    except sqlite3.Error as error:
        return [str(error)]
    return [line for text in said for line in text.splitlines() if line != "ok"]


def look_into(path: str) -> Contents:
    """What a store of any schema holds. Raises ``sqlite3.Error`` where the file is none."""
    with closing(open_readonly(path)) as connection:
        return look_through(connection)


def look_through(connection: sqlite3.Connection) -> Contents:
    """The same on a connection. Raises ``sqlite3.Error``."""
    ids = connection.execute("SELECT store_id FROM store").fetchone()
    version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if ids is None or version is None:
        raise sqlite3.DatabaseError("it was never a whole store")
    jobs = dict(connection.execute("SELECT status, count(*) FROM job GROUP BY status").fetchall())
    events, last, at = connection.execute("SELECT count(*), max(event_id), max(at) FROM event").fetchone()
    return Contents(ids[0], version[0], jobs, events, last or 0, parse_timestamp(at) if at else None)


def store_id_in(path: str) -> str | None:
    """Which store a file is of, without reading all of it. Raises ``sqlite3.Error``."""
    with closing(open_readonly(path)) as connection:
        found = connection.execute("SELECT store_id FROM store").fetchone()
    return found[0] if found else None


def goes_on_from(later: str, earlier: str) -> bool:
    """Whether one store's history is the other's and what came after it: nothing is in that one alone.

    Raises ``sqlite3.Error`` where either cannot be read.
    """
    if store_id_in(earlier) != store_id_in(later):
        return False
    with closing(open_readonly(earlier)) as connection:
        last = connection.execute(_LAST_EVENT).fetchone()
        if last is None:
            return connection.execute("SELECT 1 FROM job LIMIT 1").fetchone() is None
    with closing(open_readonly(later)) as connection:
        # A number alone says nothing: after an earlier restore they are given out a second time.
        return connection.execute(_THIS_EVENT, last).fetchone() is not None


def connect(path: str) -> sqlite3.Connection:
    """Open a store that is there, on a connection of Python's driver. Raises ``sqlite3.Error``."""
    return _connect(path)


@contextmanager
def writers_waiting(path: str) -> Iterator[None]:
    """Hold the write lock of a store; others can read. Raises ``sqlite3.Error``."""
    with closing(_connect(path)) as connection:
        begin_immediate(connection)
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def changes_seen(connection: sqlite3.Connection) -> int:
    """A number that changes when another connection has committed something."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def replace_contents(new: str, store: str, *, watch: sqlite3.Connection, seen: int, on_step: OnStep) -> None:
    """Put the contents of the file ``new`` in the place of all that is in ``store``, in one transaction.

    The file stays the same one, so that whoever has it open goes on with what is in it then.
    ``watch`` is another connection to the store and ``seen`` what ``changes_seen`` told on it.
    Raises ``ChangedMeanwhile``, and ``sqlite3.Error``; nothing was changed then.
    """
    is_ours = False
    patient = _telling(on_step)

    def step(status: int, left: int, total: int) -> None:
        nonlocal is_ours
        if status not in _HELD_BACK and not is_ours:
            # From here on nobody else can write.
            is_ours = True
            if changes_seen(watch) != seen:
                raise ChangedMeanwhile
        patient(status, left, total)

    with closing(_connect(store)) as target, closing(_connect(new)) as source:
        target.execute("PRAGMA synchronous = FULL")
        source.backup(target, pages=_SMALL_STEP, progress=step, sleep=0.01)
        # What was written lies in the log; it would be read through it until somebody clears that.
        with suppress(sqlite3.Error):
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def has_header(path: str) -> bool:
    """Whether a file begins like one of SQLite's, or is empty.

    SQLite itself is not to be asked of another: it would remove the log that lies beside it.
    """
    with open(path, "rb") as file:
        return file.read(len(_HEADER)) in {_HEADER, b""}


def fold_log(path: str) -> dict[str, int]:
    """Bring what lies in the log of a store that nobody has open into its file, as far as it can be read.

    Gives back the generation of each root, as far as that can be read.
    """
    with suppress(sqlite3.Error), closing(_connect(path)) as connection:
        return dict(connection.execute("SELECT root_id, generation FROM root").fetchall())
    return {}


def who_has_it_open(path: str) -> int | None:
    """The pid of another process that has a SQLite file open; ``None`` where nobody has.

    Not to be asked while this process has the file open itself: that would end its locks.
    """
    with open(path, "rb") as file:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
        # A lock for writing is asked about, which needs no file that is open for writing.
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(pid)


def _telling(on_step: OnStep) -> Callable[[int, int, int], None]:
    """Tell of each step; one that is held back is tried again, but not for ever."""
    moved_at = clock.monotonic()

    def step(status: int, left: int, total: int) -> None:
        nonlocal moved_at
        now = clock.monotonic()
        if status not in _HELD_BACK:
            moved_at = now
            on_step(total - left, total)
        elif now - moved_at > BUSY_TIMEOUT_S:
            raise sqlite3.OperationalError("database is locked")

    return step


def _connect(path: str) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.execute("PRAGMA cell_size_check = ON")
    return connection
