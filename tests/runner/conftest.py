"""Fixtures of the runner's tests: a store with workers on it, and its queue."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobctl
from runner.working import Crewed, crewed


@pytest.fixture
def crew(store_url: str) -> Iterator[Crewed]:
    """Workers on a store of this test's own; each test runs on both databases."""
    with crewed(store_url) as made:
        yield made


@pytest.fixture
def deep_place(tmp_path: Path) -> Iterator[Path]:
    """A directory that is gone at the end however deep it is, which is more than pytest can remove."""
    yield tmp_path
    subprocess.run(["rm", "-rf", "--", str(tmp_path)], check=True)


@pytest.fixture
def queue(store_url: str) -> Iterator[jobctl.Queue]:
    """The queue of that store, as a service opens it."""
    with jobctl.Queue(store_url) as opened:
        yield opened
