"""``jobctl undo``: take back a run."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from jobctl.cli.approval import Consent, carry_out
from jobctl.cli.context import call_of
from jobctl.cli.options import DryRunOption, SavePlanOption, WaitOption, YesOption
from jobctl.errors import ExitCode


def undo(
    context: typer.Context,
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, as 'jobctl runs' lists it.")],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    plan: SavePlanOption = None,
    wait: WaitOption = False,
) -> ExitCode:
    """Take back what a run did."""
    from jobctl.ops.hold import hold_again  # noqa: PLC0415 - help stays quick
    from jobctl.ops.undo import plan_undo, roots_of_run  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    consent = Consent(["jobctl", "undo", run], yes=yes, dry_run=dry_run, save_as=plan)
    consent.check()
    wait_s = math.inf if wait else 0.0
    with call.open_site() as site:
        roots = roots_of_run(site, run)
        with (
            hold_again(site, roots, command="undo", wait_s=wait_s) as hold,
            plan_undo(hold, run) as proposed,
        ):
            return carry_out(call, hold, proposed, consent)
