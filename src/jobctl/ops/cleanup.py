"""Cleanup: plan which files without a purpose go into quarantine. Nothing is changed.

A full walk, as for recover; each file that a finding is about is judged; what may go goes only
where an earlier complete walk found the same, at least the grace ago, and nothing refers to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

from jobctl.core import custody
from jobctl.core.ages import Ages
from jobctl.core.brakes import Limits
from jobctl.core.custody import Judgement, judge, quarantine, version_of, why_too_soon
from jobctl.durations import spoken_duration
from jobctl.errors import JobctlError, SourceUnusable
from jobctl.model.files import Seen
from jobctl.model.finding import FindingKind
from jobctl.model.names import from_stored, to_stored
from jobctl.model.plan import Kept
from jobctl.model.records import LooseSince
from jobctl.model.timestamps import from_epoch_ns
from jobctl.ops.brakes import brake
from jobctl.ops.hold import Hold
from jobctl.ops.moves import catch_up
from jobctl.ops.plan import Plan, PlanWriter, header_of
from jobctl.ops.protection import Protection, places_in
from jobctl.ops.reach import clock_troubles, expect_references, gaps, suspended
from jobctl.ops.scan import Scan
from jobctl.ops.scan_report import ScanOptions
from jobctl.ops.site import Progress, ProgressSink, no_progress
from jobctl.store import runs
from jobctl.store.spool import SortedSpool

Place = tuple[str, str]
"""Root id and path."""

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupOptions:
    """What to take. ``findings``: only these, and also what is taken on request alone."""

    findings: frozenset[FindingKind] = frozenset()
    older_than: timedelta | None = None
    max_bytes: int | None = None
    allowed: Mapping[str, int] = field(default_factory=dict)
    include_pinned: bool = False


def plan_cleanup(
    hold: Hold,
    options: CleanupOptions,
    *,
    progress: ProgressSink | None = None,
    troubles: list[JobctlError] | None = None,
) -> Plan:
    """Plan to move what is not needed under the held roots into quarantine. Changes neither tree nor jobs.

    What could not be read, though the rest went on, is added to ``troubles``. Raises
    ``SourceUnusable`` where it cannot be told what other tables refer to.
    """
    catch_up(hold)
    planning = _Planning(hold, options, progress or no_progress)
    with SortedSpool() as spool:
        planning.collect(spool)
        plan = planning.write(spool)
    if troubles is not None:
        troubles.extend([*planning.scanning.report.errors, *planning.troubles])
    return plan


@dataclass(slots=True)
class _Planning:
    """One planning: first every case, then every file that is left."""

    hold: Hold
    options: CleanupOptions
    progress: ProgressSink
    scanning: Scan = field(init=False)
    writer: PlanWriter = field(init=False)
    troubles: list[JobctlError] = field(default_factory=list)
    _blind: dict[str, str] = field(default_factory=dict)
    """Roots below which nothing may be taken, and why."""

    def __post_init__(self) -> None:
        options = ScanOptions(full=True, include_declined=False)
        self.scanning = Scan(self.hold.site, options, self._report, opened=list(self.hold.roots))
        self.writer = PlanWriter(header_of(self.hold, "cleanup"))

    def _report(self, step: Progress) -> None:
        self.hold.renew_when_due()
        self.progress(step)

    def collect(self, spool: SortedSpool) -> None:
        """Judge every case; put aside what may go."""
        cases = self.scanning.cases()
        self._blind = suspended(self.hold)
        while batch := list(islice(cases, _BATCH)):
            self._expect_references()
            self._blind |= gaps(self.scanning.report)
            site = self.hold.site
            keys = [case.key for case in batch if case.record is not None]
            with site.store.read() as connection:
                rows = runs.artifact_documents(connection, keys)
            for case in batch:
                loose = {(row.root_id, row.path): row for row in case.loose}
                for judgement in judge(case):
                    kept = self._why_kept(judgement, loose)
                    if kept:
                        self._keep(judgement.seen, kept)
                    else:
                        row = rows.get(case.key, {}).get(custody.stored_place(judgement.seen))
                        place = f"{judgement.seen.root_id}\0{to_stored(judgement.seen.path)}"
                        spool.add(place, _to_json(judgement, version_of(case.record), row))
        self._expect_references()
        self.troubles.extend(clock_troubles(self.scanning.report.clock_jump))

    def write(self, spool: SortedSpool) -> Plan:
        """Plan what nothing protects, root by root and directory by directory."""
        protection = Protection(
            self.hold, self.scanning.report.links, include_pinned=self.options.include_pinned
        )
        protection.prepare(places_in(spool))
        for _, document in spool.stream():
            judgement, version, row = _from_json(document)
            kept = protection.why_kept(judgement.seen)
            if kept:
                self._keep(judgement.seen, kept)
                continue
            self.writer.add(
                quarantine(
                    judgement.seen,
                    category=judgement.category.value,
                    reason=judgement.reason,
                    record_version=version,
                    artifact_row=row,
                    at=self.writer.header.created_at,
                    relies_on=judgement.relies_on,
                )
            )
        self.writer.is_incomplete = not self.scanning.report.is_complete
        max_bytes = self.options.max_bytes or self.hold.site.settings.policy.max_bytes
        limits = Limits(max_bytes, self.options.allowed)
        files = self.scanning.report.files_of
        return self.writer.finish(brake(self.hold.site, self.writer, limits, files_of=files))

    def _expect_references(self) -> None:
        try:
            expect_references(self.scanning.report)
        except SourceUnusable:
            self.writer.discard()
            raise

    def _why_kept(self, judgement: Judgement, loose: Mapping[Place, LooseSince]) -> str | None:
        """Why a file does not go in this run, or ``None``."""
        blind = self._blind.get(judgement.seen.root_id)
        stays = judgement.stays or judgement.as_copy
        if stays or blind:
            return stays or blind
        wanted = self.options.findings
        if wanted and judgement.category not in wanted:
            return f"only {', '.join(sorted(wanted))} was asked for"
        if judgement.on_request and judgement.category not in wanted:
            return f"{judgement.on_request}; --finding {judgement.category.value} takes it all the same"
        ages = self.scanning.report.known_ages
        return self._why_too_young(judgement, ages) or self._why_too_soon(judgement, loose, ages)

    def _why_too_soon(
        self, judgement: Judgement, loose: Mapping[Place, LooseSince], ages: Ages
    ) -> str | None:
        known = loose.get((judgement.seen.root_id, judgement.seen.path))
        return why_too_soon(judgement, known, ages=ages, grace=self.hold.site.settings.policy.grace)

    def _why_too_young(self, judgement: Judgement, ages: Ages) -> str | None:
        older_than = self.options.older_than
        if older_than is None:
            return None
        try:
            age = ages.of(from_epoch_ns(judgement.seen.mtime_ns))
        except OverflowError:
            age = None
        if age is None:
            return "its age cannot be told: its time makes no sense"
        if age < older_than:
            return f"written {spoken_duration(age)} ago, which is less than {spoken_duration(older_than)}"
        return None

    def _keep(self, seen: Seen, reason: str) -> None:
        self.writer.keep(Kept(seen.key, seen.root_id, seen.path, reason))


def _to_json(judgement: Judgement, version: int | None, row: object) -> dict[str, object]:
    return {
        "seen": _seen_to_json(judgement.seen),
        "category": judgement.category.value,
        "reason": judgement.reason,
        "relies_on": _seen_to_json(judgement.relies_on) if judgement.relies_on else None,
        "version": version,
        "row": row,
    }


def _from_json(document: dict[str, object]) -> tuple[Judgement, int | None, dict[str, object] | None]:
    judgement = Judgement(
        _seen_from_json(document["seen"]),
        FindingKind(str(document["category"])),  # type: ignore[call-arg]
        str(document["reason"]),
        relies_on=_seen_from_json(document["relies_on"]) if document["relies_on"] else None,
    )
    return judgement, document["version"], document["row"]  # type: ignore[return-value]


def _seen_to_json(seen: Seen) -> list[object]:
    return [*seen[:2], to_stored(seen.path), *seen[3:]]


def _seen_from_json(fields: object) -> Seen:
    seen = Seen._make(fields)  # type: ignore[arg-type]
    return seen._replace(path=from_stored(seen.path))
