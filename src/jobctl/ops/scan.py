"""Scan: walk the roots, look at what is new, reconcile with the records, tell the findings.

It changes neither tree nor jobs. It notes what it saw (sightings with their verdicts,
directories, heartbeats), so that the next scan has little to look at.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobctl import clock
from jobctl.core.case import Case, RootCoverage, World
from jobctl.errors import JobctlError
from jobctl.model.finding import Finding
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.accounts import load_lives
from jobctl.ops.case_pass import CasePass, Walked
from jobctl.ops.clocks import read_clock
from jobctl.ops.custody import Custody
from jobctl.ops.hold import open_registered, visible_roots
from jobctl.ops.inspect import Inspector
from jobctl.ops.layouts import layout_of
from jobctl.ops.scan_report import RootSeen, ScanOptions, ScanReport, UnknownPlace
from jobctl.ops.site import Progress, ProgressSink, Site, no_progress
from jobctl.ops.sources import SourcesRead, read_sources
from jobctl.ops.witness import Witness
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.spool import Spool
from jobctl.outputs.walk import WalkResult, walk
from jobctl.store import roots, sightings, workers
from jobctl.store.roots import RootRow


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
            case_pass = self._case_pass(walked, world, stack)
            yield from case_pass.run(spool, every=every)
            self.report.probed = case_pass.inspector.probed
        self.report.seconds = clock.monotonic() - began

    def _case_pass(self, walked: list[Walked], world: World, stack: ExitStack) -> CasePass:
        """Open what the cases are judged by; ``stack`` closes it."""
        odd = {(each.row.root_id, path): check for each in walked for path, check in each.result.odd.items()}
        roots_walked = [each.root for each in walked]
        inspector = stack.enter_context(Inspector(self.site, roots_walked, self.options.tier, odd=odd))
        with self.site.store.read() as connection:
            lives = load_lives(connection)
        sources = stack.enter_context(read_sources(self.site, progress=self.progress))
        self.report.errors.extend(sources.errors)
        custody = self._custody(walked, sources)
        with self.site.store.read() as connection:
            leased = workers.leased_jobs(connection)
        return CasePass(
            site=self.site,
            options=self.options,
            report=self.report,
            walked=walked,
            world=world,
            inspector=inspector,
            witness=Witness(self.site, self._stale_after_s),
            lives=lives,
            sources=sources,
            custody=custody,
            wanted=self._wanted,
            leased=leased,
        )

    @property
    def _stale_after_s(self) -> float:
        return self.options.stale_after_s or self.site.settings.stale_after_s

    @property
    def _wanted(self) -> frozenset[str] | None:
        return None if self.options.only is None else frozenset(self.options.only)

    def _custody(self, walked: list[Walked], sources: SourcesRead) -> Custody:
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

    def _walk(self, row: RootRow, root: OpenRoot, spool: Spool) -> Walked:
        layout = layout_of(self.site.settings, row.layout)
        remembered = None
        if not self.options.full:
            with self.site.store.read() as connection:
                remembered = sightings.load_directories(connection, row.root_id)
        walking = walk(
            root,
            layout,
            remembered=remembered,
            longest_path=self.site.store.dialect.longest_path,
            on_progress=self._walked,
        )
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
        return Walked(row, root, result)

    def _walked(self, files: int) -> None:
        self.progress(Progress("walk", files))

    def _world(self, walked: list[Walked], walk_started_at: datetime) -> World:
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
    return Scan(site, options, progress or no_progress)


def _coverage(row: RootRow, result: WalkResult | None) -> RootCoverage:
    return RootCoverage(
        is_visible=result is not None,
        is_complete=result is not None and not result.unknown,
        is_suspended=row.negatives_suspended_at is not None,
        unknown=tuple(place.path for place in result.unknown) if result else (),
    )
