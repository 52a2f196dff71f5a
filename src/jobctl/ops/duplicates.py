"""Duplicates among the videos found: the same bytes under two jobs.

Only files of equal size are compared, by SHA-256 of all their bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from jobctl.core.case import Case
from jobctl.model.files import Seen, Tier, Verdict
from jobctl.model.finding import Finding, FindingKind
from jobctl.ops.inspect import Inspector

_WATCHED_KINDS = frozenset({FindingKind.ORPHAN_VIDEO, FindingKind.FINISHED_BUT_OPEN})
_REMEMBERED = 200_000
"""Sizes kept in memory; beyond that many findings at once, later ones are not compared."""


@dataclass(slots=True)
class DuplicateFinder:
    """Notices the videos that findings are about, and tells which of them are the same."""

    inspector: Inspector
    by_size: dict[int, list[Seen]] = field(default_factory=dict)

    def notice(self, finding: Finding) -> None:
        """Remember a whole video for comparison."""
        seen = finding.seen
        if seen is None or finding.kind not in _WATCHED_KINDS or finding.verdict != Verdict.WHOLE:
            return
        if seen.size in self.by_size or len(self.by_size) < _REMEMBERED:
            self.by_size.setdefault(seen.size, []).append(seen)

    def cases(self) -> Iterator[Case]:
        """Give a case for every video whose bytes were seen under another job before it."""
        for group in self.by_size.values():
            if len(group) > 1:
                yield from self._compare(group)

    def _compare(self, group: list[Seen]) -> Iterator[Case]:
        first_with: dict[str, Seen] = {}
        for seen in group:
            probed = self.inspector.look(seen, Tier.DEMUX)
            if probed.sha256 is None:
                continue
            first = first_with.setdefault(probed.sha256, seen)
            if first.key != seen.key:
                yield _told(seen, first)


def _told(seen: Seen, first: Seen) -> Case:
    finding = Finding(
        kind=FindingKind.DUPLICATE,
        job_id=seen.key,
        reason=f"the same bytes as the video of job {first.key}",
        root_id=seen.root_id,
        path=seen.path,
        verdict=Verdict.WHOLE,
        size=seen.size,
        mtime_ns=seen.mtime_ns,
        seen=seen,
    )
    return Case(seen.key, findings=[finding])
