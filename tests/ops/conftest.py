"""A small site for the operations: one root, on each of the databases, and clocks to move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.world import Calendar, World


@pytest.fixture(autouse=True)
def _reader_is_shared(_one_reader: None) -> None:
    """Each test is a program, and many look at media."""


@pytest.fixture
def world(store_url: str, tmp_path: Path) -> Iterator[World]:
    """An initialised site without any file."""
    made = World(store_url, tmp_path / "outputs")
    made.init()
    yield made
    made.close()


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Calendar:
    """Every clock that ages are counted by."""
    return Calendar(monkeypatch)


@pytest.fixture
def embedded(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A site on SQLite, for what no database has a part in."""
    made = World(sqlite_url, tmp_path / "outputs")
    made.init()
    yield made
    made.close()


@pytest.fixture
def served(postgresql_url: str, tmp_path: Path) -> Iterator[World]:
    """A site on PostgreSQL, for what only a server does."""
    made = World(postgresql_url, tmp_path / "outputs")
    made.init()
    yield made
    made.close()
