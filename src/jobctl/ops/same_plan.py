"""Duplicates to quarantine: plan to move away the copies that nothing needs. Nothing is changed.

A copy goes like any file without a purpose: only after two complete full walks found it free at
least the grace apart, and only while the copy it was compared with, byte for byte, stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jobctl.core.brakes import Limits
from jobctl.core.custody import Judgement, quarantine, stored_place, why_too_soon
from jobctl.core.duplicates import By, Copy, CopyGroup, JudgedCopy, Part
from jobctl.errors import JobctlError
from jobctl.model.files import FileIdentity, Role, Seen
from jobctl.model.finding import FindingKind
from jobctl.model.names import from_stored, to_stored
from jobctl.model.plan import Kept, Row
from jobctl.ops.brakes import brake
from jobctl.ops.hold import Hold
from jobctl.ops.moves import catch_up
from jobctl.ops.plan import Plan, PlanWriter, header_of
from jobctl.ops.protection import Protection, places_in
from jobctl.ops.reach import clock_troubles, gaps, suspended
from jobctl.ops.same import Search, SearchOptions
from jobctl.ops.site import Progress, ProgressSink, no_progress
from jobctl.store import loose, referrers, runs
from jobctl.store.engine import Connection
from jobctl.store.spool import SortedSpool


def plan_duplicates(
    hold: Hold,
    *,
    allowed: Mapping[str, int] = MappingProxyType({}),
    progress: ProgressSink | None = None,
    troubles: list[JobctlError] | None = None,
) -> Plan:
    """Plan to move copies that nothing needs into quarantine. Changes neither tree nor jobs.

    Recorded checksums are not believed: all bytes are read. What could not be read, though the
    rest went on, is added to ``troubles``. Raises ``SourceUnusable`` where it cannot be told
    what other tables refer to.
    """
    catch_up(hold)
    planning = _Planning(hold, progress or no_progress)
    try:
        with SortedSpool() as spool:
            planning.collect(spool)
            plan = planning.write(spool, allowed)
    except BaseException:
        planning.writer.discard()
        raise
    if troubles is not None:
        report = planning.search.report
        troubles.extend([*report.errors, *clock_troubles(report.scan.clock_jump)])
    return plan


@dataclass(slots=True)
class _Planning:
    """One planning: first every group, then every copy that may go."""

    hold: Hold
    progress: ProgressSink
    search: Search = field(init=False)
    writer: PlanWriter = field(init=False)

    def __post_init__(self) -> None:
        options = SearchOptions(by=frozenset({By.BYTES}), trusts_records=False, needs_references=True)
        self.search = Search(self.hold.site, options, self._report, opened=list(self.hold.roots))
        self.writer = PlanWriter(header_of(self.hold, "duplicates"))

    def _report(self, step: Progress) -> None:
        self.hold.renew_when_due()
        self.progress(step)

    def collect(self, spool: SortedSpool) -> None:
        """Put aside the copies that nothing refers to, each with the one that stays."""
        for group in self.search:
            if isinstance(group, CopyGroup):
                for judged in group.judged:
                    self._sort(judged, group.judged[0].copy, spool)

    def _sort(self, judged: JudgedCopy, keeper: Copy, spool: SortedSpool) -> None:
        copy = judged.copy
        if judged.may_go:
            place = f"{copy.root_id}\0{to_stored(copy.path)}"
            spool.add(place, [_to_json(copy), judged.reason, _to_json(keeper)])
        elif judged.part is not Part.KEEPER:
            self._keep(_seen(copy), judged.reason)

    def write(self, spool: SortedSpool, allowed: Mapping[str, int]) -> Plan:
        """Plan what nothing protects, root by root and directory by directory."""
        report = self.search.report
        protection = Protection(self.hold, report.scan.links)
        protection.prepare(places_in(spool))
        blind = {**suspended(self.hold), **gaps(report.scan)}
        for _, (copied, reason, kept_copy) in spool.stream():
            judgement = Judgement(_from_json(copied), FindingKind.DUPLICATE, reason)
            judgement = judgement._replace(relies_on=_from_json(kept_copy))
            why = blind.get(judgement.seen.root_id) or protection.why_kept(judgement.seen)
            self._plan(judgement, why)
        self.writer.is_incomplete = not report.is_complete
        limits = Limits(self.hold.site.settings.policy.max_bytes, allowed)
        return self.writer.finish(brake(self.hold.site, self.writer, limits, files_of=report.scan.files_of))

    def _plan(self, judgement: Judgement, kept: str | None) -> None:
        seen = judgement.seen
        with self.hold.site.store.read() as connection:
            why = kept or self._why_too_soon(connection, judgement)
            if why:
                self._keep(seen, why)
                return
            version = referrers.versions_of(connection, [seen.key]).get(seen.key)
            row = _own_row(connection, seen)
        self.writer.add(
            quarantine(
                seen,
                category=judgement.category.value,
                reason=judgement.reason,
                record_version=version,
                artifact_row=row,
                at=self.writer.header.created_at,
                relies_on=judgement.relies_on,
            )
        )

    def _why_too_soon(self, connection: Connection, judgement: Judgement) -> str | None:
        seen, site = judgement.seen, self.hold.site
        noted = list(loose.stream_loose(connection, site.store.dialect, seen.key, f"{seen.key}\x01"))
        place, ages = (seen.root_id, seen.path), self.search.report.scan.known_ages
        known = next((row for row in noted if (row.root_id, row.path) == place), None)
        if known is not None and known.since >= ages.now:  # noted by this very walk
            known = None
        return why_too_soon(judgement, known, ages=ages, grace=site.settings.policy.grace)

    def _keep(self, seen: Seen, reason: str) -> None:
        self.writer.keep(Kept(seen.key, seen.root_id, seen.path, reason))


def _own_row(connection: Connection, seen: Seen) -> Row | None:
    """What the record of its own job has of a file."""
    if not seen.key:
        return None
    return runs.artifact_documents(connection, [seen.key]).get(seen.key, {}).get(stored_place(seen))


def _seen(copy: Copy) -> Seen:
    return Seen(copy.job_id, copy.root_id, copy.path, Role.VIDEO, *copy.identity)


def _to_json(copy: Copy) -> list[object]:
    return [copy.job_id, copy.root_id, to_stored(copy.path), list(copy.identity)]


def _from_json(fields: list[object]) -> Seen:
    key, root_id, stored, identity = fields
    path = from_stored(str(stored))
    return Seen(str(key), str(root_id), path, Role.VIDEO, *FileIdentity._make(identity))  # type: ignore[arg-type]
