"""Custody: notes since when files may go, so that only what two complete walks found free is moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jobctl.core.ages import Ages
from jobctl.core.case import Case
from jobctl.core.custody import Judgement, judge
from jobctl.model.records import LooseSince
from jobctl.ops.site import Site
from jobctl.store import loose


@dataclass(slots=True)
class Custody:
    """Compares what may go now with what an earlier walk noted.

    ``complete``: the roots that this walk saw without a gap. Elsewhere nothing is found to be
    free; that a file is needed is noted from any walk.
    """

    site: Site
    ages: Ages
    complete: frozenset[str]
    _freed: list[LooseSince] = field(default_factory=list)
    _needed: list[loose.Place] = field(default_factory=list)

    def note(self, case: Case, known: Sequence[LooseSince]) -> None:
        """Note what changed for the files of one case; what stays as it was is not written again."""
        free = {
            (judgement.seen.root_id, judgement.seen.path): judgement
            for judgement in judge(case)
            if judgement.stays is None
        }
        earlier = {(row.root_id, row.path): row for row in known}
        for place, judgement in free.items():
            if place[0] in self.complete and not self._is_noted(judgement, earlier.get(place)):
                self._freed.append(self._since_now(judgement))
        met = {(candidate.seen.root_id, candidate.seen.path) for candidate in case.files}
        for place, row in earlier.items():
            is_gone = place not in met and place[0] in self.complete
            if place not in free and (place in met or is_gone):
                self._needed.append((row.key, *place))
        case.loose = known

    def keep(self) -> None:
        """Write what was noted."""
        if self._freed or self._needed:
            with self.site.store.write() as connection:
                loose.forget_loose(connection, self._needed)
                loose.record_loose(connection, self._freed)
            self._freed.clear()
            self._needed.clear()

    def _is_noted(self, judgement: Judgement, row: LooseSince | None) -> bool:
        return row is not None and row.is_of(judgement.seen) and self.ages.of(row.since) is not None

    def _since_now(self, judgement: Judgement) -> LooseSince:
        seen = judgement.seen
        identity = (seen.inode, seen.size, seen.mtime_ns, seen.ctime_ns)
        return LooseSince(seen.key, seen.root_id, seen.path, *identity, since=self.ages.now)
