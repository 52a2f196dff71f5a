"""``jobctl import``: the jobs of a dump."""

from __future__ import annotations

import math
import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.approval import Consent, carry_out
from jobctl.cli.context import Call, call_of
from jobctl.cli.options import DryRunOption, SavePlanOption, WaitOption, YesOption
from jobctl.errors import ExitCode
from jobctl.model.amounts import counted
from jobctl.model.dump import DumpFormat

if TYPE_CHECKING:
    from jobctl.ops.transfer import Proposed

_TOLD = 20


def import_(
    context: typer.Context,
    *,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The dump, - for standard input, or source:NAME.")
    ],
    format_: Annotated[
        DumpFormat | None,
        typer.Option("--format", help="How it is written; else its name or its beginning tells."),
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="TABLE", help="The table of a SQLite file.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="What to call the dump; else the file's name."),
    ] = None,
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="The zone of times without an offset.")
    ] = "UTC",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    plan: SavePlanOption = None,
    wait: WaitOption = False,
) -> ExitCode:
    """Record the jobs of a dump, or of an export; no record is overwritten."""
    from jobctl.ops.hold import hold_store  # noqa: PLC0415 - help stays quick
    from jobctl.ops.transfer import Dump, plan_import  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    again = ["jobctl", "import", file]
    again += ["--format", format_.value] if format_ else []
    again += ["--table", table] if table else []
    again += ["--source", source] if source else []
    again += ["--timezone", timezone] if timezone != "UTC" else []
    consent = Consent(again, yes=yes, dry_run=dry_run, save_as=plan)
    consent.check()
    dump = Dump(file=file, format=format_, table=table, source=source, timezone=timezone)
    wait_s = math.inf if wait else 0.0
    with call.open_site() as site, hold_store(site, command="import", wait_s=wait_s) as hold:
        with call.progress() as progress:
            proposed = plan_import(hold, dump, standard_input=sys.stdin.buffer, progress=progress)
        with proposed.plan:
            _tell(call, proposed)
            return carry_out(call, hold, proposed.plan, consent)


def _tell(call: Call, proposed: Proposed) -> None:
    """Say which entries are not imported, and why, as far as anyone reads."""
    for finding in islice(proposed.plan.told(), _TOLD):
        about = f"job {finding.job_id}, " if finding.job_id else ""
        call.output.warn(f"not imported: {about}{finding.reason}")
    rest = sum(proposed.plan.findings.values()) - _TOLD
    if rest > 0:
        call.output.warn(f"{counted(rest, 'more entry', 'more entries')} not imported; --json tells them all")
    if proposed.same:
        call.output.say(f"{counted(proposed.same, 'entry', 'entries')} recorded already, just so.")
