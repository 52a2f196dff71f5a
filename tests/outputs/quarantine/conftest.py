"""A root with one file in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobctl.outputs import effects
from quarantined import NAME, OLD_NS, made_root


@pytest.fixture(autouse=True)
def _unobserved() -> Iterator[None]:
    yield
    effects.observe()


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return made_root(tmp_path / "outputs")


@pytest.fixture
def video(outputs: Path) -> Path:
    """A file some directories deep, written long ago."""
    made = outputs / NAME
    made.parent.mkdir(parents=True)
    made.write_bytes(b"moving pictures")
    made.chmod(0o640)
    os.utime(made, ns=(OLD_NS, OLD_NS))
    return made
