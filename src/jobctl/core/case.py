"""Cases: everything known of one job, and how far a scan can speak of what it did not see. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jobctl.core.accounts import Account
from jobctl.model.files import Check, Role, Seen, Verdict
from jobctl.model.finding import Finding
from jobctl.model.records import Declined, Linked, LooseSince, Record, Tombstone


class Candidate(NamedTuple):
    """A file and what its check said; ``check`` is ``None`` for roles that are not checked."""

    seen: Seen
    check: Check | None

    @property
    def verdict(self) -> Verdict | None:
        return self.check.verdict if self.check else None


class Liveness(NamedTuple):
    """What is known of an executor: ``alive``, ``dead`` or ``unknown``, and by what proof."""

    state: str
    reason: str


UNKNOWN_EXECUTOR = Liveness("unknown", "nothing is known of its executor")


@dataclass(slots=True)
class Case:
    """Everything known of one job: its record, its files, what was decided about it before.

    ``account``: what other evidence says of it; ``references``: where other tables name it so
    that its files are kept.
    """

    key: str
    record: Record | None = None
    files: Sequence[Candidate] = ()
    linked: Sequence[Linked] = ()
    tombstone: Tombstone | None = None
    declined: Sequence[Declined] = ()
    liveness: Liveness = UNKNOWN_EXECUTOR
    is_leased: bool = False
    """A worker of the runner holds it: only its rescue can tell which file its attempt published."""
    account: Account | None = None
    references: Sequence[str] = ()
    loose: Sequence[LooseSince] = ()
    """Which of its files an earlier walk found to be free, and since when."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def videos(self) -> list[Candidate]:
        return [candidate for candidate in self.files if candidate.seen.role == Role.VIDEO]

    @property
    def named(self) -> list[Candidate]:
        """The files that have the name they were meant to get."""
        return [candidate for candidate in self.files if candidate.seen.role != Role.TEMPORARY]

    @property
    def whole_videos(self) -> list[Candidate]:
        return [candidate for candidate in self.videos if candidate.verdict == Verdict.WHOLE]

    def decline_of(self, seen: Seen) -> Declined | None:
        """The mark an undo left on this very file, if any."""
        for mark in self.declined:
            same_place = (mark.root_id, mark.path) == (seen.root_id, seen.path)
            if same_place and (mark.inode, mark.size, mark.mtime_ns) == (
                seen.inode,
                seen.size,
                seen.mtime_ns,
            ):
                return mark
        return None


class RootCoverage(NamedTuple):
    """How far this walk can speak about one root."""

    is_visible: bool
    is_complete: bool
    is_suspended: bool
    unknown: tuple[str, ...] = ()


class World(NamedTuple):
    """What holds for every case of one scan. Moments as 27 characters of text."""

    coverage: Mapping[str, RootCoverage]
    walk_started_at: str
    stale_before: str

    def why_absence_is_unproven(self, root_id: str | None) -> str | None:
        """The reason why a file not seen may still exist; ``None`` where its absence is proven.

        A record that names no root needs every registered root.
        """
        wanted = self.coverage.items() if root_id is None else [(root_id, self.coverage.get(root_id))]
        for name, coverage in wanted:
            reason = _why_unproven(name, coverage)
            if reason:
                return reason
        return None if self.coverage else "no root is registered"


def _why_unproven(root_id: str, coverage: RootCoverage | None) -> str | None:
    if coverage is None or not coverage.is_visible:
        return f"root {root_id} cannot be seen from this host"
    if not coverage.is_complete:
        where = f" below {coverage.unknown[0]!r}" if coverage.unknown else ""
        return f"root {root_id} was not read completely{where}"
    if coverage.is_suspended:
        return f"an older store or root was put back; a complete recover of root {root_id} comes first"
    return None
