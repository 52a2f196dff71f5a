"""A small site for the command line: one root, on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.world import World


@pytest.fixture(autouse=True)
def _reader_is_shared(_one_reader: None) -> None:
    """Each test is a program, and many look at media."""


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """An initialised site without any file."""
    made = World(sqlite_url, tmp_path / "outputs", host="")
    made.init()
    yield made
    made.close()
