"""Directories below a root that files are moved out of or into, each opened and synced once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

from jobctl.errors import DiskFailed
from jobctl.outputs import effects
from jobctl.outputs.directories import open_directory
from jobctl.outputs.root import CONTROL_DIRECTORY, OpenRoot

# Well below the 1,024 descriptors a process may have by default.
_MOST_OPEN = 200
# So that a manifest's line can hold it, however its characters are escaped.
_LONGEST_PATH = 50_000
_LEADING_ASTRAY = frozenset({"", ".", ".."})


def is_confined(path: str) -> bool:
    """Whether a path names something below the root, and nothing of jobctl's own; none is that long."""
    steps = path.split("/")
    return (
        len(path) <= _LONGEST_PATH
        and "\0" not in path
        and steps[0].casefold() != CONTROL_DIRECTORY
        and _LEADING_ASTRAY.isdisjoint(steps)
    )


class Directories:
    """Open directories by their path; only so many at a time, and synced before they are closed."""

    def __init__(self, root: OpenRoot, *, sync_first: Callable[[], None] | None = None) -> None:
        """``sync_first`` syncs what must be on the disk before any of the directories is."""
        self._root = root
        self._sync_first = sync_first
        self._open: dict[str, int] = {}
        self._touched: dict[int, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def open(self, path: str) -> int:
        """The directory at ``path``; valid until the next call. Raises ``OSError`` and ``DiskFailed``."""
        fd = self._open.get(path)
        if fd is None:
            self._make_room()
            fd = self._open[path] = open_directory(self._root.fd, path)
        return fd

    def open_or_make(self, path: str) -> int:
        """As ``open``, and makes the directories that are missing. Raises ``OSError``."""
        missing: list[str] = []
        fd = -1
        while fd < 0:
            try:
                fd = self.open(path)
            except FileNotFoundError:
                path, _, name = path.rpartition("/")
                missing.append(name)
        for name in reversed(missing):
            effects.make_directory(fd, name, 0o777)
            self.touch(fd)
            path = f"{path}/{name}" if path else name
            fd = self.open(path)
        return fd

    def touch(self, fd: int) -> None:
        """Remember that a name in the directory ``fd`` was changed."""
        self._touched[fd] = None

    def sync(self) -> None:
        """Wait until every change is on the disk, and close the directories. Raises ``DiskFailed``."""
        try:
            if self._touched and self._sync_first is not None:
                self._sync_first()
            for fd in self._touched:
                effects.fsync_directory(fd)
        except OSError as error:
            raise DiskFailed(
                f"directories below {self._root.path} cannot be synced ({error.strerror}): files were moved, "
                "and the disk does not say that they stay so; none was lost",
                hint="mend the disk, then run the same command again: it goes on where it stopped",
            ) from None
        self._close()

    def _make_room(self) -> None:
        if len(self._open) >= _MOST_OPEN:
            self.sync()

    def _close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        self._touched.clear()


def why_not_reached(error: OSError) -> str:
    """Why a path cannot be reached, for people."""
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return "a symbolic link or a file stands in its path"
    if error.errno == errno.EXDEV:
        return "another file system is mounted in its path"
    return f"it cannot be reached: {error.strerror}"
