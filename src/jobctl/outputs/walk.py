"""Walk a root: every file that the layout knows, and every place that could not be looked at.

The hot path: names first, a stat only where a name is ours. Never enters ``.jobctl``,
``lost+found`` or ``.snapshot``, never follows a symlink, never crosses into another file
system: what lies there is unknown, not absent.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobctl.core.layout import Layout
from jobctl.model.files import Check, Tier, Verdict
from jobctl.model.records import DirectoryMark
from jobctl.outputs.directories import open_directory
from jobctl.outputs.root import CONTROL_DIRECTORY, OpenRoot, root_clock_ns

NEVER_ENTERED = frozenset({CONTROL_DIRECTORY, "lost+found", ".snapshot"})
_MTIME_GRAIN_NS = 2 * 10**9
"""Some file systems date changes to two seconds: a change within that of a walk may not show."""
_PROGRESS_EVERY = 20_000
_SIGN = 1 << 63
_ODD = {
    stat.S_IFLNK: Check(Verdict.UNSUPPORTED, Tier.STAT, "a symbolic link; it is not followed"),
    stat.S_IFDIR: Check(Verdict.NOT_MEDIA, Tier.STAT, "a directory, not a file"),
    stat.S_IFIFO: Check(Verdict.NOT_MEDIA, Tier.STAT, "a FIFO, not a file; it was not opened"),
    stat.S_IFSOCK: Check(Verdict.NOT_MEDIA, Tier.STAT, "a socket, not a file"),
    stat.S_IFCHR: Check(Verdict.NOT_MEDIA, Tier.STAT, "a device, not a file; it was not opened"),
    stat.S_IFBLK: Check(Verdict.NOT_MEDIA, Tier.STAT, "a device, not a file; it was not opened"),
}
_MOUNTED = Check(Verdict.UNREADABLE, Tier.STAT, "another file system is mounted on it")

Scandir = Callable[[int], Any]


class UnknownSubtree(NamedTuple):
    """A place nothing can be said about."""

    path: str
    reason: str


@dataclass(slots=True)
class WalkResult:
    """What a walk came to, once it has been read to its end. Sizes in bytes."""

    files: int = 0
    bytes: int = 0
    foreign: int = 0
    unknown: list[UnknownSubtree] = field(default_factory=list)
    odd: dict[str, Check] = field(default_factory=dict)
    """Things with names of ours that are no regular files, with their verdict."""
    skipped: set[str] = field(default_factory=set)
    """Directories that were not read because nothing in them can have changed."""
    marks: list[DirectoryMark] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return not self.skipped


@dataclass(slots=True)
class Walk:
    """One walk: iterate it for the files (plain tuples in the order of ``Seen``), then read ``result``."""

    root: OpenRoot
    layout: Layout
    remembered: Mapping[str, DirectoryMark]
    on_progress: Callable[[int], None]
    scandir: Scandir
    result: WalkResult = field(default_factory=WalkResult)
    _children: dict[str, list[str]] = field(default_factory=dict)
    _started_ns: int = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        self._started_ns = root_clock_ns(self.root) or 0
        for path in self.remembered:
            if path:
                self._children.setdefault(os.path.dirname(path), []).append(path)
        waiting = [""]
        walked: set[str] = set()
        while waiting:
            path = waiting.pop()
            walked.add(path)
            mark = self.remembered.get(path)
            if mark is not None and self._is_unchanged(mark):
                self._skip(mark)
                waiting.extend(self._children.get(path, ()))
            else:
                below = yield from self._read(path)
                waiting.extend(below)
        self.result.vanished = [
            path for path in self.remembered if path not in walked and self._is_proven(path)
        ]

    def _is_unchanged(self, mark: DirectoryMark) -> bool:
        if not mark.is_quiet or mark.layout != self.layout.digest:
            return False
        try:
            now = os.stat(mark.path or ".", dir_fd=self.root.fd, follow_symlinks=False)
        except OSError:
            return False
        seen = (signed64(now.st_dev), signed64(now.st_ino), now.st_mtime_ns, now.st_ctime_ns)
        same = seen == (mark.dev, mark.inode, mark.mtime_ns, mark.ctime_ns)
        return same and mark.mtime_ns + _MTIME_GRAIN_NS < mark.walk_started_ns

    def _skip(self, mark: DirectoryMark) -> None:
        result = self.result
        result.skipped.add(mark.path)
        result.files += mark.files
        result.bytes += mark.bytes
        result.foreign += mark.foreign_files

    def _read(self, path: str) -> Generator[tuple[Any, ...], None, list[str]]:
        """Yield the files of one directory; return the paths of those below it."""
        try:
            fd = open_directory(self.root.fd, path)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._unknown(path, error)
            return []
        try:
            return (yield from self._read_open(path, fd))
        except OSError as error:
            self._unknown(path, error)
            return []
        finally:
            os.close(fd)

    def _read_open(self, path: str, fd: int) -> Generator[tuple[Any, ...], None, list[str]]:
        result, root_id, device = self.result, self.root.root_id, self.root.device
        classify, exclude = self.layout.classify, self.layout.exclude | NEVER_ENTERED
        prefix = f"{path}/" if path else ""
        found = os.fstat(fd)
        files = size = foreign = 0
        below: list[str] = []
        with self.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                known = classify(name)
                if known is None:
                    if not entry.is_dir(follow_symlinks=False):
                        foreign += 1
                    elif name not in exclude:
                        below.append(prefix + name)
                    continue
                try:
                    seen = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                files += 1
                size += seen.st_size
                if seen.st_mode & 0o170000 != stat.S_IFREG or seen.st_dev != device:
                    self._note_odd(prefix + name, seen, device, below)
                yield (
                    known[1],
                    root_id,
                    prefix + name,
                    known[0],
                    signed64(seen.st_dev),
                    signed64(seen.st_ino),
                    seen.st_size,
                    seen.st_mtime_ns,
                    seen.st_ctime_ns,
                )
                if files % _PROGRESS_EVERY == 0:
                    self.on_progress(result.files + files)
        result.files += files
        result.bytes += size
        result.foreign += foreign
        self._mark(path, found, files, size, foreign)
        self.on_progress(result.files)
        return below

    def _mark(self, path: str, found: os.stat_result, files: int, size: int, foreign: int) -> None:
        mark = DirectoryMark(
            path=path,
            dev=signed64(found.st_dev),
            inode=signed64(found.st_ino),
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
            walk_started_ns=self._started_ns,
            layout=self.layout.digest,
            is_quiet=False,
            files=files,
            bytes=size,
            foreign_files=foreign,
        )
        self.result.marks.append(mark)

    def _note_odd(self, path: str, seen: os.stat_result, device: int, below: list[str]) -> None:
        kind = stat.S_IFMT(seen.st_mode)
        if kind == stat.S_IFDIR:
            below.append(path)
        self.result.odd[path] = _MOUNTED if seen.st_dev != device else _ODD[kind]

    def _unknown(self, path: str, error: OSError) -> None:
        reason = os.strerror(error.errno or errno.EIO)
        if error.errno == errno.EXDEV:
            reason = "another file system is mounted here"
        elif error.errno in {errno.ELOOP, errno.ENOTDIR}:
            reason = "it was exchanged during the walk"
        self.result.unknown.append(UnknownSubtree(path, reason))

    def _is_proven(self, path: str) -> bool:
        """Whether a directory we did not meet is gone, and not below a place we could not look at."""
        return not any(not place.path or path.startswith(f"{place.path}/") for place in self.result.unknown)


def walk(
    root: OpenRoot,
    layout: Layout,
    *,
    remembered: Mapping[str, DirectoryMark] | None = None,
    on_progress: Callable[[int], None] = lambda _files: None,
    scandir: Scandir = os.scandir,
) -> Walk:
    """Prepare a walk. ``remembered`` are the directories of the last one: unchanged ones are skipped.

    A directory is skipped only if all its files were settled and whole, and its own change
    is old enough that none since could hide in a coarse time stamp.
    """
    return Walk(root, layout, remembered or {}, on_progress, scandir)


def signed64(number: int) -> int:
    """A device or inode number as the databases hold it."""
    return number if number < _SIGN else number - 2 * _SIGN
