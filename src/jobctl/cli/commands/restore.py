"""``jobctl restore``: put a backup in the store's place."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.approval import Consent
from jobctl.cli.asking import is_confirmed
from jobctl.cli.context import Call, call_of
from jobctl.cli.options import DryRunOption, YesOption
from jobctl.cli.output import Format
from jobctl.errors import ApprovalNeeded, ExitCode, JobctlError
from jobctl.model.amounts import counted
from jobctl.model.backup import Lost, RestorePlan
from jobctl.report.backup_screen import (
    BESIDE_COLUMNS,
    already_said,
    beside_each_other,
    left_said,
    plan_item,
    plan_said,
    plan_screen,
)
from jobctl.report.envelope import Ending

if TYPE_CHECKING:
    from jobctl.ops.restore import Restored


def restore(
    context: typer.Context,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What 'jobctl backup' made.")],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> ExitCode:
    """Put a backup in the store's place; the store that is there is kept beside it."""
    from jobctl.ops.restore import carry_out, prepare_restore  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    consent = Consent(["jobctl", "restore", file], yes=yes, dry_run=dry_run)
    consent.check()
    settings = call.settings()
    with ExitStack() as stack:
        with call.progress() as progress:
            prepared = stack.enter_context(prepare_restore(settings, file, progress=progress))
        if not yes:
            _show(call, prepared.plan)
        if dry_run:
            call.output.say(f"Nothing was changed; to do this: {consent.again}")
            return call.output.end(_ending(prepared.plan))
        if not yes and not call.can_ask:
            return call.output.end(_ending(prepared.plan, _needs_approval(consent.again)))
        if not yes and not is_confirmed("\nPut this backup in the store's place?"):
            call.output.say("Nothing was changed.")
            return ExitCode.APPROVAL
        with call.progress() as progress:
            restored = carry_out(settings, prepared, progress=progress)
    return _end(call, restored)


def _show(call: Call, plan: RestorePlan) -> None:
    if call.output.format is not Format.TEXT:
        return
    if call.output.is_terminal:
        call.output.screen(plan_screen(plan, call.output.width))
        return
    call.output.blocks((BESIDE_COLUMNS, beside_each_other(plan)))
    for sentence in plan_said(plan):
        call.output.say(sentence)


def _needs_approval(again: str) -> ApprovalNeeded:
    return ApprovalNeeded(
        "putting a backup in the store's place needs a yes, and there is no terminal to ask on; "
        "nothing was changed",
        hint=f"do it: {again}",
    )


def _end(call: Call, restored: Restored) -> ExitCode:
    plan = restored.plan
    for warning in restored.warnings:
        call.output.warn(warning)
    call.output.say(
        f"Restored {counted(plan.backup.total, 'job')} and {counted(plan.backup.events, 'event')} "
        f"from {plan.file}."
    )
    if plan.kept_as is not None:
        call.output.say(f"The store that was there is kept as {plan.kept_as}.")
    if plan.already is not None:
        call.output.say(already_said(*plan.already))
    if restored.roots:
        call.output.say(
            "Nothing is called missing until a complete recover was applied. "
            "Before any worker starts: jobctl recover"
        )
    for sentence in left_said(plan):
        call.output.say(sentence)
    call.output.say(f"It is run {restored.run_id}: jobctl run show {restored.run_id}")
    return call.output.end(_ending(plan, run_id=restored.run_id))


def _ending(plan: RestorePlan, error: JobctlError | None = None, run_id: str | None = None) -> Ending:
    lost = plan.lost or Lost(0, 0, 0)
    counts = {"jobs": plan.backup.total, "events": plan.backup.events}
    counts |= {f"lost_{name}": value for name, value in lost._asdict().items()}
    code = error.exit_code if error else ExitCode.CLEAN
    errors = [error] if error else []
    return Ending(code, run_id=run_id, counts=counts, errors=errors, data=plan_item(plan))
