"""Open directories below a root so that no symlink and no mount leads out of it."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_OPENAT2 = 437  # the same on every architecture since Linux 5.6
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_HOW = struct.pack(
    "QQQ",
    os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC,
    0,
    _RESOLVE_NO_XDEV | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH,
)
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# No system call takes a path of 4,096 bytes; a character has up to four, a name up to 255.
_SURELY_SHORT = 1_000
_libc = ctypes.CDLL(None, use_errno=True)
# Sandboxes answer EPERM or ENOSYS to system calls they do not know.
_UNAVAILABLE = frozenset({errno.ENOSYS, errno.EPERM})


class _Openat2:
    is_available = True


def open_directory(root_fd: int, path: str) -> int:
    """Open the directory ``path`` (relative, as ``os.fsdecode`` gives it) below a root.

    Raises ``OSError``: ``EXDEV`` where another file system is mounted on the way,
    ``ELOOP`` or ``ENOTDIR`` where a symlink stands in it.
    """
    if len(path) < _SURELY_SHORT:
        return _open_at_once(root_fd, path)
    fd = os.dup(root_fd)
    while path:
        end = len(path) if len(path) < _SURELY_SHORT else path.rindex("/", 0, _SURELY_SHORT)
        try:
            below = _open_at_once(fd, path[:end])
        finally:
            os.close(fd)
        fd, path = below, path[end + 1 :]
    return fd


def _open_at_once(root_fd: int, path: str) -> int:
    if not path:
        return os.open(".", _FLAGS, dir_fd=root_fd)
    if _Openat2.is_available:
        fd = _libc.syscall(_OPENAT2, root_fd, os.fsencode(path), _HOW, len(_HOW))
        if fd >= 0:
            return int(fd)
        number = ctypes.get_errno()
        if number not in _UNAVAILABLE:
            raise OSError(number, os.strerror(number), path)
        _Openat2.is_available = False
    return _open_step_by_step(root_fd, path)


def _open_step_by_step(root_fd: int, path: str) -> int:
    device = os.fstat(root_fd).st_dev
    fd = os.dup(root_fd)
    try:
        for step in path.split("/"):
            below = os.open(step, _FLAGS, dir_fd=fd)
            os.close(fd)
            fd = below
            if os.fstat(fd).st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    except OSError:
        os.close(fd)
        raise
    return fd


def stat_below(root_fd: int, path: str) -> os.stat_result:
    """What stands at ``path`` below a root. Raises ``OSError``, where its directory cannot be opened, too."""
    directory, _, name = path.rpartition("/")
    fd = open_directory(root_fd, directory)
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    finally:
        os.close(fd)
