"""Duplicates: walk in full, compare whole videos byte for byte and jobs by their requests. Read-only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from jobctl import clock
from jobctl.core.case import Case
from jobctl.core.duplicates import By, CopyGroup
from jobctl.core.requests import RequestGroup
from jobctl.errors import JobctlError
from jobctl.model.files import Tier, Verdict
from jobctl.ops.hold import open_registered, visible_roots
from jobctl.ops.inspect import Inspector
from jobctl.ops.references import expect_all_references
from jobctl.ops.same_bytes import ByteComparison, LeftOut
from jobctl.ops.same_requests import RequestComparison
from jobctl.ops.scan import Scan
from jobctl.ops.scan_report import ScanOptions, ScanReport
from jobctl.ops.site import ProgressSink, Site, no_progress
from jobctl.ops.sources import read_sources
from jobctl.outputs.root import OpenRoot


@dataclass(slots=True, kw_only=True)
class SearchOptions:
    """What to compare. ``trusts_records``: believe recorded checksums of files unchanged since.

    ``needs_references``: go on only where it is known of every file whether a table refers to it.
    """

    by: frozenset[By] = frozenset(By)
    root: str | None = None
    trusts_records: bool = True
    needs_references: bool = False


@dataclass(slots=True)
class SearchReport:
    """What one search came to, once it has been read to its end."""

    groups: Counter[By] = field(default_factory=Counter)
    videos: int = 0
    """Whole videos that were compared."""
    bytes_to_save: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    errors: list[JobctlError] = field(default_factory=list)
    scan: ScanReport = field(default_factory=ScanReport)
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether everything was read and compared."""
        return self.scan.is_complete and not self.left_out


@dataclass(slots=True)
class Search:
    """One search for duplicates. Iterate it once; then ``report`` is whole."""

    site: Site
    options: SearchOptions
    progress: ProgressSink
    opened: list[OpenRoot] | None = None
    """Roots that a changing run holds open already."""
    report: SearchReport = field(default_factory=SearchReport)

    def __iter__(self) -> Iterator[CopyGroup | RequestGroup]:
        began = clock.monotonic()
        with ExitStack() as stack:
            opened = self.opened if self.opened is not None else self._open_roots(stack)
            inspector = stack.enter_context(Inspector(self.site, opened, Tier.TABLES))
            files = stack.enter_context(
                ByteComparison(self.site, inspector, self.progress, self.options.trusts_records)
            )
            walked = frozenset(root.root_id for root in opened)
            jobs = stack.enter_context(RequestComparison(self.site, self.progress, walked))
            for case in self._cases(opened):
                self._take(case, files, jobs)
            if By.BYTES in self.options.by:
                yield from self._same_bytes(files)
            if By.REQUEST in self.options.by:
                yield from self._same_requests(jobs)
        self.report.seconds = clock.monotonic() - began

    def _open_roots(self, stack: ExitStack) -> list[OpenRoot]:
        opened = []
        for row in visible_roots(self.site, self.options.root):
            try:
                opened.append(stack.enter_context(open_registered(self.site, row)))
            except JobctlError as error:
                self.report.errors.append(error)
        return opened

    def _cases(self, opened: list[OpenRoot]) -> Iterator[Case]:
        options = ScanOptions(full=True, root=self.options.root, compares_bytes=False)
        scanning = Scan(self.site, options, self.progress, self.report.scan, opened)
        yield from scanning.cases(every=True)
        self.report.errors.extend(scanning.report.errors)

    def _take(self, case: Case, files: ByteComparison, jobs: RequestComparison) -> None:
        jobs.add(case)
        for candidate in case.videos:
            check = candidate.check
            if check is None:
                continue
            if check.verdict is Verdict.WHOLE:
                self.report.videos += 1
                files.add(candidate.seen)
            elif check.verdict is Verdict.UNREADABLE:
                files.leave_out(candidate.seen, check.reason, is_unreadable=True)

    def _same_bytes(self, files: ByteComparison) -> Iterator[CopyGroup]:
        with read_sources(self.site, progress=self.progress) as sources:
            if self.options.needs_references:
                expect_all_references(sources)
            for group in files.groups(sources):
                self.report.groups[By.BYTES] += 1
                self.report.bytes_to_save += group.bytes_to_save
                yield group
        self.report.left_out.extend(files.left_out)

    def _same_requests(self, jobs: RequestComparison) -> Iterator[RequestGroup]:
        for group in jobs.groups():
            self.report.groups[By.REQUEST] += 1
            yield group


def find_duplicates(site: Site, options: SearchOptions, *, progress: ProgressSink | None = None) -> Search:
    """Prepare a search; iterating it does the work. It changes neither tree nor jobs."""
    return Search(site, options, progress or no_progress)
