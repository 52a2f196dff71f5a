"""Turns at SQLite's write lock: whoever has waited longer looks more often, and nobody is refused at once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.store.engine import open_store
from jobctl.store.sqlite_turns import Turns, begin_immediate, pause_s


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Two connections to one file."""
    path = tmp_path / "turns.db"
    with closing(_connect(path)) as one, closing(_connect(path)) as other:
        one.execute("PRAGMA journal_mode = WAL")
        yield one, other


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


@given(waited=st.floats(0, 100), longer=st.floats(0, 100), luck=st.floats(0, 1))
def test_who_has_waited_longer_looks_at_least_as_soon(waited: float, longer: float, luck: float) -> None:
    assert 0 <= pause_s(waited + longer, luck=luck) <= pause_s(waited, luck=luck) <= 0.02


def test_a_lock_that_is_let_go_is_had(pair: tuple[sqlite3.Connection, sqlite3.Connection]) -> None:
    one, other = pair
    begin_immediate(one)
    has_lock = Event()

    def wait() -> None:
        begin_immediate(other)
        has_lock.set()

    waiting = Thread(target=wait)
    waiting.start()
    assert not has_lock.wait(0.1)
    one.execute("COMMIT")
    assert has_lock.wait(30)
    waiting.join()


def test_a_lock_that_is_not_let_go_is_told_after_the_whole_wait(
    pair: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    one, other = pair
    begin_immediate(one)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        begin_immediate(other, patience_s=0.1)


def test_other_waits_of_the_connection_stay_as_long_as_they_were(
    pair: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    one, _ = pair
    begin_immediate(one)
    assert one.execute("PRAGMA busy_timeout").fetchone() == (30_000,)


def test_what_is_no_lock_is_not_waited_for(pair: tuple[sqlite3.Connection, sqlite3.Connection]) -> None:
    one, _ = pair
    begin_immediate(one)
    with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
        begin_immediate(one)


def test_threads_of_one_store_that_wait_to_write_take_no_connection_yet(sqlite_url: str) -> None:
    shared = open_store(sqlite_url, pooled=True)
    in_use: list[int] = []

    def write(_: int) -> None:
        with shared.write():
            in_use.append(shared.engine.pool.checkedout())  # type: ignore[attr-defined]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(40)))
    shared.close()
    assert in_use == [1] * 40


def test_a_turn_is_waited_for_no_longer_than_told_and_the_rest_is_left_for_the_lock() -> None:
    turns = Turns()
    with turns.mine(60) as left_s:
        assert 59 < left_s <= 60
        with ThreadPoolExecutor(1) as other:
            assert other.submit(_left, turns, 0.01).result() == 0
    with turns.mine(0):
        """It was given back."""


def _left(turns: Turns, patience_s: float) -> float:
    with turns.mine(patience_s) as left_s:
        return left_s


def test_a_forked_process_waits_for_no_thread_of_the_one_before() -> None:
    turns = Turns()
    with turns.mine(60):
        child = os.fork()
        if child == 0:
            os._exit(0 if _left(turns, 60) > 59 else 1)
        assert os.waitpid(child, 0)[1] == 0
