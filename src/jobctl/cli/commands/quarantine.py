"""``jobctl quarantine``: what was moved aside, given back, or removed for good."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.allowance import allow_again, parse_allowed
from jobctl.cli.approval import Consent, carry_out
from jobctl.cli.context import Call, call_of
from jobctl.cli.jitter import wait_a_little
from jobctl.cli.limits import duration_of, size_of
from jobctl.cli.options import (
    AllowOption,
    DryRunOption,
    ExplainOption,
    JitterOption,
    MaxBytesOption,
    RootOption,
    SavePlanOption,
    WaitOption,
    YesOption,
)
from jobctl.cli.recording import recorded
from jobctl.cli.space import telling_space
from jobctl.errors import ExitCode, JobctlError, UnknownEntry, UsageError, most_severe
from jobctl.model.amounts import counted
from jobctl.model.quarantine import Entry, Whereabouts
from jobctl.report.envelope import Ending
from jobctl.report.items import entry_item
from jobctl.report.listings import ENTRY_COLUMNS
from jobctl.report.units import size_shown

if TYPE_CHECKING:
    from jobctl.ops.quarantine import Wanted

_What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WHAT]...", help="RUN/NUMBER as 'quarantine list' shows it, a run, a job, or a file's path."
    ),
]
_Run = Annotated[str | None, typer.Option("--run", metavar="RUN", help="What this run moved.")]
_Job = Annotated[str | None, typer.Option("--job", metavar="JOB", help="The files of this job.")]


def list_(
    context: typer.Context,
    *,
    root: RootOption = None,
    run: _Run = None,
    job: _Job = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also what was given back, purged, or never moved.")
    ] = False,
) -> ExitCode:
    """List what is in quarantine."""
    from jobctl.ops.quarantine import list_entries, opened_roots  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    troubles: list[JobctlError] = []
    with call.open_site() as site, opened_roots(site, root, troubles) as roots:
        count = size = 0

        def counted_entries() -> Iterator[Entry]:
            nonlocal count, size
            for entry in list_entries(roots, _wanted((), run, job), troubles=troubles):
                if every or entry.whereabouts is Whereabouts.QUARANTINED:
                    count += 1
                    size += entry.identity.size
                    yield entry

        call.output.rows(ENTRY_COLUMNS, entry_item, counted_entries())
    if call.output.is_terminal:
        call.output.say(_summary(count, size, is_narrow=bool(root or run or job)))
    code = most_severe(trouble.exit_code for trouble in troubles)
    return call.output.end(Ending(code, counts={"entries": count, "bytes": size}, errors=troubles))


def show(
    context: typer.Context,
    *,
    entry: Annotated[str, typer.Argument(metavar="RUN/NUMBER", help="As 'quarantine list' shows it.")],
) -> ExitCode:
    """Show one file in quarantine, and where it came from."""
    from jobctl.ops.quarantine import list_entries, opened_roots, wanted_from  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    troubles: list[JobctlError] = []
    with call.open_site() as site, opened_roots(site, None, troubles) as roots:
        found = list(list_entries(roots, [wanted_from(entry)], troubles=troubles))
    if not found:
        raise UnknownEntry(
            f"nothing in quarantine is called {entry}", hint="see what there is: jobctl quarantine list --all"
        )
    for each in found:
        _show_entry(call, each)
    data = entry_item(found[0]) if len(found) == 1 else {"items": [entry_item(each) for each in found]}
    return call.output.end(
        Ending(most_severe(each.exit_code for each in troubles), errors=troubles, data=data)
    )


def restore(
    context: typer.Context,
    *,
    what: _What = None,
    run: _Run = None,
    job: _Job = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    plan: SavePlanOption = None,
    root: RootOption = None,
    wait: WaitOption = False,
) -> ExitCode:
    """Give files back to where they were; nothing is replaced."""
    from jobctl.ops.hold import hold_roots  # noqa: PLC0415 - help stays quick
    from jobctl.ops.quarantine import plan_restore  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    wanted = _wanted(what or (), run, job)
    if not wanted:
        raise UsageError(
            "nothing was named to give back; nothing was changed",
            hint="name entries, a run or a job as 'jobctl quarantine list' shows them",
        )
    again = ["jobctl", "quarantine", "restore", *(what or ()), *_selection(root, run, job)]
    consent = Consent(again, yes=yes, dry_run=dry_run, save_as=plan, explains=True)
    consent.check()
    troubles: list[JobctlError] = []
    wait_s = math.inf if wait else 0.0
    with (
        call.open_site() as site,
        hold_roots(site, command="quarantine restore", only=root, wait_s=wait_s) as hold,
        plan_restore(hold, wanted, troubles=troubles) as proposed,
    ):
        return carry_out(call, hold, proposed, consent, troubles=troubles)


def purge(
    context: typer.Context,
    *,
    what: _What = None,
    run: _Run = None,
    job: _Job = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    plan: SavePlanOption = None,
    root: RootOption = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="DURATION", help="Longer than the retention, never shorter: 30d."
        ),
    ] = None,
    max_bytes: MaxBytesOption = None,
    allow: AllowOption = None,
    explain: ExplainOption = False,
    wait: WaitOption = False,
    jitter: JitterOption = None,
) -> ExitCode:
    """Remove for good what was in quarantine long enough."""
    from jobctl.ops.hold import hold_roots  # noqa: PLC0415 - help stays quick
    from jobctl.ops.quarantine import PURGE, PurgeOptions, plan_purge  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    options = PurgeOptions(
        wanted=_wanted(what or (), run, job),
        older_than=duration_of("--older-than", older_than),
        max_bytes=size_of("--max-bytes", max_bytes),
        allowed=parse_allowed(allow or (), [PURGE]),
    )
    again = ["jobctl", "quarantine", "purge", *(what or ()), *_selection(root, run, job)]
    again += ["--older-than", older_than] if older_than else []
    again += ["--max-bytes", max_bytes] if max_bytes else []
    again += allow_again(options.allowed)
    consent = Consent(again, yes=yes, dry_run=dry_run, save_as=plan, explains=explain)
    consent.check()
    wait_a_little(duration_of("--jitter", jitter))
    troubles: list[JobctlError] = []
    wait_s = math.inf if wait else 0.0
    command = "quarantine purge"
    with (
        call.open_site() as site,
        recorded(site, command, is_real=not consent.only_shows) as record,
        hold_roots(site, command=command, only=root, wait_s=wait_s) as hold,
    ):
        with call.progress() as progress:
            proposed = plan_purge(hold, options, progress=progress, troubles=troubles)
        with proposed, telling_space(call, hold, proposed):
            return record(carry_out(call, hold, proposed, consent, troubles=troubles))


def _wanted(what: Sequence[str], run: str | None, job: str | None) -> list[Wanted]:
    from jobctl.ops.quarantine import Wanted, wanted_from  # noqa: PLC0415 - help stays quick

    wanted = [wanted_from(text) for text in what]
    if run is not None or job is not None:
        wanted.append(Wanted(run_id=run, job_id=job))
    return wanted


def _selection(root: str | None, run: str | None, job: str | None) -> list[str]:
    named = {"--root": root, "--run": run, "--job": job}
    return [word for option, value in named.items() if value for word in (option, value)]


def _summary(count: int, size: int, *, is_narrow: bool) -> str:
    if not count:
        return "Nothing of that is in quarantine." if is_narrow else "Quarantine is empty."
    return (
        f"{counted(count, 'file')}, {size_shown(size)}; "
        "to give one back: jobctl quarantine restore RUN/NUMBER"
    )


def _show_entry(call: Call, entry: Entry) -> None:
    if call.output.is_terminal:
        from jobctl.report.plan_screen import entry_screen  # noqa: PLC0415 - rich is only for terminals

        call.output.screen(entry_screen(entry))
        if entry.whereabouts is Whereabouts.QUARANTINED:
            call.output.say(f"To give it back: jobctl quarantine restore {entry.run_id}/{entry.action}")
    else:
        call.output.blocks((ENTRY_COLUMNS, [entry]))
