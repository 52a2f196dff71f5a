"""Hear when somebody writes to a file, without looking again and again. See inotify(7)."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

_IN_MODIFY = 0x2
_READ_AT_ONCE = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """Becomes readable when a file is written to. Raises ``OSError`` where that cannot be heard of."""

    def __init__(self, path: str) -> None:
        self.fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            _checked(_libc.inotify_add_watch(self.fd, os.fsencode(path), _IN_MODIFY))
        except OSError:
            self.close()
            raise

    def drain(self) -> bool:
        """Whether somebody wrote since the last call."""
        heard = False
        with suppress(BlockingIOError):
            while os.read(self.fd, _READ_AT_ONCE):
                heard = True
        return heard

    def close(self) -> None:
        os.close(self.fd)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
