"""Fingerprints: of the file that was seen, of nothing else, and only while it stays the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobctl.model.files import FileIdentity
from jobctl.outputs.fingerprint import FileChanged, Fingerprint, Reach, fingerprint

END = 64 * 1024


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def made(path: Path, content: bytes) -> FileIdentity:
    path.write_bytes(content)
    return identity(path)


def identity(path: Path) -> FileIdentity:
    found = path.lstat()
    return FileIdentity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 2 * END, 2 * END + 1, 3_000_000])
def test_all_bytes_or_both_ends_are_read(tmp_path: Path, directory: int, size: int) -> None:
    content = os.urandom(size)
    seen = made(tmp_path / "a", content)
    read: list[int] = []
    whole = fingerprint(directory, "a", seen, Reach.WHOLE, on_bytes=read.append)
    assert whole == Fingerprint(sha256(content), 1)
    assert sum(read) == size
    ends = content if size <= 2 * END else content[:END] + content[-END:]
    assert fingerprint(directory, "a", seen, Reach.ENDS).sha256 == sha256(ends)


def test_every_name_of_a_file_is_counted(tmp_path: Path, directory: int) -> None:
    made(tmp_path / "a", b"x")
    os.link(tmp_path / "a", tmp_path / "b")
    assert fingerprint(directory, "a", identity(tmp_path / "a"), Reach.ENDS).links == 2


def test_another_file_in_its_place_is_not_read(tmp_path: Path, directory: int) -> None:
    seen = made(tmp_path / "a", b"x")
    made(tmp_path / "b", b"x")
    os.replace(tmp_path / "b", tmp_path / "a")
    with pytest.raises(FileChanged, match="changed or replaced since it was seen"):
        fingerprint(directory, "a", seen, Reach.WHOLE)


def test_what_is_no_file_is_not_read(tmp_path: Path, directory: int) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileChanged):
        fingerprint(directory, "fifo", identity(tmp_path / "fifo"), Reach.WHOLE)
    seen = made(tmp_path / "a", b"x")
    os.symlink("a", tmp_path / "link")
    with pytest.raises(OSError, match="symbolic links"):
        fingerprint(directory, "link", seen, Reach.WHOLE)


def test_a_file_that_changes_while_it_is_read_has_no_fingerprint(tmp_path: Path, directory: int) -> None:
    path = tmp_path / "a"
    for change in (lambda: os.truncate(path, 5), lambda: path.write_bytes(b"y" * 10), path.touch):
        seen = made(path, b"x" * 10)
        os.utime(path, (1, 1))
        seen = identity(path)
        with pytest.raises(FileChanged, match="while it was read"):
            fingerprint(directory, "a", seen, Reach.WHOLE, on_bytes=lambda _, act=change: act())


def test_a_file_that_is_open_for_writing_is_not_read(tmp_path: Path, directory: int) -> None:
    seen = made(tmp_path / "a", b"x")
    with open(tmp_path / "a", "ab"), pytest.raises(FileChanged, match="open for writing"):
        fingerprint(directory, "a", seen, Reach.WHOLE)
