"""Duplicates: which of several files with the same bytes stays, and why.

Pure. A copy that anything refers to stays, since each record keeps a file of its own; of
the others at least one stays, the keeper. Hard links are one file with several names, of
which moving one away saves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import NamedTuple

from jobctl.model.files import FileIdentity
from jobctl.model.names import to_shown


class By(StrEnum):
    """What makes duplicates."""

    BYTES = "bytes"
    REQUEST = "request"


class Part(StrEnum):
    """What a file, or a job, is to its group."""

    KEEPER = "keeper"
    COPY = "copy"
    SAME_FILE = "same-file"


class Copy(NamedTuple):
    """One name of a file of a group, and what refers to it. ``job_id`` is empty where it names no job.

    ``named_by``: the jobs whose records list this very file as present; ``table_row``: the
    row of a reference table that names its job; ``links``: under how many names the file
    system has the file, ``None`` where that was not looked at.
    """

    root_id: str
    path: str
    job_id: str
    identity: FileIdentity
    named_by: tuple[str, ...] = ()
    has_record: bool = False
    is_pinned: bool = False
    table_row: str = ""
    links: int | None = None


class JudgedCopy(NamedTuple):
    """A copy, its part, why, and whether it may be moved to quarantine."""

    copy: Copy
    part: Part
    reason: str
    may_go: bool


class _Tie(IntEnum):
    """What binds a copy to its place; the first is the strongest."""

    LISTED = 0
    RECORDED = 1
    PINNED = 2
    IN_TABLE = 3
    NONE = 4


class _Bound(NamedTuple):
    """A copy and its strongest tie, as a sentence."""

    copy: Copy
    tie: _Tie
    why: str

    @property
    def order(self) -> tuple[int, int, str, str]:
        return self.tie, self.copy.identity.mtime_ns, self.copy.path, self.copy.root_id


_File = list[_Bound]
"""The names of one inode, the one to be kept first."""


def judge_copies(copies: Sequence[Copy], *, doubt: str = "") -> list[JudgedCopy]:
    """The copies of one group, keeper first, each with its part and its reason.

    ``doubt``: why nothing of this group may go, whatever else is known of it.
    """
    files = _files(copies)
    keeper = files[0][0]
    judged = [JudgedCopy(keeper.copy, Part.KEEPER, _why_keeper(files), may_go=False)]
    judged += _other_names(files[0])
    for file in files[1:]:
        judged.append(_judged_copy(file, keeper, doubt))
        judged += _other_names(file)
    return judged


def _files(copies: Sequence[Copy]) -> list[_File]:
    """The copies by inode, the keeper's first."""
    owners = {job_id for copy in copies for job_id in copy.named_by}
    files: dict[tuple[int, ...], _File] = {}
    for bound in sorted((_bind(copy, owners) for copy in copies), key=lambda bound: bound.order):
        # Whatever its device number: one file may be seen through two mounts, or in a snapshot.
        files.setdefault(bound.copy.identity[1:], []).append(bound)
    return list(files.values())


def _bind(copy: Copy, owners: set[str]) -> _Bound:
    if copy.named_by:
        more = f" and {len(copy.named_by) - 1} more" if len(copy.named_by) > 1 else ""
        return _Bound(copy, _Tie.LISTED, f"the record of job {to_shown(copy.named_by[0])}{more} names it")
    if copy.has_record and copy.job_id not in owners:
        return _Bound(copy, _Tie.RECORDED, "its job is recorded, and its record names none of the others")
    if copy.is_pinned:
        return _Bound(copy, _Tie.PINNED, "it was given back from quarantine")
    if copy.table_row:
        return _Bound(copy, _Tie.IN_TABLE, f"{to_shown(copy.table_row)} refers to its job")
    return _Bound(copy, _Tie.NONE, "")


def _why_keeper(files: Sequence[_File]) -> str:
    keeper = files[0][0]
    if keeper.why:
        return f"it stays: {keeper.why}"
    if len(files) == 1:
        return "the only file with these bytes"
    if files[1][0].copy.identity.mtime_ns > keeper.copy.identity.mtime_ns:
        return "nothing refers to any of them, and it is the oldest"
    return "nothing refers to any of them; among the oldest its path comes first"


def _judged_copy(file: _File, keeper: _Bound, doubt: str) -> JudgedCopy:
    copy, why = file[0].copy, file[0].why
    stays = f"it stays as well: {why}" if why else doubt or _why_not_alone(file)
    if stays:
        return JudgedCopy(copy, Part.COPY, stays, may_go=False)
    reason = f"nothing refers to it, and {_place(keeper.copy, copy)} has the same bytes"
    return JudgedCopy(copy, Part.COPY, reason, may_go=True)


def _why_not_alone(file: _File) -> str:
    links = file[0].copy.links
    if len(file) > 1:
        return "it has several names (hard links): moving one of them would save nothing"
    if links is not None and links > 1:
        return "it has another name elsewhere (a hard link): moving this one would save nothing"
    return ""


def _other_names(file: _File) -> list[JudgedCopy]:
    first = file[0].copy
    return [
        JudgedCopy(copy, Part.SAME_FILE, f"a hard link: the same file as {_place(first, copy)}", may_go=False)
        for copy, _, _ in file[1:]
    ]


def _place(copy: Copy, beside: Copy) -> str:
    """How a file is named beside another; its root is told where it is another one."""
    path = to_shown(copy.path)
    return path if copy.root_id == beside.root_id else f"{path} in root {copy.root_id}"


class CopyGroup(NamedTuple):
    """Files with the same bytes, the keeper first. ``group_id`` tells the group from others."""

    group_id: str
    judged: list[JudgedCopy]

    @property
    def bytes_to_save(self) -> int:
        """How many bytes the copies that may go take up."""
        return sum(each.copy.identity.size for each in self.judged if each.may_go)
