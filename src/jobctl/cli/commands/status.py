"""``jobctl status``: is it well, and if not, what to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.context import Call, call_of
from jobctl.cli.output import Format
from jobctl.errors import ExitCode
from jobctl.model.status import Status
from jobctl.report.envelope import Ending
from jobctl.report.status_screen import last_run_columns, last_run_item
from jobctl.report.units import age_of, counted

if TYPE_CHECKING:
    from jobctl.ops.status import StatusReport


def status(
    context: typer.Context,
    *,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 4 where something did not end well.")
    ] = False,
) -> ExitCode:
    """Tell how many jobs stand where, and how the last runs ended."""
    from jobctl.ops.status import look  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site:
        report = look(site)
    output, jobs = call.output, {status.value: report.jobs.get(status, 0) for status in Status}
    if output.format is Format.TEXT:
        output.say(", ".join(f"{count:,} {name}" for name, count in jobs.items() if count) or "No jobs.")
    output.rows(last_run_columns(report.now), last_run_item, report.last_runs)
    _tell_what_is_amiss(call, report)
    is_amiss = bool(report.failed or report.unfinished)
    code = ExitCode.FINDINGS if is_amiss and exit_code else ExitCode.CLEAN
    return output.end(Ending(code, counts=jobs, data={"unfinished_runs": report.unfinished}))


def _tell_what_is_amiss(call: Call, report: StatusReport) -> None:
    for run in report.failed:
        since = (
            f"last success {age_of(run.succeeded_at, report.now)} ago"
            if run.succeeded_at
            else "never a success"
        )
        how = run.error or "not all was done"
        call.output.warn(f"{run.command} on {run.host} ended with exit code {run.exit_code}: {how} ({since})")
    if report.unfinished:
        what = counted(len(report.unfinished), "run")
        call.output.warn(f"{what} at work or interrupted: {report.unfinished[0]}; see: jobctl runs")
