"""Scan: walk the roots, look at what is new, reconcile with the records, tell the findings.

It changes neither tree nor jobs. It notes what it saw (sightings with their verdicts,
directories, heartbeats), so that the next scan has little to look at.
"""

from __future__ import annotations

import gc
import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

from jobctl import clock
from jobctl.core.accounts import Lives
from jobctl.core.ages import Ages
from jobctl.core.merge import align
from jobctl.core.reconcile import (
    Candidate,
    Case,
    Liveness,
    RootCoverage,
    World,
    liveness_by_log,
    reconcile,
    unlinked_files,
)
from jobctl.errors import JobctlError
from jobctl.model.files import Role, Tier, Verdict
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.names import from_stored
from jobctl.model.records import Linked, Record
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.ops.accounts import account_of_rows, load_lives
from jobctl.ops.clocks import read_clock
from jobctl.ops.custody import Custody
from jobctl.ops.duplicates import DuplicateFinder
from jobctl.ops.hold import open_registered, visible_roots
from jobctl.ops.inspect import Inspector
from jobctl.ops.layouts import layout_of
from jobctl.ops.runid import new_run_id
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.ops.sources import SourcesRead, read_sources
from jobctl.ops.witness import Witness
from jobctl.outputs.room import room_of
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.spool import Spool
from jobctl.outputs.walk import WalkResult, walk
from jobctl.store import evidence, jobs, loose, renders, roots, sightings, workers
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow

_NOTE_BATCH = 20_000
_CASES_AT_ONCE = 10_000
_LOOKED_UP_SINGLY = 1_000
_RECORDED = 8
"""The streams of what is on disk and in the records; those behind them are evidence."""


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


class _Walked(NamedTuple):
    """One root after its walk."""

    row: RootRow
    root: OpenRoot
    result: WalkResult


@dataclass(slots=True)
class Scan:
    """One pass over the roots and the store. Iterate it once; then ``report`` is whole."""

    site: Site
    options: ScanOptions
    progress: ProgressSink
    report: ScanReport = field(default_factory=ScanReport)
    opened: list[OpenRoot] | None = None
    """Roots that a changing run holds open already."""

    def __iter__(self) -> Iterator[Finding]:
        for case in self.cases():
            yield from case.findings

    def cases(self, *, every: bool = False) -> Iterator[Case]:
        """Give each job with findings, or with files its record does not name yet; ``every``: all."""
        began = clock.monotonic()
        with ExitStack() as stack:
            stack.enter_context(_without_cycle_collection())
            walk_started_at = self._now()
            spool = stack.enter_context(Spool())
            walked = [self._walk(row, root, spool) for row, root in self._open_roots(stack)]
            world = self._world(walked, walk_started_at)
            inspector = stack.enter_context(
                Inspector(
                    self.site,
                    [each.root for each in walked],
                    self.options.tier,
                    odd={
                        (each.row.root_id, path): check
                        for each in walked
                        for path, check in each.result.odd.items()
                    },
                )
            )
            with self.site.store.read() as connection:
                lives = load_lives(connection)
            sources = stack.enter_context(read_sources(self.site, progress=self.progress))
            self.report.errors.extend(sources.errors)
            custody = self._custody(walked, sources)
            witness = Witness(self.site, self._stale_after_s)
            pass_ = _Pass(self, walked, world, inspector, witness, lives, sources, custody)
            pass_.wanted = self._wanted
            with self.site.store.read() as connection:
                pass_.leased = workers.leased_jobs(connection)
            yield from pass_.run(spool, every=every)
            self.report.probed = inspector.probed
        self.report.seconds = clock.monotonic() - began

    @property
    def _stale_after_s(self) -> float:
        return self.options.stale_after_s or self.site.settings.stale_after_s

    @property
    def _wanted(self) -> frozenset[str] | None:
        return None if self.options.only is None else frozenset(self.options.only)

    def _custody(self, walked: list[_Walked], sources: SourcesRead) -> Custody:
        """Only where a walk left nothing out, and every reference is known, is a file found to be free."""
        complete = {
            each.row.root_id
            for each in walked
            if each.result.is_full and not each.result.unknown and each.row.negatives_suspended_at is None
        }
        knows_all = sources.knows_all_references and self.options.only is None
        ages, self.report.clock_jump = read_clock(self.site)
        self.report.ages, self.report.knows_all_references = ages, sources.knows_all_references
        return Custody(self.site, ages, frozenset(complete) if knows_all else frozenset())

    def _now(self) -> datetime:
        with self.site.store.read() as connection:
            return self.site.store.now(connection)

    def _open_roots(self, stack: ExitStack) -> Iterator[tuple[RootRow, OpenRoot]]:
        held = {root.root_id: root for root in self.opened or []}
        for row in visible_roots(self.site, self.options.root):
            if self.opened is not None:
                if row.root_id in held:
                    yield row, held[row.root_id]
                continue
            try:
                yield row, stack.enter_context(open_registered(self.site, row))
            except JobctlError as error:
                self.report.errors.append(error)
                self.report.roots.append(
                    RootSeen(row.root_id, row.path, is_complete=False, is_full=False, trouble=error.message)
                )

    def _walk(self, row: RootRow, root: OpenRoot, spool: Spool) -> _Walked:
        layout = layout_of(self.site.settings, row.layout)
        remembered = None
        if not self.options.full:
            with self.site.store.read() as connection:
                remembered = sightings.load_directories(connection, row.root_id)
        walking = walk(root, layout, remembered=remembered, on_progress=self._walked)
        wanted = self._wanted
        for seen in walking:
            if wanted is None or seen[0] in wanted:
                spool.add(seen)
        result = walking.result
        report = self.report
        report.files += result.files
        report.total_bytes += result.bytes
        report.foreign += result.foreign
        report.links[row.root_id] = result.links
        report.files_of[row.root_id] = result.files
        report.unknown.extend(UnknownPlace(row.root_id, place.path, place.reason) for place in result.unknown)
        report.roots.append(
            RootSeen(
                row.root_id, row.path, is_complete=not result.unknown, is_full=result.is_full, trouble=None
            )
        )
        return _Walked(row, root, result)

    def _walked(self, files: int) -> None:
        self.progress(Progress("walk", files))

    def _world(self, walked: list[_Walked], walk_started_at: datetime) -> World:
        with self.site.store.read() as connection:
            known = roots.get_roots(connection)
        seen = {each.row.root_id: each.result for each in walked}
        stale_after = timedelta(seconds=self._stale_after_s)
        return World(
            coverage={row.root_id: _coverage(row, seen.get(row.root_id)) for row in known},
            walk_started_at=format_timestamp(walk_started_at),
            stale_before=format_timestamp(walk_started_at - stale_after),
        )


@contextmanager
def _without_cycle_collection() -> Iterator[None]:
    """Millions of tuples and no cycles among them: looking for cycles would cost a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def scan(site: Site, options: ScanOptions, *, progress: ProgressSink | None = None) -> Scan:
    """Prepare a scan; iterating it does the work."""
    return Scan(site, options, progress or _ignore)


def _ignore(progress: Progress) -> None:
    """For callers who show no progress."""


def _coverage(row: RootRow, result: WalkResult | None) -> RootCoverage:
    return RootCoverage(
        is_visible=result is not None,
        is_complete=result is not None and not result.unknown,
        is_suspended=row.negatives_suspended_at is not None,
        unknown=tuple(place.path for place in result.unknown) if result else (),
    )


@dataclass(slots=True)
class _Pass:
    """The second half of a scan: partition by partition, key by key."""

    scan: Scan
    walked: list[_Walked]
    world: World
    inspector: Inspector
    witness: Witness
    lives: Lives
    sources: SourcesRead
    custody: Custody
    wanted: frozenset[str] | None = None
    leased: frozenset[str] = frozenset()
    gone: list[tuple[str, str, str]] = field(default_factory=list)
    restless: set[tuple[str, str]] = field(default_factory=set)
    """Directories with a video that is not settled and whole: to be looked at again."""

    def run(self, spool: Spool, *, every: bool) -> Iterator[Case]:
        duplicates = DuplicateFinder(self.inspector)
        for low, high, rows in spool.partitions():
            for case in self._spanned(low, high, rows, every=every):
                for finding in case.findings:
                    if self.scan.options.compares_bytes:
                        duplicates.notice(finding)
                    self.scan.report.count(finding)
                yield case
            self._note()
        for case in duplicates.cases():
            for finding in case.findings:
                self.scan.report.count(finding)
            yield case
        self._note_directories()

    def _spanned(self, low: str, high: str | None, rows: list[Any], *, every: bool) -> Iterator[Case]:
        """The cases of one partition, or those of it that are to be looked at."""
        only = self.scan.options.only
        if only is None or len(only) > _LOOKED_UP_SINGLY:
            yield from self._partition(low, high, rows, every=every)
            return
        wanted = only[bisect_left(only, low) : len(only) if high is None else bisect_left(only, high)]
        for key in wanted:
            at = bisect_left(rows, key, key=itemgetter(0)), bisect_right(rows, key, key=itemgetter(0))
            yield from self._partition(key, f"{key}\x01", rows[slice(*at)], every=every)

    def _partition(self, low: str, high: str | None, rows: list[Any], *, every: bool) -> Iterator[Case]:
        waiting: list[Case] = []
        with self.scan.site.store.read() as connection:
            for key, groups in align(self._streams(connection, low, high, rows)):
                if self.wanted is not None and key not in self.wanted:
                    continue
                if not every and self.inspector.knows_all_is_well(*groups[:_RECORDED]):
                    self.scan.report.records += 1
                    continue
                case = self._case(key, groups)
                if case.findings or every or _has_unlinked(case):
                    waiting.append(case)
                if len(waiting) >= _CASES_AT_ONCE:
                    yield from waiting
                    waiting.clear()
        yield from waiting

    def _streams(
        self, connection: Connection, low: str, high: str | None, rows: list[Any]
    ) -> list[Iterator[Any]]:
        dialect = self.scan.site.store.dialect
        declined = jobs.stream_declined(connection, dialect, low, high)
        return [
            iter(rows),
            sightings.stream_sightings(connection, dialect, low, high),
            jobs.stream_records(connection, dialect, low, high),
            jobs.stream_artifacts(connection, dialect, low, high),
            jobs.stream_tombstones(connection, dialect, low, high),
            iter(()) if self.scan.options.include_declined else declined,
            sightings.stream_watches(connection, dialect, low, high, host=self.scan.site.host),
            loose.stream_loose(connection, dialect, low, high),
            evidence.stream_traces(connection, dialect, low, high),
            self.sources.stream(low, high),
            renders.stream_renders(connection, dialect, low, high),
            self.sources.references(low, high),
        ]

    def _case(self, key: str, groups: list[list[Any]]) -> Case:
        walked, remembered, records, linked, tombstones, declined, watches, freed, *said = groups
        traces, facts, rendered, references = said
        case = Case(key, references=[locator for _, locator in references])
        if records:
            case.record = Record._make(records[0])
            self.scan.report.records += 1
        if walked or remembered:
            case.files = self._files(walked, remembered)
        if traces or facts or rendered:
            told, known = ([row for _, row in group] for group in (facts, rendered))
            case.account = account_of_rows(key, traces, self.lives, told, known)
        if not case.files and case.record is None and case.account is None:
            self.custody.note(case, freed)
            return case
        case.linked = [_linked(row) for row in linked]
        case.declined = declined
        case.tombstone = tombstones[0] if tombstones else None
        if case.record is not None:
            case.liveness = self._liveness(case, case.record, watches)
            case.is_leased = key in self.leased
        case.findings = [finding for finding in reconcile(case, self.world) if not self._is_there(finding)]
        self.scan.report.unmatched += self._is_unmatched(case)
        self.custody.note(case, freed)
        return case

    def _liveness(self, case: Case, record: Record, watches: list[Any]) -> Liveness:
        """What is known of a job's executor: by sight, else by a log in which its instance boots."""
        seen = self.witness.judge(record, watches)
        if seen.state != "unknown" or case.account is None or record.status != Status.PROCESSING:
            return seen
        return liveness_by_log(record, case.account) or seen

    def _files(self, walked: list[Any], remembered: list[Any]) -> list[Candidate]:
        before = {(row[1], from_stored(row[2])): row for row in remembered}
        files = [self.inspector.judge(row, before.pop((row[1], row[2]), None)) for row in walked]
        for row in before.values():
            if self._was_skipped(row[1], from_stored(row[2])):
                files.append(self.inspector.judge((*row[:2], from_stored(row[2]), *row[3:9]), row))
            else:
                self._forget_if_proven(row)
        for file in files:
            if file.check is not None and file.check.verdict != Verdict.WHOLE:
                self.restless.add((file.seen.root_id, os.path.dirname(file.seen.path)))
        return files

    def _was_skipped(self, root_id: str, path: str) -> bool:
        result = self._result(root_id)
        return result is not None and os.path.dirname(path) in result.skipped

    def _forget_if_proven(self, row: tuple[Any, ...]) -> None:
        result = self._result(row[1])
        if result is not None and not result.unknown:
            self.gone.append((row[0], row[1], from_stored(row[2])))

    def _result(self, root_id: str) -> WalkResult | None:
        return next((each.result for each in self.walked if each.row.root_id == root_id), None)

    def _is_unmatched(self, case: Case) -> bool:
        """Whether a completed job's video is on disk, but was not met under a name of ours."""
        if case.files or case.findings or case.record is None or case.record.status != Status.COMPLETED:
            return False
        return any(self._exists(file.root_id, file.path) for file in case.linked if file.role == Role.VIDEO)

    def _is_there(self, finding: Finding) -> bool:
        """Whether a "missing" file came while we walked: look once more, at its very place."""
        if finding.kind is not FindingKind.MISSING_VIDEO or finding.path is None:
            return False
        return self._exists(finding.root_id, finding.path)

    def _exists(self, root_id: str | None, path: str) -> bool:
        root = next((each.root for each in self.walked if each.row.root_id == root_id), None)
        if root is None:
            return True
        try:
            os.stat(path, dir_fd=root.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def _note(self) -> None:
        """Keep what was seen of this partition for the next scan."""
        site, noted, gone = self.scan.site, self.inspector.noted, self.gone
        for start in range(0, max(len(noted), len(gone)), _NOTE_BATCH):
            with site.store.write() as connection:
                now = site.store.now(connection)
                sightings.record_sightings(connection, noted[start : start + _NOTE_BATCH], at=now)
                sightings.forget_sightings(connection, gone[start : start + _NOTE_BATCH])
        noted.clear()
        gone.clear()
        self.custody.keep()

    def _note_directories(self) -> None:
        site = self.scan.site
        # A look at some jobs is none at the directories they lie in.
        walked = self.walked if self.scan.options.only is None else []
        with site.store.write() as connection:
            for each in walked:
                marks = [
                    mark._replace(is_quiet=(each.row.root_id, mark.path) not in self.restless)
                    for mark in each.result.marks
                ]
                sightings.record_directories(connection, each.row.root_id, marks)
                sightings.forget_directories(connection, each.row.root_id, each.result.vanished)
                self._note_scan(connection, each)
            sightings.note_heartbeats(connection, self.witness.watched, host=site.host)

    def _note_scan(self, connection: Connection, walked: _Walked) -> None:
        """Record that and how far this root was seen, once it was seen to the end."""
        store, report, result = self.scan.site.store, self.scan.report, walked.result
        began = parse_timestamp(self.world.walk_started_at)
        scan_id, root_id = f"{new_run_id(began)}-{walked.row.root_id}", walked.row.root_id
        sightings.begin_scan(connection, scan_id, root_id, is_full=result.is_full, at=began)
        counts = {"findings": report.counts_of.get(root_id, {}), **_room(walked.root)}
        sightings.finish_scan(
            connection, scan_id, is_complete=not result.unknown, counts=counts, at=store.now(connection)
        )


def _room(root: OpenRoot) -> dict[str, dict[str, int]]:
    """What is left on the disk of a root; remembered, it tells how fast that shrinks."""
    try:
        left = room_of(root.fd)
    except OSError:
        return {}
    return {"room": {"bytes": left.bytes, "bytes_free": left.bytes_free}}


def _linked(row: tuple[Any, ...]) -> Linked:
    linked = Linked._make(row)
    return linked._replace(path=from_stored(linked.path)) if "\\" in linked.path else linked


def _has_unlinked(case: Case) -> bool:
    record: Record | None = case.record
    if record is None or record.status not in {"completed", "failed"}:
        return False
    return len(case.named) > len(case.linked) or bool(unlinked_files(case))
