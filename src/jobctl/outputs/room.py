"""What a file system still takes: bytes and files by its own count, and whether it lets us write at all."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

_BLOCK = b"\0" * 4_096
_WITHOUT_NAME = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


class Room(NamedTuple):
    """What is left of a file system. ``files`` is 0 where it does not count them."""

    bytes: int
    bytes_free: int
    files: int
    files_free: int


def room_of(path: str | int) -> Room:
    """What is left where a directory lies, named or open, for users who are not root. Raises ``OSError``."""
    told = os.statvfs(path)
    size = told.f_frsize
    return Room(told.f_blocks * size, told.f_bavail * size, told.f_files, told.f_favail)


def why_no_file(directory_fd: int) -> OSError | None:
    """Why no file can be made and written in a directory; ``None`` where it can. Leaves nothing behind."""
    try:
        fd = os.open(".", _WITHOUT_NAME, 0o600, dir_fd=directory_fd)
    except OSError as error:
        return _why_no_access(directory_fd) if error.errno in _UNSUPPORTED else error
    try:
        os.write(fd, _BLOCK)
    except OSError as error:
        return error
    finally:
        os.close(fd)
    return None


def _why_no_access(directory_fd: int) -> OSError | None:
    """For file systems that know no files without a name: what the permissions say."""
    if os.access(".", os.W_OK | os.X_OK, dir_fd=directory_fd, effective_ids=True):
        return None
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES))
