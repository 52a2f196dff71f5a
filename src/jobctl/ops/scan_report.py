"""What a scan is asked for, and what it came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from jobctl.core.ages import Ages
from jobctl.errors import JobctlError
from jobctl.model.files import Tier
from jobctl.model.finding import Finding, FindingKind


@dataclass(slots=True, kw_only=True)
class ScanOptions:
    """What to look at, and how deeply. ``jobs`` narrows what is told, not what is looked at."""

    full: bool = False
    tier: Tier = Tier.TABLES
    root: str | None = None
    include_declined: bool = False
    compares_bytes: bool = True
    """Whether the videos that findings are about are compared with each other, byte for byte."""
    stale_after_s: float | None = None
    """How long without a heartbeat until a job is stale, where not as the settings say."""
    only: tuple[str, ...] | None = None
    """The jobs to look at, in byte order of their ids; ``None``: all. The walk is one of all files."""


class UnknownPlace(NamedTuple):
    """A part of a root that could not be looked at: nothing below it is called missing."""

    root_id: str
    path: str
    reason: str


class RootSeen(NamedTuple):
    """How far one root was seen. ``trouble`` says why it was not opened at all."""

    root_id: str
    path: str
    is_complete: bool
    is_full: bool
    trouble: str | None


@dataclass(slots=True)
class ScanReport:
    """What one scan came to, once it has been read to its end."""

    counts: Counter[FindingKind] = field(default_factory=Counter)
    bytes: Counter[FindingKind] = field(default_factory=Counter)
    oldest_mtime_ns: dict[FindingKind, int] = field(default_factory=dict)
    files: int = 0
    total_bytes: int = 0
    foreign: int = 0
    records: int = 0
    probed: int = 0
    unmatched: int = 0
    """Recorded videos that are on disk, though the layout does not know their names."""
    unknown: list[UnknownPlace] = field(default_factory=list)
    roots: list[RootSeen] = field(default_factory=list)
    errors: list[JobctlError] = field(default_factory=list)
    links: dict[str, list[str]] = field(default_factory=dict)
    """Symbolic links by root."""
    files_of: dict[str, int] = field(default_factory=dict)
    """How many files there are below each root."""
    counts_of: dict[str, Counter[str]] = field(default_factory=dict)
    """The findings below each root."""
    knows_all_references: bool = True
    ages: Ages | None = None
    """The clock that ages are counted by."""
    clock_jump: str | None = None
    """Why the store's clock is found to have jumped since it was last read."""
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every root this host can see was read without a gap."""
        return not self.unknown and all(root.is_complete for root in self.roots)

    @property
    def known_ages(self) -> Ages:
        """The clock that ages are counted by, once there was a walk."""
        if self.ages is None:
            raise RuntimeError("ages are asked for before the walk")
        return self.ages

    def count(self, finding: Finding) -> None:
        """Add one finding to the sums."""
        kind = finding.kind
        self.counts[kind] += 1
        if finding.root_id is not None:
            self.counts_of.setdefault(finding.root_id, Counter())[kind.value] += 1
        self.bytes[kind] += finding.size or 0
        if finding.mtime_ns is not None:
            self.oldest_mtime_ns[kind] = min(
                finding.mtime_ns, self.oldest_mtime_ns.get(kind, finding.mtime_ns)
            )
