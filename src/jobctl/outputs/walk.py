"""Walk a root: every file that the layout knows, and every place that could not be looked at.

The hot path: names first, a stat only where a name is ours. Never enters ``.jobctl``,
``lost+found`` or ``.snapshot``, never follows a symlink, never crosses into another file
system: what lies there is unknown, not absent.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from jobctl.core.layout import Layout
from jobctl.model.files import Check, Tier, Verdict
from jobctl.model.names import to_stored
from jobctl.model.records import DirectoryMark
from jobctl.outputs.directories import open_directory
from jobctl.outputs.file_systems import mount_points
from jobctl.outputs.root import CONTROL_DIRECTORY, OpenRoot, root_clock_ns
from jobctl.outputs.stats import Found, SecondProcess, signed64, stat_all, within64

NEVER_ENTERED = frozenset({CONTROL_DIRECTORY, "lost+found", ".snapshot"})
_MTIME_GRAIN_NS = 2 * 10**9
"""Some file systems date changes to two seconds: a change within that of a walk may not show."""
_BATCH = 250
_LONGEST_NAME = "\udcff" * 255
"""The name that takes most room where it is stored: four bytes for each that is not UTF-8."""
_ODD = {
    stat.S_IFLNK: Check(Verdict.UNSUPPORTED, Tier.STAT, "a symbolic link; it is not followed"),
    stat.S_IFDIR: Check(Verdict.NOT_MEDIA, Tier.STAT, "a directory, not a file"),
    stat.S_IFIFO: Check(Verdict.NOT_MEDIA, Tier.STAT, "a FIFO, not a file; it was not opened"),
    stat.S_IFSOCK: Check(Verdict.NOT_MEDIA, Tier.STAT, "a socket, not a file"),
    stat.S_IFCHR: Check(Verdict.NOT_MEDIA, Tier.STAT, "a device, not a file; it was not opened"),
    stat.S_IFBLK: Check(Verdict.NOT_MEDIA, Tier.STAT, "a device, not a file; it was not opened"),
}
_MOUNTED = Check(Verdict.UNREADABLE, Tier.STAT, "another file system is mounted on it")
_REASONS = {
    errno.EXDEV: "another file system is mounted here",
    errno.ELOOP: "it was exchanged during the walk",
    errno.ENOTDIR: "it was exchanged during the walk",
    errno.ENOENT: "it was moved or removed during the walk",
}

# The mark of a directory that could not be read: no directory is ever like it, and none like it skipped.
_NEVER_SEEN = DirectoryMark(
    path="",
    dev=0,
    inode=0,
    mtime_ns=0,
    ctime_ns=0,
    walk_started_ns=0,
    layout="",
    is_quiet=False,
    files=0,
    bytes=0,
    foreign_files=0,
)

Scandir = Callable[[int], Any]
Row = tuple[str, str, str, str, int, int, int, int, int]
"""The fields of ``Seen``, in its order."""


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
    """Remembered directories that are gone."""
    links: list[str] = field(default_factory=list)
    """Symbolic links: what they lead to is in use under another name."""

    @property
    def is_full(self) -> bool:
        return not self.skipped


@dataclass(slots=True)
class _Directory:
    """A directory being read, as it was before its first name was."""

    path: str
    identity: os.stat_result
    files: int = 0
    bytes: int = 0
    foreign: int = 0

    @property
    def prefix(self) -> str:
        return f"{self.path}/" if self.path else ""


@dataclass(slots=True)
class _Batch:
    """Names of one directory that the layout knows, with the role and job id of each."""

    directory: _Directory
    names: list[str]
    meanings: list[tuple[str, str]]


@dataclass(slots=True)
class Walk:
    """One walk: iterate it for the files (plain tuples in the order of ``Seen``), then read ``result``."""

    root: OpenRoot
    layout: Layout
    remembered: Mapping[str, DirectoryMark]
    on_progress: Callable[[int], None]
    scandir: Scandir
    longest_path: int | None = None
    result: WalkResult = field(default_factory=WalkResult)
    _waiting: list[str] = field(default_factory=lambda: [""])
    _read_ones: list[_Directory] = field(default_factory=list)
    _mount_points: frozenset[str] | None = None

    def __iter__(self) -> Iterator[Row]:
        started_ns = root_clock_ns(self.root) or 0
        below = _by_parent(self.remembered)
        visited: set[str] = set()
        with SecondProcess[_Batch]() as second:
            while self._waiting:
                path = self._waiting.pop()
                visited.add(path)
                mark = self.remembered.get(path)
                if mark is not None and self._is_unchanged(mark):
                    self._skip(mark)
                    self._waiting.extend(below.get(path, ()))
                else:
                    for rows in self._read(path, second):
                        yield from rows
                if not self._waiting:
                    # A directory that bears a file's name is only found out by its stat.
                    for rows in self._answered(second, wait=True):
                        yield from rows
        self._conclude(started_ns, visited)

    def _is_unchanged(self, mark: DirectoryMark) -> bool:
        if not mark.is_quiet or mark.layout != self.layout.digest:
            return False
        try:
            now = os.stat(mark.path or ".", dir_fd=self.root.fd, follow_symlinks=False)
        except OSError:
            return False
        seen = (signed64(now.st_dev), signed64(now.st_ino), within64(now.st_mtime_ns), now.st_ctime_ns)
        same = seen == (mark.dev, mark.inode, mark.mtime_ns, mark.ctime_ns)
        # A copy that keeps times sets mtime back after it made names; ctime cannot be set.
        return same and max(mark.mtime_ns, mark.ctime_ns) + _MTIME_GRAIN_NS < mark.walk_started_ns

    def _skip(self, mark: DirectoryMark) -> None:
        result = self.result
        result.skipped.add(mark.path)
        result.files += mark.files
        result.bytes += mark.bytes
        result.foreign += mark.foreign_files

    def _read(self, path: str, second: SecondProcess[_Batch]) -> Iterator[list[Row]]:
        """Yield files of one directory, and those of others that the second process is done with."""
        try:
            fd = open_directory(self.root.fd, path)
        except OSError as error:
            self._unknown(path, error)
            return
        try:
            directory = _Directory(path, os.fstat(fd))
            self._read_ones.append(directory)
            for batch in self._batches(directory, fd):
                if not second.take(fd, batch):
                    yield self._rows(batch, stat_all(fd, batch.names))
                yield from self._answered(second, wait=False)
        except OSError as error:
            self._unknown(path, error)
        finally:
            os.close(fd)

    def _batches(self, directory: _Directory, fd: int) -> Iterator[_Batch]:
        """Read the names of a directory, and keep those the layout knows."""
        classify = _foreign if self.layout.excludes(directory.path) else self.layout.classify
        prefix = directory.prefix
        names: list[str] = []
        meanings: list[tuple[str, str]] = []
        with self.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                known = classify(name)
                if known is not None:
                    names.append(name)
                    meanings.append(known)
                    if len(names) == _BATCH:
                        yield _Batch(directory, names, meanings)
                        names, meanings = [], []
                elif not entry.is_dir(follow_symlinks=False):
                    directory.foreign += 1
                    if entry.is_symlink():
                        self.result.links.append(prefix + name)
                elif name not in NEVER_ENTERED:
                    self._waiting.append(prefix + name)
        self.result.foreign += directory.foreign
        if names:
            yield _Batch(directory, names, meanings)

    def _answered(self, second: SecondProcess[_Batch], *, wait: bool) -> Iterator[list[Row]]:
        """Yield the files that the second process has looked at, or this one has in its place."""
        for batch, answer in second.answered(wait=wait):
            try:
                rows = self._rows(batch, self._look_again(batch) if answer is None else answer)
            except OSError as error:
                self._unknown(batch.directory.path, error)
            else:
                yield rows

    def _look_again(self, batch: _Batch) -> list[Found]:
        fd = open_directory(self.root.fd, batch.directory.path)
        try:
            return stat_all(fd, batch.names)
        finally:
            os.close(fd)

    def _rows(self, batch: _Batch, answer: list[Found] | OSError) -> list[Row]:
        if isinstance(answer, OSError):
            raise answer
        directory, root_id, device = batch.directory, self.root.root_id, signed64(self.root.device)
        prefix, regular, kind = directory.prefix, stat.S_IFREG, 0o170000
        rows = [
            (key, root_id, prefix + name, role, dev, inode, size, mtime_ns, ctime_ns)
            for name, (role, key), (mode, dev, inode, size, mtime_ns, ctime_ns) in zip(
                batch.names, batch.meanings, answer, strict=True
            )
            if (mode & kind == regular and dev == device)
            or self._tell_odd(prefix + name, mode, dev == device)
        ]
        if not self._is_kept(prefix + _LONGEST_NAME):
            rows = [row for row in rows if self._is_kept(row[2]) or self._tell_too_long(row[2])]
        size = sum(map(itemgetter(6), rows))
        directory.files += len(rows)
        directory.bytes += size
        self.result.files += len(rows)
        self.result.bytes += size
        self.on_progress(self.result.files)
        return rows

    def _tell_odd(self, path: str, mode: int, is_same_device: bool) -> bool:  # noqa: FBT001 - in the hot loop
        """Note what bears a name of ours and is no file of this file system; False: it is gone already."""
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFDIR:
            self._waiting.append(path)
        if kind == stat.S_IFLNK:
            self.result.links.append(path)
        if kind in _ODD:
            self.result.odd[path] = _ODD[kind]
        elif kind and not is_same_device and self._is_mounted(path):
            self.result.odd[path] = _MOUNTED
        return bool(kind)

    def _is_mounted(self, path: str) -> bool:
        """Whether a file is a mount of its own: layered file systems give files other device numbers too."""
        if self._mount_points is None:
            self._mount_points = mount_points()
        return os.path.join(self.root.path, path) in self._mount_points

    def _is_kept(self, path: str) -> bool:
        """Whether a path is short enough to be stored."""
        longest = self.longest_path
        return longest is None or 4 * len(path) <= longest or _stored_bytes(path) <= longest

    def _tell_too_long(self, path: str) -> bool:
        """Note a file as unknown whose path is not kept."""
        size = _stored_bytes(path)
        why = f"its path has {size:,} bytes, and the store keeps no more than {self.longest_path:,}"
        self._note_unknown(path, why)
        return False

    def _unknown(self, path: str, error: OSError) -> None:
        reason = _REASONS.get(error.errno or 0) or os.strerror(error.errno or errno.EIO)
        self._note_unknown(path, reason)

    def _note_unknown(self, path: str, reason: str) -> None:
        """Note a place that could not be looked at, unless nothing of ours can be there."""
        if not self.layout.excludes(path):
            self.result.unknown.append(UnknownSubtree(path, reason))

    def _conclude(self, started_ns: int, visited: set[str]) -> None:
        """Mark what was read, and each gap: then it is looked at again also where all above it is skipped."""
        result = self.result
        gaps = {place.path for place in result.unknown}
        # What lies below a path that cannot be kept is come upon again by way of the nearest that can.
        long_ones = {directory.path for directory in self._read_ones if not self._is_kept(directory.path)}
        anew = {self._nearest_kept(path) for path in gaps | long_ones}
        unmarked = anew | long_ones
        for directory in self._read_ones:
            if directory.path not in unmarked:
                result.marks.append(self._mark(directory, started_ns))
        result.marks += [_NEVER_SEEN._replace(path=path) for path in anew]
        result.vanished = [
            path for path in self.remembered if path not in visited and not _is_below(path, gaps)
        ]

    def _nearest_kept(self, path: str) -> str:
        while not self._is_kept(path):
            path = os.path.dirname(path)
        return path

    def _mark(self, directory: _Directory, started_ns: int) -> DirectoryMark:
        found = directory.identity
        return DirectoryMark(
            path=directory.path,
            dev=signed64(found.st_dev),
            inode=signed64(found.st_ino),
            mtime_ns=within64(found.st_mtime_ns),
            ctime_ns=found.st_ctime_ns,
            walk_started_ns=started_ns,
            layout=self.layout.digest,
            is_quiet=False,
            files=directory.files,
            bytes=directory.bytes,
            foreign_files=directory.foreign,
        )


def walk(
    root: OpenRoot,
    layout: Layout,
    *,
    remembered: Mapping[str, DirectoryMark] | None = None,
    longest_path: int | None = None,
    on_progress: Callable[[int], None] = lambda _files: None,
    scandir: Scandir = os.scandir,
) -> Walk:
    """Prepare a walk. ``remembered`` are the directories of the last one: unchanged ones are skipped.

    A directory is skipped only if all its files were settled and whole, and its own change
    is old enough that none since could hide in a coarse time stamp. ``longest_path``: how many bytes
    of a path can be stored; a file whose path has more is unknown.
    """
    return Walk(root, layout, remembered or {}, on_progress, scandir, longest_path)


def _stored_bytes(path: str) -> int:
    return len(to_stored(path).encode())


def _foreign(name: str) -> None:
    """The meaning of every name in a directory that the layout excludes."""
    del name


def _by_parent(paths: Mapping[str, object]) -> dict[str, list[str]]:
    below: dict[str, list[str]] = {}
    for path in paths:
        if path:
            below.setdefault(os.path.dirname(path), []).append(path)
    return below


def _is_below(path: str, gaps: set[str]) -> bool:
    """Whether a directory we did not meet may still be there, in a place we could not look at."""
    while path and path not in gaps:
        path = os.path.dirname(path)
    return path in gaps
