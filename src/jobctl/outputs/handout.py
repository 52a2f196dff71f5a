"""Open a file to hand it out: just the bytes that were accepted, below its root, and nothing else."""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jobctl.model.files import FileIdentity
from jobctl.outputs.directories import open_directory
from jobctl.outputs.identity import identity_of
from jobctl.outputs.settle import writer_state
from jobctl.outputs.stamp import sha256_of

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_REMEMBERED = 10_000
_HEAD = 32


class NotAsAccepted(Exception):
    """The file is not, or not surely, the one that was accepted; the text says why."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is recorded of a file: its path below the root, its size, and its SHA-256 or its mtime."""

    path: str
    size: int
    sha256: str | None
    mtime_ns: int | None


class OpenFile:
    """An open file whose bytes were proven; whoever has it closes it. Threads may share it."""

    def __init__(self, fd: int, found: os.stat_result, sha256: str | None) -> None:
        self.size = found.st_size
        self.mtime_ns = found.st_mtime_ns
        self.sha256 = sha256
        self.head = os.pread(fd, _HEAD, 0)
        self._fd = fd
        # Once closed, the number may be another file's.
        self._lock = threading.Lock()

    def read(self, position: int, length: int) -> bytes:
        """Some of its bytes. Raises ``NotAsAccepted`` where it was written to since, or is closed."""
        with self._lock:
            if self._fd < 0:
                raise NotAsAccepted("it is closed")
            chunk = os.pread(self._fd, length, position)
            now = os.fstat(self._fd)
        if (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns) or not chunk:
            raise NotAsAccepted("it was changed while it was read")
        return chunk

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        with self._lock:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Proven:
    """Files whose checksum was found right, so that it is computed once and not at every request."""

    def __init__(self) -> None:
        self._known: OrderedDict[FileIdentity, str] = OrderedDict()
        self._lock = threading.Lock()

    def prove(self, fd: int, identity: FileIdentity, sha256: str) -> None:
        """Raise ``NotAsAccepted`` unless the file has this checksum."""
        with self._lock:
            known = self._known.get(identity)
        if known is None:
            known = sha256_of(fd, identity.size)
            if identity_of(os.fstat(fd)) != identity:
                raise NotAsAccepted("it was changed while it was read")
            with self._lock:
                self._known[identity] = known
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        if known != sha256:
            raise NotAsAccepted("its bytes are not those that were accepted")


def open_accepted(root_fd: int, accepted: Accepted, proven: Proven) -> OpenFile:
    """Open a file below a root that was proven. No symlink is followed and no mount is crossed.

    Raises ``NotAsAccepted``, or ``OSError`` where it cannot be opened or read.
    """
    directory, name = os.path.split(accepted.path)
    with _directory(root_fd, directory) as directory_fd:
        fd = os.open(name, _FLAGS, dir_fd=directory_fd)
    try:
        found = os.fstat(fd)
        _expect(accepted, found)
        if writer_state(fd) == "open":
            raise NotAsAccepted("somebody has it open for writing")
        if accepted.sha256 is not None:
            proven.prove(fd, identity_of(found), accepted.sha256)
        return OpenFile(fd, found, accepted.sha256)
    except BaseException:
        os.close(fd)
        raise


def _expect(accepted: Accepted, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotAsAccepted("it is no regular file")
    if found.st_size != accepted.size:
        raise NotAsAccepted(f"it has {found.st_size:,} bytes, not the {accepted.size:,} that were accepted")
    if accepted.sha256 is None and found.st_mtime_ns != accepted.mtime_ns:
        raise NotAsAccepted("it was changed since it was checked")


@contextmanager
def _directory(root_fd: int, path: str) -> Iterator[int]:
    fd = open_directory(root_fd, path)
    try:
        yield fd
    finally:
        os.close(fd)
