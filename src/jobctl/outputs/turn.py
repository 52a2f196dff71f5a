"""Whose turn it is to move files below a root: one process at a time, by the kernel's word.

An exclusive flock(2) on ``.jobctl/lock``. A stopped process keeps it, a dead one loses it at
once, so that nothing has to be judged by age. The file itself is never removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from jobctl.errors import JobctlError, Locked, RootRefused
from jobctl.outputs import effects
from jobctl.outputs.directories import open_directory
from jobctl.outputs.root import CONTROL_DIRECTORY, OpenRoot

LOCK = "lock"
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TAKEN = frozenset({errno.EWOULDBLOCK, errno.EACCES})


@contextmanager
def hold_files(root: OpenRoot) -> Iterator[None]:
    """Be the only process on any host that moves files below ``root``, for the length of the block.

    Raises ``Locked`` where another one is, and ``RootRefused`` where such locks do not work;
    nothing was moved then.
    """
    try:
        control = open_directory(root.fd, CONTROL_DIRECTORY)
    except OSError as error:
        raise _refused(root, error.strerror) from None
    try:
        fd = _locked(root, control)
        try:
            _prove(root, control)
            yield
        finally:
            os.close(fd)
    finally:
        os.close(control)


def _locked(root: OpenRoot, control: int) -> int:
    try:
        fd = _open_or_create(control)
    except OSError as error:
        raise _refused(root, error.strerror) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _refused(root, "it is no regular file")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise (_taken(root) if error.errno in _TAKEN else _refused(root, error.strerror)) from None
    except JobctlError:
        os.close(fd)
        raise
    return fd


def _open_or_create(control: int) -> int:
    try:
        return os.open(LOCK, _FLAGS, dir_fd=control)
    except FileNotFoundError:
        try:
            return effects.create_file(control, LOCK)
        except FileExistsError:
            return os.open(LOCK, _FLAGS, dir_fd=control)


def _prove(root: OpenRoot, control: int) -> None:
    """A lock that can be taken twice is none: some file systems say yes to everybody."""
    try:
        second = os.open(LOCK, _FLAGS, dir_fd=control)
    except OSError as error:
        raise _refused(root, error.strerror) from None
    try:
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return
        raise _refused(root, error.strerror) from None
    finally:
        os.close(second)
    raise _refused(root, "two descriptors were given the lock at once")


def _taken(root: OpenRoot) -> Locked:
    return Locked(
        f"another run is moving files below {root.path}; nothing was changed",
        hint="see which: jobctl runs; wait until it ended, or end that process if it hangs",
    )


def _refused(root: OpenRoot, why: str | None) -> RootRefused:
    return RootRefused(
        f"files below {root.path} cannot be moved safely: moves refused, since locking "
        f"{CONTROL_DIRECTORY}/{LOCK} does not work there ({why}); nothing was changed",
        hint="mend .jobctl, or run this on the host whose own disk it is; all that moves no files works",
    )
