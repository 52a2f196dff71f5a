"""``jobctl apply``: a saved plan."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from jobctl.cli.approval import Consent, carry_out
from jobctl.cli.context import call_of
from jobctl.cli.options import DryRunOption, WaitOption, YesOption
from jobctl.errors import ExitCode


def apply(
    context: typer.Context,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A plan saved with --plan.")],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
) -> ExitCode:
    """Apply a saved plan, exactly as it was saved."""
    from jobctl.ops.hold import hold_again  # noqa: PLC0415 - help stays quick
    from jobctl.ops.plan import load_plan  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    consent = Consent(["jobctl", "apply", file], yes=yes, dry_run=dry_run)
    consent.check()
    wait_s = math.inf if wait else 0.0
    with load_plan(file) as plan:
        roots = plan.header.roots
        with call.open_site() as site, hold_again(site, roots, command="apply", wait_s=wait_s) as hold:
            return carry_out(call, hold, plan, consent)
