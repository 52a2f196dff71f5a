"""A digest of findings: their sums, and the first few of each kind. Flat in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from jobctl.model.finding import Finding, FindingKind

CALM_KINDS = frozenset(
    {FindingKind.FOREIGN, FindingKind.UNSETTLED, FindingKind.LEFTOVER, FindingKind.TEMPORARY}
)
"""Kinds that are part of ordinary life: counted, but shown and failed on only when asked for."""


@dataclass(slots=True)
class Digest:
    """What was found. At most ``limit`` findings of each kind are kept as examples.

    ``is_narrow``: something particular was asked for, so that even calm kinds are shown.
    """

    limit: int
    is_narrow: bool = False
    counts: Counter[FindingKind] = field(default_factory=Counter)
    sizes: Counter[FindingKind] = field(default_factory=Counter)
    oldest_mtime_ns: dict[FindingKind, int] = field(default_factory=dict)
    examples: dict[FindingKind, list[Finding]] = field(default_factory=dict)
    acts: bool = False
    """Whether recover does something about any of it."""
    declined: bool = False
    """Whether it would, had an undo not taken that back."""

    def add(self, finding: Finding) -> None:
        """Count one finding, and keep it if it is among the first of its kind."""
        kind = finding.kind
        self.counts[kind] += 1
        self.acts = self.acts or finding.acts
        self.declined = self.declined or finding.is_declined
        self.sizes[kind] += finding.size or 0
        if finding.mtime_ns is not None:
            oldest = self.oldest_mtime_ns.get(kind, finding.mtime_ns)
            self.oldest_mtime_ns[kind] = min(finding.mtime_ns, oldest)
        kept = self.examples.setdefault(kind, [])
        if len(kept) < self.limit:
            kept.append(finding)

    @property
    def kinds(self) -> list[FindingKind]:
        """The kinds that were found, those that recover mends first."""
        return [kind for kind in FindingKind if self.counts[kind]]

    @property
    def is_calm(self) -> bool:
        """Whether nothing was found that was asked for, or that someone should look into."""
        return not self.kinds if self.is_narrow else CALM_KINDS.issuperset(self.kinds)
