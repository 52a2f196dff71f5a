"""``jobctl runs``: the applied plans, and the backups that were put back."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode
from jobctl.report.backup_screen import run_item
from jobctl.report.listings import run_columns


def runs(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many.")] = 20,
) -> ExitCode:
    """List applied plans and restores, newest first."""
    from jobctl.ops.runs import list_runs  # noqa: PLC0415 - help stays quick
    from jobctl.ops.site import store_now  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    with call.open_site() as site:
        found, now = list_runs(site, limit=limit), store_now(site)
    call.output.rows(run_columns(now), lambda run: run_item(run._asdict()), found)
    if not found:
        call.output.say("No plan was applied yet.")
    return call.output.end()
