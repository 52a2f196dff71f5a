"""``jobctl export``: the records as a file."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.cli.output import Format
from jobctl.errors import ExitCode, UsageError
from jobctl.model.amounts import counted
from jobctl.model.dump import DumpFormat
from jobctl.model.status import Status
from jobctl.report.envelope import Ending
from jobctl.report.items import path_fields


def export(
    context: typer.Context,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The new file, or - for standard output.")],
    format_: Annotated[
        DumpFormat | None,
        typer.Option("--format", help="How to write it; else the file's name tells, or it is jsonl."),
    ] = None,
    status: Annotated[
        list[Status] | None, typer.Option("--status", help="Only this status; may be repeated.")
    ] = None,
) -> ExitCode:
    """Write the records, whole, to a new file."""
    from jobctl.ops.transfer import STANDARD, export_jobs  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    output = call.output
    if file == STANDARD and output.format is not Format.TEXT:
        raise UsageError(
            "--json answers on standard output, where the records go; nothing was written",
            hint="name a file, or leave --json out",
        )
    with call.open_site() as site, call.progress() as progress:
        done = export_jobs(
            site,
            file,
            form=format_,
            statuses=frozenset(status or ()),
            standard_output=sys.stdout.buffer,
            progress=progress,
        )
    if file == STANDARD:
        return ExitCode.CLEAN
    output.say(f"Wrote {counted(done.jobs, 'job')} to {done.file} ({done.format.value}).")
    data = {**path_fields(done.file), "format": done.format.value}
    return output.end(Ending(counts={"jobs": done.jobs}, data=data))
