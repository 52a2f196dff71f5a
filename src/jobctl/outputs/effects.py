"""Every change jobctl makes to a disk, and every commit, numbered in the order they happen.

One small module, so that a test can replace effect *n* of the real program by a crash or
an error, for all *n*. Names are relative to directory descriptors: nothing here follows a
path through a symlink.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

Observer = Callable[[str, int], None]

_RENAME_NOREPLACE = 1
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


class Committable(Protocol):
    """What can be committed."""

    def commit(self) -> None: ...


class _Observed:
    before: Observer | None = None
    after: Observer | None = None
    number = 0


def observe(*, before: Observer | None = None, after: Observer | None = None) -> None:
    """Call ``before`` and ``after`` around every effect with its name and number, from 1."""
    _Observed.before, _Observed.after, _Observed.number = before, after, 0


@contextmanager
def _effect(name: str) -> Iterator[None]:
    _Observed.number += 1
    number = _Observed.number
    if _Observed.before is not None:
        _Observed.before(name, number)
    yield
    if _Observed.after is not None:
        _Observed.after(name, number)


def commit(transaction: Committable) -> None:
    """Commit a transaction."""
    with _effect("commit"):
        transaction.commit()


def create_file(directory_fd: int, name: str, mode: int = 0o600) -> int:
    """Create a file that must not exist, and open it for writing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _effect("create"):
        return os.open(name, flags, mode, dir_fd=directory_fd)


def make_directory(directory_fd: int, name: str, mode: int = 0o700) -> None:
    """Create a directory that must not exist."""
    with _effect("mkdir"):
        os.mkdir(name, mode, dir_fd=directory_fd)


def write_all(fd: int, content: bytes) -> None:
    """Write all of ``content``."""
    with _effect("write"):
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]


def fsync_file(fd: int) -> None:
    """Wait until a file's bytes are on the disk."""
    with _effect("fsync"):
        os.fsync(fd)


def fsync_directory(fd: int) -> None:
    """Wait until a directory's names are on the disk."""
    with _effect("fsync-directory"):
        os.fsync(fd)


def unlink(directory_fd: int, name: str) -> None:
    """Remove a name."""
    with _effect("unlink"):
        os.unlink(name, dir_fd=directory_fd)


def replace(directory_fd: int, source: str, target: str) -> None:
    """Give a file of our own the name of an older one of our own."""
    with _effect("replace"):
        os.replace(source, target, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)


def rename_noreplace(source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Move a file to a name that must be free.

    Raises ``FileExistsError`` where it is taken. Where the file system cannot do that in
    one step it is linked and unlinked; where it can do neither, that error is raised and
    nothing was moved.
    """
    with _effect("rename"):
        if _renameat2(source_fd, source, target_fd, target):
            return
        os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
        os.unlink(source, dir_fd=source_fd)


def write_file_atomically(directory_fd: int, name: str, content: bytes, mode: int = 0o600) -> None:
    """Write a file of our own so that after a crash it is the old one or the new one, whole.

    The caller is the only writer. What an earlier crash left of the temporary file is cleared away.
    """
    temporary = f".{name}.new"
    with suppress(FileNotFoundError):
        os.stat(temporary, dir_fd=directory_fd, follow_symlinks=False)
        unlink(directory_fd, temporary)
    fd = create_file(directory_fd, temporary, mode)
    try:
        write_all(fd, content)
        fsync_file(fd)
        replace(directory_fd, temporary, name)
    finally:
        os.close(fd)
    fsync_directory(directory_fd)


def _renameat2(source_fd: int, source: str, target_fd: int, target: str) -> bool:
    """Try renameat2(2); False where kernel or file system do not know it."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return False
    result = function(source_fd, os.fsencode(source), target_fd, os.fsencode(target), _RENAME_NOREPLACE)
    if result == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), source, None, target)
