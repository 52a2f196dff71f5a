"""Waiting for SQLite's one write lock, so that each of many processes gets its turn.

SQLite's own way of waiting looks less and less often, at last ten times a second: whoever has
waited longest is overtaken by everyone who comes fresh. Here it is the other way round.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from jobctl import clock

BUSY_TIMEOUT_S = 30
"""How long anybody waits for a database that another process holds."""

_MANY_S, _FEW_S = 0.010, 0.001
_PATIENT_FOR_S = 1.0


class Turns:
    """Whose turn it is to write, of the threads of this process that share one store.

    Each begins as soon as the one before it ends, where looking now and again leaves the lock unused in
    between; and who waits needs no connection yet. The database's own lock remains what counts.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._home = os.getpid()

    @contextmanager
    def mine(self, patience_s: float) -> Iterator[float]:
        """Wait for it, perhaps in vain; the seconds of patience that are left."""
        if self._home != os.getpid():
            # Whoever held it is not here: a forked process has one thread.
            self._lock, self._home = Lock(), os.getpid()
        lock = self._lock
        began = clock.monotonic()
        has_it = lock.acquire(timeout=patience_s)
        try:
            yield max(0.0, patience_s - (clock.monotonic() - began))
        finally:
            if has_it:
                lock.release()


def begin_immediate(driver: Any, *, patience_s: float = BUSY_TIMEOUT_S) -> None:
    """Begin a transaction that holds the write lock, on a connection of Python's driver.

    Raises ``sqlite3.Error``: ``OperationalError`` where the lock is not had in ``patience_s``.
    """
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        _begin(driver, patience_s)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")


def _begin(driver: Any, patience_s: float) -> None:
    began: float | None = None
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            now = clock.monotonic()
            began = now if began is None else began
            if not _is_busy(error) or now - began >= patience_s:
                raise
            clock.sleep(pause_s(now - began, luck=random.random()))  # noqa: S311 - no secret
        else:
            return


def pause_s(waited_s: float, *, luck: float) -> float:
    """Seconds until the next look, after having waited so long: the longer, the sooner.

    ``luck`` between 0 and 1 keeps those apart who began to wait together.
    """
    impatience = min(1.0, waited_s / _PATIENT_FOR_S)
    return 2 * luck * (_MANY_S + impatience * (_FEW_S - _MANY_S))


def _is_busy(error: sqlite3.OperationalError) -> bool:
    # The lower byte tells what it is, the higher ones why (sqlite.org/rescode.html).
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
