"""``jobctl evidence``: what server logs say of jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.asking import is_confirmed
from jobctl.cli.context import call_of
from jobctl.cli.logs import read_logs
from jobctl.cli.options import LogTimezoneOption, WaitOption, YesOption
from jobctl.cli.output import Format
from jobctl.errors import ApprovalNeeded, ExitCode, most_severe
from jobctl.model.amounts import counted
from jobctl.report.envelope import Ending
from jobctl.report.items import path_fields
from jobctl.report.listings import LOG_READ_COLUMNS, log_columns

if TYPE_CHECKING:
    from jobctl.ops.ingest import LogRead
    from jobctl.ops.logs import LogState


def ingest(
    context: typer.Context,
    *,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Logs, packed or not; - is standard input.")
    ],
    log_timezone: LogTimezoneOption = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What standard input is known by.")
    ] = None,
    wait: WaitOption = False,
) -> ExitCode:
    """Read server logs, from where an earlier reading stopped."""
    call = call_of(context)
    with call.open_site() as site:
        wait_s = math.inf if wait else 0.0
        report = read_logs(call, site, files, log_timezone, name=name, wait_s=wait_s)
    if report.errors or not call.output.is_quiet or call.output.format is not Format.TEXT:
        call.output.rows(LOG_READ_COLUMNS, _read_item, report.logs)
    code = most_severe(error.exit_code for error in report.errors)
    data = {"seconds": round(report.seconds, 3), "times_without_zone": report.naive}
    return call.output.end(Ending(code, errors=report.errors, data=data))


def list_(context: typer.Context) -> ExitCode:
    """List the logs that were read."""
    from jobctl.ops.logs import list_logs  # noqa: PLC0415 - help stays quick
    from jobctl.ops.site import store_now  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site:
        logs, now = list_logs(site), store_now(site)
    call.output.rows(log_columns(now), _log_item, logs)
    if not logs:
        call.output.say("No log was read yet; to read one: jobctl evidence ingest FILE")
    return call.output.end()


def forget(
    context: typer.Context,
    *,
    log: Annotated[str, typer.Argument(metavar="LOG", help="Its id, or its name.")],
    yes: YesOption = False,
) -> ExitCode:
    """Drop what one log said; jobs and files stay as they are."""
    from jobctl.ops.logs import forget_log, log_called  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site:
        state = log_called(site, log)
        known = f"what {state.name} says of {counted(state.jobs, 'job')}"
        if not yes:
            if not call.can_ask:
                raise ApprovalNeeded(
                    f"dropping {known} needs a yes, and there is no terminal to ask on; nothing was changed",
                    hint=f"jobctl evidence forget {state.log_id} --yes",
                )
            if not is_confirmed(f"Drop {known}?"):
                call.output.say("Nothing was changed.")
                return ExitCode.APPROVAL
        forget_log(site, state.log_id)
    call.output.say(f"Dropped {known}. To read it again: jobctl evidence ingest FILE")
    return call.output.end(Ending(data=_log_item(state)))


def _read_item(read: LogRead) -> Mapping[str, Any]:
    return {**read._asdict(), **path_fields(read.path)}


def _log_item(state: LogState) -> Mapping[str, Any]:
    parts = [
        {**path_fields(part.path), "bytes": part.read_bytes, "lines": part.read_lines} for part in state.parts
    ]
    return {**state._asdict(), "parts": parts}
