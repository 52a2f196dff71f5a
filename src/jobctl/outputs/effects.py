"""Every change jobctl makes to a disk, and every commit, numbered in the order they happen.

One small module, so that a test can replace effect *n* of the real program by a crash or
an error, for all *n*. Names are relative to directory descriptors: nothing here follows a
path through a symlink.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType
from typing import Protocol

Observer = Callable[[str, int], None]

_RENAME_NOREPLACE = 1
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
_libc = ctypes.CDLL(None, use_errno=True)


class Committable(Protocol):
    """What can be committed."""

    def commit(self) -> None: ...


class _Observed:
    before: Observer | None = None
    after: Observer | None = None
    number = 0


class _Numbered:
    """One effect between its two observers. ``after`` is not told of an effect that failed."""

    __slots__ = ("name", "number")

    def __init__(self, name: str) -> None:
        _Observed.number += 1
        self.name, self.number = name, _Observed.number

    def __enter__(self) -> None:
        if _Observed.before is not None:
            _Observed.before(self.name, self.number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and _Observed.after is not None:
            _Observed.after(self.name, self.number)


_UNOBSERVED = nullcontext()


def observe(*, before: Observer | None = None, after: Observer | None = None) -> None:
    """Call ``before`` and ``after`` around every effect with its name and number, from 1; neither: stop."""
    _Observed.before, _Observed.after, _Observed.number = before, after, 0


def _effect(name: str) -> AbstractContextManager[None]:
    if _Observed.before is None and _Observed.after is None:
        return _UNOBSERVED
    return _Numbered(name)


def commit(transaction: Committable) -> None:
    """Commit a transaction."""
    with _effect("commit"):
        transaction.commit()


def create_file(directory_fd: int, name: str, mode: int = 0o600) -> int:
    """Create a file that must not exist, and open it for reading and writing."""
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


def truncate(fd: int, size: int) -> None:
    """Cut a file to ``size`` bytes."""
    with _effect("truncate"):
        os.ftruncate(fd, size)


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


def change_owner(fd: int, uid: int, gid: int) -> None:
    """Give a file to another user and group; ``fd`` may be an ``O_PATH`` descriptor."""
    with _effect("chown"):
        os.chown(_magic_link(fd), uid, gid)


def change_mode(fd: int, mode: int) -> None:
    """Set a file's permission bits; ``fd`` may be an ``O_PATH`` descriptor."""
    with _effect("chmod"):
        os.chmod(_magic_link(fd), mode)


def change_mtime(fd: int, mtime_ns: int) -> None:
    """Set when a file was last written; ``fd`` may be an ``O_PATH`` descriptor."""
    path = _magic_link(fd)
    with _effect("utime"):
        os.utime(path, ns=(os.stat(path).st_atime_ns, mtime_ns))


def link(directory_fd: int, source: str, target: str) -> None:
    """Give a file of our own a second name, which must be free."""
    with _effect("link"):
        os.link(source, target, src_dir_fd=directory_fd, dst_dir_fd=directory_fd, follow_symlinks=False)


def replace(directory_fd: int, source: str, target: str) -> None:
    """Give a file of our own the name of an older one of our own."""
    with _effect("replace"):
        os.replace(source, target, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)


def rename_noreplace(source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Move a file to a name that must be free.

    Raises ``FileExistsError`` where it is taken. Where the file system cannot do that in
    one step the file is linked and unlinked: a crash between the two leaves it under both
    names, and the same call again completes the move. Where it can do neither, that error
    is raised and nothing was moved.
    """
    with _effect("rename"):
        if _renameat2(source_fd, source, target_fd, target):
            return
    try:
        with _effect("link"):
            os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except FileExistsError:
        if not _is_one_file(source_fd, source, target_fd, target):
            raise
    unlink(source_fd, source)


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


def _magic_link(fd: int) -> str:
    """A path to an open file itself: the way to files that may not be opened for reading."""
    return f"/proc/self/fd/{fd}"


def _renameat2(source_fd: int, source: str, target_fd: int, target: str) -> bool:
    """Try renameat2(2); False where C library, kernel or file system do not know it."""
    function = getattr(_libc, "renameat2", None)
    if function is None:
        return False
    result = function(source_fd, os.fsencode(source), target_fd, os.fsencode(target), _RENAME_NOREPLACE)
    if result == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), source, None, target)


def _is_one_file(source_fd: int, source: str, target_fd: int, target: str) -> bool:
    one = os.stat(source, dir_fd=source_fd, follow_symlinks=False)
    other = os.stat(target, dir_fd=target_fd, follow_symlinks=False)
    return os.path.samestat(one, other)
