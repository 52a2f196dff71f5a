"""``jobctl duplicates``: videos with the same bytes, and jobs that ask for the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.allowance import allow_again, parse_allowed
from jobctl.cli.approval import Consent, carry_out
from jobctl.cli.context import Call, call_of
from jobctl.cli.options import AllowOption, DryRunOption, RootOption, SavePlanOption, WaitOption, YesOption
from jobctl.cli.output import Output
from jobctl.cli.recording import recorded
from jobctl.core.duplicates import By
from jobctl.errors import ExitCode, JobctlError, UsageError, most_severe
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_line
from jobctl.model.finding import FindingKind
from jobctl.report.envelope import Ending
from jobctl.report.items import duplicate_items, path_fields
from jobctl.report.listings import DUPLICATE_COLUMNS

if TYPE_CHECKING:
    from jobctl.ops.same import SearchReport
    from jobctl.report.duplicate_digest import DuplicateDigest

_TOLD = 10
_CATEGORY = FindingKind.DUPLICATE.value


def duplicates(
    context: typer.Context,
    *,
    by: Annotated[
        By | None, typer.Option("--by", help="Only those with the same bytes, or of the same request.")
    ] = None,
    root: RootOption = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Move copies into quarantine that nothing refers to.")
    ] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    plan: SavePlanOption = None,
    allow: AllowOption = None,
    wait: WaitOption = False,
) -> ExitCode:
    """Find videos with the same bytes, and jobs that ask for the same."""
    call = call_of(context)
    if not quarantine:
        _refuse_without_quarantine(yes or dry_run or wait or plan is not None or bool(allow))
        return _report(call, frozenset({by} if by else By), root)
    if by is By.REQUEST:
        raise UsageError(
            "jobs of the same request are only told: nothing of them is moved; nothing was changed",
            hint="leave --quarantine out, or say --by bytes",
        )
    allowed = parse_allowed(allow or (), {_CATEGORY})
    named = ["--root", root] if root else []
    again = ["jobctl", "duplicates", "--quarantine", *named, *allow_again(allowed)]
    tells = shell_line(["jobctl", "duplicates", *named])
    consent = Consent(again, yes=yes, dry_run=dry_run, save_as=plan, tells=tells)
    consent.check()
    return _quarantine(call, consent, root=root, allowed=allowed, wait_s=math.inf if wait else 0.0)


def _refuse_without_quarantine(is_given: bool) -> None:  # noqa: FBT001 - said by the name
    if is_given:
        raise UsageError(
            "without --quarantine nothing is changed, so there is nothing to agree to",
            hint="run 'jobctl duplicates --quarantine --dry-run' to see what would be moved",
        )


def _report(call: Call, by: frozenset[By], root: str | None) -> ExitCode:
    from jobctl.ops.same import SearchOptions, find_duplicates  # noqa: PLC0415 - help stays quick
    from jobctl.report.duplicate_digest import DuplicateDigest  # noqa: PLC0415 - help stays quick

    listing, digest = call.output.listing(DUPLICATE_COLUMNS, _identity), DuplicateDigest()
    with call.open_site() as site, call.progress() as progress:
        search = find_duplicates(site, SearchOptions(by=by, root=root), progress=progress)
        for group in search:
            digest.add(group)
            for item in duplicate_items(group):
                listing.add(item)
    return _end(call.output, digest, search.report)


def _quarantine(
    call: Call, consent: Consent, *, root: str | None, allowed: Mapping[str, int], wait_s: float
) -> ExitCode:
    from jobctl.ops.hold import hold_roots  # noqa: PLC0415 - help stays quick
    from jobctl.ops.same_plan import plan_duplicates  # noqa: PLC0415 - help stays quick

    troubles: list[JobctlError] = []
    with (
        call.open_site() as site,
        recorded(site, "duplicates", is_real=not consent.only_shows) as record,
        hold_roots(site, command="duplicates", only=root, wait_s=wait_s) as hold,
    ):
        with call.progress() as progress:
            proposed = plan_duplicates(hold, allowed=allowed, progress=progress, troubles=troubles)
        with proposed:
            return record(carry_out(call, hold, proposed, consent, troubles=troubles))


def _end(output: Output, digest: DuplicateDigest, report: SearchReport) -> ExitCode:
    _warn_of_gaps(output, report)
    _show(output, digest, report)
    codes = [error.exit_code for error in report.errors]
    codes += [] if report.is_complete else [ExitCode.INCOMPLETE]
    counts = {by.value: report.groups[by] for by in By}
    return output.end(Ending(most_severe(codes), counts=counts, errors=report.errors, data=_extent(report)))


def _warn_of_gaps(output: Output, report: SearchReport) -> None:
    for place in report.scan.unknown[:_TOLD]:
        output.warn(f"{place.path or 'the root'} in {place.root_id} is unknown: {place.reason}")
    for file in report.left_out[:_TOLD]:
        output.warn(f"{file.path} in {file.root_id} was left out: {file.reason}")
    rest = max(0, len(report.scan.unknown) - _TOLD) + max(0, len(report.left_out) - _TOLD)
    if rest:
        output.warn(f"{counted(rest, 'more place or file', 'more places or files')} could not be compared")


def _show(output: Output, digest: DuplicateDigest, report: SearchReport) -> None:
    from jobctl.report.duplicate_digest import found_shown  # noqa: PLC0415 - with the digest

    if not output.is_terminal:
        found = found_shown(report.groups, report.bytes_to_save)
        output.say(f"Compared {counted(report.videos, 'video')}: {found}.")
    elif digest.groups or not output.is_quiet:
        # Rich is only for terminals.
        from jobctl.report.duplicates_screen import SearchExtent, duplicates_screen  # noqa: PLC0415

        roots = {root.root_id: root.path for root in report.scan.roots}
        extent = SearchExtent(report.videos, report.groups, report.bytes_to_save, roots, report.seconds)
        output.screen(duplicates_screen(digest, extent, output.placed))


def _extent(report: SearchReport) -> dict[str, Any]:
    return {
        "videos": report.videos,
        "bytes_to_save": report.bytes_to_save,
        "seconds": round(report.seconds, 3),
        "complete": report.is_complete,
        "left_out": [
            {"root_id": file.root_id, **path_fields(file.path), "reason": file.reason}
            for file in report.left_out
        ],
        "unknown": [{**place._asdict(), **path_fields(place.path)} for place in report.scan.unknown],
    }


def _identity(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return item
