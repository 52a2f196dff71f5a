"""From a plan to its run: show it, ask, apply it, tell what became of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import typer

from jobctl.cli.context import Call
from jobctl.cli.output import Format
from jobctl.errors import ApprovalNeeded, ExitCode, JobctlError, UsageError, most_severe
from jobctl.model.plan import Outcome
from jobctl.report.digest import CALM_KINDS
from jobctl.report.envelope import Ending
from jobctl.report.items import action_item, finding_item
from jobctl.report.listings import STEP_COLUMNS, Step
from jobctl.report.units import counted

if TYPE_CHECKING:
    from jobctl.ops.apply import RunReport
    from jobctl.ops.hold import Hold
    from jobctl.ops.plan import Plan

_FAULTS = {Outcome.FAILED, Outcome.CONFLICT, Outcome.SKIPPED}
_FAULTS_SHOWN = 15


class Consent(NamedTuple):
    """What the caller agreed to beforehand. ``again`` is the command that applies the plan."""

    again: str
    yes: bool = False
    dry_run: bool = False
    save_as: str | None = None

    @property
    def only_shows(self) -> bool:
        """Whether nothing is to be changed."""
        return self.dry_run or self.save_as is not None

    def check(self) -> None:
        """Raise ``UsageError`` for a yes to a plan that is not to be applied."""
        if self.yes and self.only_shows:
            raise UsageError(
                "--yes applies the plan, --dry-run and --plan do not; nothing was changed",
                hint="leave one of them out",
            )


def carry_out(
    call: Call, hold: Hold, plan: Plan, consent: Consent, *, troubles: Sequence[JobctlError] = ()
) -> ExitCode:
    """Do with a plan what the caller agreed to, and end the answer.

    ``troubles``: what could not be read while the plan was made; the answer tells it too.
    """
    from jobctl.ops.apply import apply_plan  # noqa: PLC0415 - slow to import

    if consent.save_as is not None:
        plan.save(consent.save_as)
    if consent.only_shows:
        _show_plan(call, plan)
        return _end_with_plan(call, plan, consent, troubles)
    if plan.total and not consent.yes:
        _show_plan(call, plan)
        if not call.can_ask:
            return _end_without_approval(call, plan, consent, troubles)
        if not is_confirmed(f"\nApply {counted(plan.total, 'step')}?"):
            call.output.say("Nothing was changed.")
            return ExitCode.APPROVAL
    with call.progress() as progress:
        report = apply_plan(hold, plan, progress=progress)
    return _end_with_report(call, hold, plan, report, troubles)


def is_confirmed(question: str) -> bool:
    """Ask; what ends the question ends its line too."""
    try:
        return typer.confirm(question, default=False)
    except typer.Abort:
        typer.echo()
        raise


def _show_plan(call: Call, plan: Plan) -> None:
    if call.output.is_terminal and plan.total:
        # Rich is only for terminals.
        from jobctl.report.plan_screen import digest_plan, plan_screen  # noqa: PLC0415

        # What cannot be imported was told by the command itself, entry by entry.
        is_import = plan.header.command == "import"
        told, findings = (iter(()), {}) if is_import else (plan.told(), plan.findings)
        digest = digest_plan(plan, told, counts=plan.counts, findings=findings)
        call.output.screen(plan_screen(digest))
        return
    _list(call, map(Step, plan))


def _list(call: Call, steps: Iterable[Step]) -> None:
    listing = call.output.listing(STEP_COLUMNS, lambda step: action_item(*step))
    for step in steps:
        listing.add(step)


def _end_with_plan(call: Call, plan: Plan, consent: Consent, troubles: Sequence[JobctlError]) -> ExitCode:
    code = ExitCode.INCOMPLETE if plan.is_incomplete or troubles else ExitCode.CLEAN
    if not plan.total:
        _say_nothing_to_do(call, plan)
    if consent.save_as is not None:
        call.output.say(f"Saved; to apply it: jobctl apply {shlex.quote(consent.save_as)}")
    elif plan.total:
        call.output.say(f"Nothing was changed; to apply this: {consent.again}")
    return call.output.end(Ending(code, counts=_planned(plan), errors=troubles, data=_plan_data(plan)))


def _end_without_approval(
    call: Call, plan: Plan, consent: Consent, troubles: Sequence[JobctlError]
) -> ExitCode:
    error = ApprovalNeeded(
        f"applying {counted(plan.total, 'step')} needs a yes, and there is no terminal to ask on; "
        "nothing was changed",
        hint=f"apply them with '{consent.again}', or save them for later with --plan FILE",
    )
    errors = [*troubles, error]
    ending = Ending(error.exit_code, counts=_planned(plan), errors=errors, data=_plan_data(plan))
    return call.output.end(ending)


def _end_with_report(
    call: Call, hold: Hold, plan: Plan, report: RunReport, troubles: Sequence[JobctlError]
) -> ExitCode:
    output = call.output
    if report.run_id is None:
        _list(call, [])
        _say_nothing_to_do(call, plan)
    elif output.is_terminal:
        _show_report(call, hold, report)
    elif output.format is not Format.TEXT or not output.is_quiet or report.exit_code is not ExitCode.CLEAN:
        _list(call, _steps_taken(hold, report.run_id))
        output.say(f"Run {report.run_id}: {_outcomes(report.counts)}.")
        if report.undo_command:
            output.say(f"To take it back: {report.undo_command}")
    data = {**_plan_data(plan), "undo": report.undo_command}
    code = most_severe([report.exit_code, *(trouble.exit_code for trouble in troubles)])
    ending = Ending(code, run_id=report.run_id, counts=report.counts, errors=troubles, data=data)
    return output.end(ending)


def _show_report(call: Call, hold: Hold, report: RunReport) -> None:
    from jobctl.report.plan_screen import report_screen  # noqa: PLC0415 - rich is only for terminals

    if report.run_id is None or (call.output.is_quiet and report.exit_code is ExitCode.CLEAN):
        return
    taken = _steps_taken(hold, report.run_id) if any(report.counts.get(fault) for fault in _FAULTS) else []
    faults = islice((step for step in taken if step.outcome in _FAULTS), _FAULTS_SHOWN)
    blocks = report_screen(
        run_id=report.run_id,
        counts=report.counts,
        faults=list(faults),
        undo_command=call.output.placed(report.undo_command or "") or None,
    )
    call.output.screen(blocks)


def _steps_taken(hold: Hold, run_id: str) -> Iterable[Step]:
    from jobctl.ops.runs import actions_of  # noqa: PLC0415 - slow to import

    return (Step(taken.action, taken.outcome, taken.note) for taken in actions_of(hold.site, run_id))


def _say_nothing_to_do(call: Call, plan: Plan) -> None:
    told = sum(plan.findings.values())
    if plan.header.command == "import":
        rest = f"; {counted(told, 'entry', 'entries')} not imported" if told else ""
    else:
        rest = f"; {counted(told, 'finding')} left alone, 'jobctl scan' lists them" if told else ""
    call.output.say(f"Nothing to do{rest}.")
    if plan.declined:
        call.output.say(
            f"{counted(plan.declined, 'recovery', 'recoveries')} taken back before: "
            "jobctl recover --include-declined"
        )
    if plan.is_incomplete and plan.header.command != "import":
        call.output.warn("part of the tree could not be read, so there may be more to do")


def _outcomes(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count and name != "planned")


def _planned(plan: Plan) -> dict[str, int]:
    return {
        "planned": plan.total,
        **{outcome.value: 0 for outcome in Outcome if outcome is not Outcome.PENDING},
    }


def _plan_data(plan: Plan) -> dict[str, object]:
    told = [finding_item(finding) for finding in plan.told() if finding.kind not in CALM_KINDS]
    counts = {kind.value: count for kind, count in plan.findings.items()}
    return {"plan_id": plan.plan_id, "findings": counts, "told": told}
