"""``jobctl status``: is it well, and if not, what to run."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli.context import Call, call_of
from jobctl.cli.output import Format
from jobctl.cli.standing import EVERY_S, placed, refuse_json, screen, seconds_argument, watch_standing
from jobctl.errors import ExitCode, UsageError
from jobctl.model.health import Health
from jobctl.model.standing import Standing
from jobctl.report.envelope import Ending
from jobctl.report.standing_items import (
    LAST_RUN_COLUMNS,
    job_counts,
    last_run_item,
    standing_blocks,
    standing_data,
)

_CODES = {
    Health.OK: ExitCode.CLEAN,
    Health.UNKNOWN: ExitCode.INCOMPLETE,
    Health.WARN: ExitCode.FINDINGS,
    Health.FAIL: ExitCode.FINDINGS,
}


def status(
    context: typer.Context,
    *,
    seconds: Annotated[float | None, seconds_argument("With --watch: how often; 5 if not told.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 4 where something is not well.")
    ] = False,
) -> ExitCode:
    """Tell on one screen whether all is well, and if not, what is wrong and what to run."""
    from jobctl.ops.standing import look  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    if watch:
        refuse_json(call, "--watch")
    elif seconds is not None:
        hint = f"jobctl status --watch {seconds:g}"
        raise UsageError("a number of seconds says how often to look", hint=hint)
    with call.open_site() as site:
        if watch:
            return _code(watch_standing(call, site, every_s=seconds or EVERY_S), tells=exit_code)
        found = placed(call, look(site))
    return _end(call, found, tells=exit_code)


def _end(call: Call, found: Standing, *, tells: bool) -> ExitCode:
    output, code = call.output, _code(found, tells=tells)
    counts = job_counts(found)
    if output.format is not Format.TEXT:
        output.rows(LAST_RUN_COLUMNS, last_run_item, found.last_runs)
        return output.end(Ending(code, counts=counts, data=standing_data(found)))
    if not output.is_quiet or found.health is not Health.OK:
        if output.is_terminal:
            output.screen(screen(call, found))
        else:
            output.blocks(*standing_blocks(found))
    return output.end(Ending(code, counts=counts))


def _code(found: Standing | None, *, tells: bool) -> ExitCode:
    return _CODES[found.health] if tells and found is not None else ExitCode.CLEAN
