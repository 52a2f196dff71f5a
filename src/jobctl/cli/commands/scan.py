"""``jobctl scan``: what differs between the outputs directories and the records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from jobctl import clock
from jobctl.cli.context import call_of
from jobctl.cli.jitter import wait_a_little
from jobctl.cli.limits import duration_of
from jobctl.cli.moments import moment_of
from jobctl.cli.options import JitterOption, RootOption
from jobctl.cli.output import Format, Output
from jobctl.errors import ExitCode, most_severe
from jobctl.model.amounts import counted
from jobctl.model.files import Tier
from jobctl.model.finding import Finding, FindingKind
from jobctl.model.timestamps import from_epoch_ns
from jobctl.report.digest import CALM_KINDS, Digest
from jobctl.report.envelope import Ending
from jobctl.report.items import file_item, finding_item, path_fields
from jobctl.report.listings import FINDING_COLUMNS

if TYPE_CHECKING:
    from jobctl.core.case import Case
    from jobctl.ops.scan import Scan
    from jobctl.ops.scan_report import ScanReport

_EXAMPLES = 5
_EXAMPLES_WHEN_ASKED = 1_000
_PLACES_TOLD = 10


class _Filter(NamedTuple):
    """Which findings are told. ``since``: files changed after it. ``hides_calm``: only what needs a look."""

    kinds: frozenset[FindingKind]
    jobs: frozenset[str]
    since: datetime | None
    hides_calm: bool

    @property
    def is_narrow(self) -> bool:
        """Whether something particular was asked for."""
        return bool(self.kinds or self.jobs or self.since)

    def wants(self, finding: Finding) -> bool:
        if self.kinds and finding.kind not in self.kinds:
            return False
        if self.jobs and finding.job_id not in self.jobs:
            return False
        if self.hides_calm and not self.kinds and finding.kind in CALM_KINDS:
            return False
        return self.since is None or _changed_at(finding) >= self.since


def scan(
    context: typer.Context,
    *,
    finding: Annotated[
        list[FindingKind] | None,
        typer.Option("--finding", metavar="KIND", help="Only this kind of finding; may be repeated."),
    ] = None,
    job: Annotated[
        list[str] | None, typer.Option("--job", metavar="JOB", help="Only this job; may be repeated.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only files changed since, such as 36h.")
    ] = None,
    root: RootOption = None,
    tier: Annotated[
        Tier, typer.Option("--tier", help="How deeply to check new videos; 2 reads every packet, 3 decodes.")
    ] = Tier.TABLES,
    full: Annotated[bool, typer.Option("--full", help="Skip no directory, changed or not.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="List the files nothing is wrong with as well.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 4 when there are findings to look into.")
    ] = False,
    jitter: JitterOption = None,
) -> ExitCode:
    """Compare the outputs directories with the records."""
    from jobctl.ops.scan import scan as start_scan  # noqa: PLC0415 - help stays quick
    from jobctl.ops.scan_report import ScanOptions  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    output = call.output
    moment = moment_of("--since", since, clock.now())
    hides_calm = output.is_quiet and output.format is Format.TEXT
    wanted = _Filter(frozenset(finding or ()), frozenset(job or ()), moment, hides_calm)
    digest = Digest(_EXAMPLES_WHEN_ASKED if wanted.is_narrow else _EXAMPLES, is_narrow=wanted.is_narrow)
    wait_a_little(duration_of("--jitter", jitter))
    listing = output.listing(FINDING_COLUMNS, _identity)
    with call.open_site() as site, call.progress() as progress:
        scanning = start_scan(site, ScanOptions(full=full, tier=tier, root=root), progress=progress)
        for item in _items(scanning, wanted, digest, every=every):
            listing.add(item)
    return _end(output, digest, scanning.report, with_findings=exit_code)


def _items(scanning: Scan, wanted: _Filter, digest: Digest, *, every: bool) -> Iterator[dict[str, Any]]:
    for case in scanning.cases(every=every):
        told = [finding for finding in case.findings if wanted.wants(finding)]
        for finding in told:
            digest.add(finding)
            yield finding_item(finding)
        if every:
            yield from _sound_files(case, wanted)


def _sound_files(case: Case, wanted: _Filter) -> Iterator[dict[str, Any]]:
    """The files of a case that no finding is about."""
    if wanted.jobs and case.key not in wanted.jobs:
        return
    told = {(finding.root_id, finding.path) for finding in case.findings}
    for candidate in case.files:
        if (candidate.seen.root_id, candidate.seen.path) not in told:
            yield file_item(*candidate)


def _end(output: Output, digest: Digest, report: ScanReport, *, with_findings: bool) -> ExitCode:
    _warn_of_gaps(output, report)
    if output.is_terminal and not (output.is_quiet and digest.is_calm):
        _show(output, digest, report)
    elif not output.is_terminal:
        sums = ", ".join(f"{digest.counts[kind]:,} {kind.value}" for kind in digest.kinds)
        compared = f"{counted(report.files, 'file')}, {counted(report.records, 'record')}"
        output.say(f"{compared}: {sums or _nothing(digest, report)}.")
    codes = [error.exit_code for error in report.errors]
    if not report.is_complete:
        codes.append(ExitCode.INCOMPLETE)
    if with_findings and not digest.is_calm:
        codes.append(ExitCode.FINDINGS)
    counts = {kind.value: digest.counts[kind] for kind in FindingKind if kind is not FindingKind.FOREIGN}
    counts[FindingKind.FOREIGN.value] = report.foreign
    return output.end(Ending(most_severe(codes), counts=counts, errors=report.errors, data=_extent(report)))


def _nothing(digest: Digest, report: ScanReport) -> str:
    """What it means that there is nothing to tell."""
    if report.errors and not report.files:
        return "nothing was compared"
    return "none of what was asked for" if digest.is_narrow else "nothing to tell, files and records agree"


def _warn_of_gaps(output: Output, report: ScanReport) -> None:
    if report.unmatched:
        output.warn(
            f"{counted(report.unmatched, 'recorded video')} on disk, but not named as the layout says: "
            "was the layout changed?"
        )
    for place in report.unknown[:_PLACES_TOLD]:
        output.warn(f"{place.path or 'the root'} in {place.root_id} is unknown: {place.reason}")
    rest = len(report.unknown) - _PLACES_TOLD
    if rest > 0:
        output.warn(f"{counted(rest, 'more place is', 'more places are')} unknown")


def _show(output: Output, digest: Digest, report: ScanReport) -> None:
    from jobctl.report.scan_screen import Extent, scan_screen  # noqa: PLC0415 - rich is only for terminals

    roots = {root.root_id: root.path for root in report.roots}
    extent = Extent(report.files, report.total_bytes, report.records, roots, report.seconds)
    nothing = _nothing(digest, report).capitalize() + "."
    now, width = clock.now(), output.width
    output.screen(scan_screen(digest, extent, now=now, width=width, nothing=nothing, place=output.placed))


def _extent(report: ScanReport) -> dict[str, Any]:
    return {
        "files": report.files,
        "bytes": report.total_bytes,
        "foreign": report.foreign,
        "records": report.records,
        "seconds": round(report.seconds, 3),
        "complete": report.is_complete,
        "roots": [{**root._asdict(), **path_fields(root.path)} for root in report.roots],
        "unknown": [{**place._asdict(), **path_fields(place.path)} for place in report.unknown],
    }


def _changed_at(finding: Finding) -> datetime:
    """When the file was changed; long ago where that is not known or cannot be."""
    try:
        return from_epoch_ns(finding.mtime_ns or 0)
    except OverflowError:
        return from_epoch_ns(0)


def _identity(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return item
