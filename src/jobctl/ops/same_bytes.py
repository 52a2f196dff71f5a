"""Same bytes: files compared by size, then by their ends, then by all their bytes. Flat in memory.

Each stage reads only what the one before could not tell apart. The names of one inode stay
together: they are read once, and are one file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple, Self

from jobctl.core.duplicates import Copy, CopyGroup, judge_copies
from jobctl.model.files import Seen
from jobctl.ops.inspect import Inspector
from jobctl.ops.references import References
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.ops.sources import SourcesRead
from jobctl.outputs.fingerprint import FileChanged, Reach
from jobctl.outputs.spool import Spool
from jobctl.store import referrers
from jobctl.store.engine import Connection

_BATCH = 200
_MIB = 1 << 20
_LARGEST = (1 << 64) - 1
_SHA256 = re.compile("[0-9a-f]{64}")

_Row = tuple[Any, ...]
"""A sort key, the nine fields of ``Seen``, and the number of names, ``None`` where it is not known."""


class LeftOut(NamedTuple):
    """A file that was not compared, and why. ``is_unreadable``: not because it changes."""

    root_id: str
    path: str
    reason: str
    is_unreadable: bool


@dataclass(slots=True)
class ByteComparison:
    """Takes files, then gives the groups of those that have the same bytes, the largest files first.

    ``trusts_records``: take the checksum from the record of a file that has not changed since,
    instead of reading all of it.
    """

    site: Site
    inspector: Inspector
    progress: ProgressSink
    trusts_records: bool
    left_out: list[LeftOut] = field(default_factory=list)
    _files: Spool = field(default_factory=Spool)
    _doubtful: set[int] = field(default_factory=set)
    _bytes_read: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._stack.enter_context(self._files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, seen: Seen) -> None:
        """Take a whole video."""
        self._files.add((_key("", seen), *seen, None))

    def leave_out(self, seen: Seen, reason: str, *, is_unreadable: bool) -> None:
        """Note that a file cannot be compared: where it cannot be read, none of its size may go."""
        self.left_out.append(LeftOut(seen.root_id, seen.path, reason, is_unreadable))
        if is_unreadable:
            self._doubtful.add(seen.size)

    def groups(self, sources: SourcesRead) -> Iterator[CopyGroup]:
        """The groups, each judged. ``sources``: the tables that may refer to files."""
        told = self._stack.enter_context(Spool())
        by_ends = self._stack.enter_context(Spool())
        for file in _contested(self._files, told):
            self._read(file, Reach.ENDS, by_ends)
        by_bytes = self._stack.enter_context(Spool())
        contested = _contested(by_ends, told)
        while batch := list(islice(contested, _BATCH)):
            known = self._known_checksums(batch) if self.trusts_records else {}
            for file in batch:
                checksum = known.get(_place(file[0]))
                if checksum is None:
                    self._read(file, Reach.WHOLE, by_bytes)
                else:
                    _pass_on(file, f"sha256:{checksum}", file[0][-1], by_bytes)
        for file in _contested(by_bytes, told):
            for row in file:
                told.add(row)
        yield from self._judged(told, sources)

    def _read(self, file: list[_Row], reach: Reach, into: Spool) -> None:
        """Put a file where those of the same fingerprint will lie beside it."""
        try:
            found = self.inspector.fingerprint(_seen(file[0]), reach, on_bytes=self._count)
        except FileChanged as changed:
            self._leave_all_out(file, str(changed), is_unreadable=False)
        except FileNotFoundError:
            self._leave_all_out(file, "it is gone since it was seen", is_unreadable=False)
        except OSError as error:
            self._leave_all_out(file, f"it cannot be read: {error.strerror}", is_unreadable=True)
        else:
            digest = f"sha256:{found.sha256}" if reach is Reach.WHOLE else found.sha256
            _pass_on(file, digest, found.links, into)

    def _leave_all_out(self, file: list[_Row], reason: str, *, is_unreadable: bool) -> None:
        for row in file:
            self.leave_out(_seen(row), reason, is_unreadable=is_unreadable)

    def _count(self, bytes_read: int) -> None:
        self._bytes_read += bytes_read
        self.progress(Progress("hash", self._bytes_read // _MIB))

    def _known_checksums(self, files: Iterable[list[_Row]]) -> dict[tuple[str, str], str]:
        """The checksums that records have of files that are still as they were then, by the first name."""
        firsts = {_place(file[0]): _seen(file[0]) for file in files}
        known = {}
        with self.site.store.read() as connection:
            for root_id, paths in _by_root(firsts.values()).items():
                for row in referrers.files_listed(connection, root_id, paths):
                    seen = firsts[root_id, row.path]
                    if _SHA256.fullmatch(row.sha256 or "") and (row.size, row.mtime_ns) == (
                        seen.size,
                        seen.mtime_ns,
                    ):
                        known[root_id, row.path] = row.sha256 or ""
        return known

    def _judged(self, told: Spool, sources: SourcesRead) -> Iterator[CopyGroup]:
        doubt = ""
        if not sources.knows_all_references:
            names = ", ".join(sources.unread)
            doubt = f"it cannot be told whether something refers to it: {names} could not be read"
        groups = ((group_id, list(rows)) for group_id, rows in groupby(told.in_order(), key=_crowd))
        while batch := list(islice(groups, _BATCH)):
            bonds = self._bonds([_seen(row) for _, rows in batch for row in rows], sources)
            for crowd, rows in batch:
                copies = [bonds.copy(_seen(row), row[-1]) for row in rows]
                why = self._why_doubtful(rows[0]) or doubt
                yield CopyGroup(crowd.partition(" ")[2], judge_copies(copies, doubt=why))

    def _why_doubtful(self, row: _Row) -> str:
        if _seen(row).size not in self._doubtful:
            return ""
        return "a file of the same size could not be read, so it is not known what else is the same"

    def _bonds(self, files: list[Seen], sources: SourcesRead) -> _Bonds:
        with self.site.store.read() as connection:
            bonds = _read_bonds(connection, files)
        references = References(sources)
        for job_id in {seen.key for seen in files if seen.key}:
            bonds.in_table[job_id] = references.to_job(job_id) or ""
        return bonds


@dataclass(slots=True)
class _Bonds:
    """What refers to some files, by place or by job."""

    listed: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    pinned: set[tuple[str, str, int, int, int]] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)
    in_table: dict[str, str] = field(default_factory=dict)

    def copy(self, seen: Seen, links: int | None) -> Copy:
        """The file with what refers to it."""
        return Copy(
            seen.root_id,
            seen.path,
            seen.key,
            seen.identity,
            named_by=tuple(self.listed.get((seen.root_id, seen.path), ())),
            has_record=seen.key in self.versions,
            is_pinned=(seen.root_id, seen.path, seen.inode, seen.size, seen.mtime_ns) in self.pinned,
            table_row=self.in_table.get(seen.key, ""),
            links=links,
        )


def _read_bonds(connection: Connection, files: list[Seen]) -> _Bonds:
    bonds = _Bonds()
    for root_id, paths in _by_root(files).items():
        for row in referrers.files_listed(connection, root_id, paths):
            if row.state == "present":
                bonds.listed.setdefault((root_id, row.path), []).append(row.job_id)
        for pinned in referrers.files_pinned(connection, root_id, paths):
            bonds.pinned.add((root_id, *pinned))
    bonds.versions = referrers.versions_of(connection, {seen.key for seen in files if seen.key})
    return bonds


def _by_root(files: Iterable[Seen]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = {}
    for seen in files:
        paths.setdefault(seen.root_id, []).append(seen.path)
    return paths


def _key(digest: str, seen: Seen) -> str:
    """What brings the same together, the largest first, and the names of one inode next to each other."""
    return f"{_LARGEST - seen.size:016x} {digest} {seen.dev}:{seen.inode}"


def _crowd(row: _Row) -> str:
    """What all files share that may still be the same."""
    key: str = row[0]
    return key.rpartition(" ")[0]


def _seen(row: _Row) -> Seen:
    return Seen._make(row[1:10])


def _place(row: _Row) -> tuple[str, str]:
    seen = _seen(row)
    return seen.root_id, seen.path


def _contested(spool: Spool, told: Spool) -> Iterator[list[_Row]]:
    """The files, each with all its names, that may be the same as another.

    One that is not, but has several names, is passed on to be told.
    """
    for _, crowd in groupby(spool.in_order(), key=_crowd):
        files = (list(names) for _, names in groupby(crowd, key=itemgetter(0)))
        first, second = next(files), next(files, None)
        if second is not None:
            yield from chain((first, second), files)
        elif len(first) > 1:
            seen = _seen(first[0])
            _pass_on(first, f"inode:{seen.dev}:{seen.inode}", first[0][-1], told)


def _pass_on(file: list[_Row], digest: str, links: int | None, into: Spool) -> None:
    for row in file:
        into.add((_key(digest, _seen(row)), *row[1:10], links))
