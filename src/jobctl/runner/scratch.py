"""Where attempts have their scratch directories: one place for each worker, gone when it is gone.

A worker holds a lock on its place (``flock``) for as long as it lives, so that others can tell whose
worker was killed, and clear those away.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from jobctl import clock

_PREFIX = "jobctl-scratch-"
_YOUNG_S = 60.0
"""A place is made before it is locked."""
_MOST_AT_ONCE = 100


@contextmanager
def scratch_place() -> Iterator[str]:
    """A directory of this worker's own below TMPDIR, removed at the end. Raises ``OSError``."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as place:
        try:
            with _opened(place) as fd:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield place
        finally:
            # What is left then is what nobody may write to, for which more is tried.
            remove(place)


def remove(place: str) -> None:
    """Remove a directory with all that is in it; what cannot be removed stays. Never raises."""
    try:
        shutil.rmtree(place, ignore_errors=True)
    except RecursionError:
        # It goes down by calling itself, and handlers may have dug as deep as they like.
        with suppress(OSError):
            program = ["rm", "-rf", "--", place]
            subprocess.run(program, stderr=subprocess.DEVNULL, check=False)


def clear_left_behind() -> int:
    """Remove the places of this user's workers that were killed; how many there were.

    What is young, locked, somebody else's or no directory stays.
    """
    cleared = 0
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if cleared < _MOST_AT_ONCE and entry.name.startswith(_PREFIX) and _may_go(entry):
                cleared += _is_cleared(entry.path)
    return cleared


def _may_go(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        seen = entry.stat(follow_symlinks=False)
        is_own = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid()
        return is_own and clock.now().timestamp() - seen.st_mtime >= _YOUNG_S
    return False


def _is_cleared(place: str) -> bool:
    with suppress(OSError), _opened(place) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(place)
        return not os.path.lexists(place)
    return False


@contextmanager
def _opened(place: str) -> Iterator[int]:
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
