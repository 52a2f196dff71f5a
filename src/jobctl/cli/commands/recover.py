"""``jobctl recover``: rebuild lost records."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Annotated

import typer

from jobctl.cli.approval import Consent, carry_out
from jobctl.cli.context import call_of
from jobctl.cli.jitter import wait_a_little
from jobctl.cli.limits import duration_of
from jobctl.cli.logs import read_logs
from jobctl.cli.options import (
    DryRunOption,
    JitterOption,
    LogTimezoneOption,
    RootOption,
    SavePlanOption,
    WaitOption,
    YesOption,
)
from jobctl.cli.recording import recorded
from jobctl.errors import ExitCode, UsageError
from jobctl.model.commands import shell_line


def recover(
    context: typer.Context,
    *,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    plan: SavePlanOption = None,
    root: RootOption = None,
    include_declined: Annotated[
        bool, typer.Option("--include-declined", help="Also what an undo has taken back.")
    ] = False,
    wait: WaitOption = False,
    jitter: JitterOption = None,
    log: Annotated[
        list[str] | None,
        typer.Option("--log", metavar="FILE", help="A server log to read first; more may follow."),
    ] = None,
    log_timezone: LogTimezoneOption = None,
    more_logs: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="Further logs.")] = None,
) -> ExitCode:
    """Rebuild lost records from files, logs and other evidence."""
    from jobctl.ops.hold import hold_roots  # noqa: PLC0415 - help stays quick
    from jobctl.ops.recover import plan_recover  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    if more_logs and not log:
        raise UsageError(
            f"{more_logs[0]!r} is not expected here",
            hint=f"for a server log: {shell_line(['jobctl', 'recover', '--log', *more_logs])}",
        )
    logs = [*(log or ()), *(more_logs or ())]
    again = ["jobctl", "recover", *(["--root", root] if root else [])]
    again += ["--include-declined"] if include_declined else []
    consent = Consent(again, yes=yes, dry_run=dry_run, save_as=plan)
    consent.check()
    wait_a_little(duration_of("--jitter", jitter))
    wait_s = math.inf if wait else 0.0
    with (
        call.open_site() as site,
        recorded(site, "recover", is_real=not consent.only_shows) as record,
        ExitStack() as stack,
    ):
        # Before the roots are locked: a large log takes its time.
        troubles = read_logs(call, site, logs, log_timezone, wait_s=wait_s).errors if logs else []
        hold = stack.enter_context(hold_roots(site, command="recover", only=root, wait_s=wait_s))
        with call.progress() as progress:
            proposed = plan_recover(
                hold, include_declined=include_declined, progress=progress, troubles=troubles
            )
        with proposed:
            return record(carry_out(call, hold, proposed, consent, troubles=troubles))
