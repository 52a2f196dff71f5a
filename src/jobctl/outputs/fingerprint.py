"""Fingerprints: SHA-256 of a file's ends or of all its bytes, of exactly the file that was seen."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from jobctl.model.files import FileIdentity
from jobctl.outputs.identity import identity_of
from jobctl.outputs.settle import writer_state

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_END = 64 * 1024
_CHUNK = 1 << 20


class FileChanged(Exception):
    """The file is not the one that was seen, or may be changing now; the text says which."""


class Reach(Enum):
    """How much of a file is read: 64 KiB at each end, or all of it."""

    ENDS = "ends"
    WHOLE = "whole"


class Fingerprint(NamedTuple):
    """SHA-256 in hex of what was read, and under how many names the file system has the file."""

    sha256: str
    links: int


def fingerprint(
    directory_fd: int,
    name: str,
    expected: FileIdentity,
    reach: Reach,
    *,
    on_bytes: Callable[[int], None] = lambda _bytes: None,
) -> Fingerprint:
    """Read a file, if it is the one that is expected and stays that until it is read.

    ``on_bytes`` is told how many bytes were read, as they are. Raises ``FileChanged``, or
    ``OSError`` where it cannot be read.
    """
    fd = os.open(name, _FLAGS, dir_fd=directory_fd)
    try:
        found = _expect_unchanged(fd, expected, "it was changed or replaced since it was seen")
        digest = hashlib.sha256()
        for chunk in _chunks(fd, found.st_size, reach):
            digest.update(chunk)
            on_bytes(len(chunk))
        _expect_unchanged(fd, expected, "it was changed while it was read")
        return Fingerprint(digest.hexdigest(), found.st_nlink)
    finally:
        os.close(fd)


def _expect_unchanged(fd: int, expected: FileIdentity, otherwise: str) -> os.stat_result:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or identity_of(found) != expected:
        raise FileChanged(otherwise)
    if writer_state(fd) == "open":
        raise FileChanged("it is open for writing")
    return found


def _chunks(fd: int, size: int, reach: Reach) -> Iterator[bytes]:
    if reach is Reach.WHOLE or size <= 2 * _END:
        yield from _span(fd, 0, size)
    else:
        yield from _span(fd, 0, _END)
        yield from _span(fd, size - _END, size)


def _span(fd: int, position: int, end: int) -> Iterator[bytes]:
    while position < end:
        chunk = os.pread(fd, min(_CHUNK, end - position), position)
        if not chunk:
            return
        position += len(chunk)
        yield chunk
