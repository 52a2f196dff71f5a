"""Opening below a root: no symlink and no mount leads out of it, whichever system call there is for that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobctl.outputs import directories
from jobctl.outputs.directories import open_directory


@pytest.fixture(params=["at once", "step by step"], autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older kernels and sandboxes do not know openat2(2)."""
    monkeypatch.setattr(directories._Openat2, "is_available", request.param == "at once")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "a" / "b").mkdir(parents=True)
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_a_directory_below_is_opened(root: int, tmp_path: Path) -> None:
    for path in ("", "a", "a/b"):
        fd = open_directory(root, path)
        assert os.path.samestat(os.fstat(fd), os.stat(tmp_path / path))
        os.close(fd)


@pytest.mark.parametrize("path", ["link", "link/b", "a/link", "a/link/b", "a/file"])
def test_no_symlink_is_followed_and_a_file_is_no_directory(root: int, tmp_path: Path, path: str) -> None:
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "file").touch()
    with pytest.raises(OSError, match="symbolic links|Not a directory"):
        open_directory(root, path)


def test_no_mount_is_crossed() -> None:
    fd = os.open("/", os.O_RDONLY)
    with pytest.raises(OSError, match="cross-device"):
        open_directory(fd, "proc/self")
    os.close(fd)


def test_what_is_not_there_is_told_and_no_descriptor_stays_open(root: int) -> None:
    before = os.listdir("/proc/self/fd")
    for path in ("none", "a/none", "a/b/none/c"):
        with pytest.raises(FileNotFoundError):
            open_directory(root, path)
    assert len(os.listdir("/proc/self/fd")) == len(before)
