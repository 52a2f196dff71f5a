"""Registered roots and their generations, on both databases."""

from __future__ import annotations

import os

import pytest
from sqlalchemy.exc import IntegrityError

from jobctl.store import roots
from jobctl.store.engine import Connection, Store
from jobctl.store.roots import RootRow
from store.records import AT, later


def add(connection: Connection, root_id: str = "r1", path: str = "/srv/output", seconds: float = 0) -> None:
    roots.add_root(connection, root_id=root_id, path=path, layout="x", host=None, at=later(seconds))


def only(connection: Connection) -> RootRow:
    (row,) = roots.get_roots(connection)
    return row


def test_a_root_comes_back_as_it_was_registered(store: Store) -> None:
    name = os.fsdecode(b"/srv/caf\xe9\\")
    with store.write() as connection:
        roots.add_root(connection, root_id="r1", path=name, layout="presentations", host="host-a", at=AT)
        assert only(connection) == RootRow("r1", name, "presentations", "host-a", 0, None, AT)


def test_roots_come_in_the_order_they_were_registered(store: Store) -> None:
    with store.write() as connection:
        for seconds, root_id in enumerate(["r3", "r1", "r2"]):
            add(connection, root_id, f"/srv/{root_id}", seconds)
        assert [row.root_id for row in roots.get_roots(connection)] == ["r3", "r1", "r2"]


def test_a_directory_is_registered_once(store: Store) -> None:
    with store.write() as connection:
        add(connection)
    with pytest.raises(IntegrityError), store.write() as connection:
        add(connection, "r2")


def test_generations_rise_one_by_one(store: Store) -> None:
    with store.write() as connection:
        add(connection)
        assert [roots.advance_generation(connection, "r1") for _ in range(3)] == [1, 2, 3]
        roots.set_generation(connection, "r1", 41)
        assert roots.advance_generation(connection, "r1") == 42
        assert only(connection).generation == 42


def test_a_generation_that_is_not_committed_did_not_happen(store: Store) -> None:
    with store.write() as connection:
        add(connection)
    with pytest.raises(ZeroDivisionError), store.write() as connection:
        roots.advance_generation(connection, "r1")
        raise ZeroDivisionError
    with store.read() as connection:
        assert only(connection).generation == 0


def test_negatives_are_suspended_and_resumed(store: Store) -> None:
    with store.write() as connection:
        add(connection)
        add(connection, "r2", "/srv/other", 1)
        roots.suspend_negatives(connection, "r1", at=later(9))
        assert [row.negatives_suspended_at for row in roots.get_roots(connection)] == [later(9), None]
        roots.resume_negatives(connection, "r1", suspended_by=later(8))
        assert [row.negatives_suspended_at for row in roots.get_roots(connection)] == [later(9), None]
        roots.resume_negatives(connection, "r1", suspended_by=later(9))
        assert [row.negatives_suspended_at for row in roots.get_roots(connection)] == [None, None]
