"""From a plan to its run: show it, ask, apply it, tell what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from jobctl.cli.asking import is_confirmed
from jobctl.cli.context import Call
from jobctl.cli.output import Format
from jobctl.errors import ApprovalNeeded, BrakeHeld, ExitCode, JobctlError, UsageError, most_severe
from jobctl.model.amounts import counted
from jobctl.model.commands import planning_command, shell_line, shell_word
from jobctl.model.plan import Held, Outcome
from jobctl.report.digest import CALM_KINDS
from jobctl.report.envelope import Ending
from jobctl.report.items import action_item, finding_item
from jobctl.report.listings import KEPT_COLUMNS, STEP_COLUMNS, Step, kept_line
from jobctl.report.units import size_shown

if TYPE_CHECKING:
    from jobctl.ops.apply import RunReport
    from jobctl.ops.hold import Hold
    from jobctl.ops.plan import Plan

_FAULTS = {Outcome.FAILED, Outcome.CONFLICT, Outcome.SKIPPED}
_FAULTS_SHOWN = 15
_KEPT_SHOWN = 200


class Consent(NamedTuple):
    """What the caller agreed to beforehand.

    ``words``: the command line that makes this plan, without what is agreed to in it.
    ``explains``: what a policy leaves alone is listed as well, with the reasons.
    ``tells``: the command that says what is kept or held and why, where this one takes no ``--explain``.
    """

    words: Sequence[str]
    yes: bool = False
    dry_run: bool = False
    save_as: str | None = None
    explains: bool = False
    tells: str = ""

    @property
    def again(self) -> str:
        """The command that applies the plan."""
        return shell_line([*self.words, "--yes"])

    @property
    def reasons(self) -> str:
        """Where it is said why something is kept."""
        return f"'{self.tells}' says why" if self.tells else "--explain says why"

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

    troubles = [*troubles, *_brakes(plan, consent)]
    if consent.save_as is not None:
        plan.save(consent.save_as)
    if consent.only_shows:
        _show_plan(call, plan, consent)
        return _end_with_plan(call, plan, consent, troubles)
    if plan.total and not consent.yes:
        _show_plan(call, plan, consent)
        if not call.can_ask:
            return _end_without_approval(call, plan, consent, troubles)
        if not is_confirmed(f"\nApply {counted(plan.total, 'step')}?"):
            call.output.say("Nothing was changed.")
            return ExitCode.APPROVAL
    with call.progress() as progress, _noting_what_is_left(hold, plan):
        report = apply_plan(hold, plan, progress=progress)
    return _end_with_report(call, hold, plan, report, troubles, consent=consent)


@contextmanager
def _noting_what_is_left(hold: Hold, plan: Plan) -> Iterator[None]:
    """Note of a signal that ends the block how much of the plan was done by then."""
    from jobctl.ops.apply import how_far  # noqa: PLC0415 - slow to import

    try:
        yield
    except Exception:
        raise
    except BaseException as stopped:
        with suppress(JobctlError):
            reached = how_far(hold.site, plan)
            stopped.add_note(
                f"run {reached.run_id} has taken {reached.taken:,} of {counted(reached.steps, 'step')}"
                if reached
                else "nothing was changed"
            )
        raise


def _brakes(plan: Plan, consent: Consent) -> list[JobctlError]:
    """What brakes hold back, each with the option that lets it pass in one run."""
    return [
        BrakeHeld(
            f"a brake holds {_held_shown(held)} of {held.category}"
            f"{f' below root {held.root_id}' if held.root_id else ''}: {held.reason}; "
            "they were left as they are",
            hint=_past_the_brake(plan, consent, held),
        )
        for held in plan.held
    ]


def _past_the_brake(plan: Plan, consent: Consent, held: Held) -> str:
    """How to see what is held, and to let it pass. A saved plan is applied as it is, or made anew."""
    allow = ("--allow", f"{held.category}={held.allow}")
    if consent.words[1] == "apply":
        anew = f"{planning_command(plan.header.command)} {shell_line(allow)} --plan FILE"
        return f"if it is right that they go, make a new plan: {anew}"
    tells = consent.tells or shell_line([*consent.words, "--dry-run", "--explain"])
    return f"see what they are: {tells}; if it is right so: {shell_line([*consent.words, *allow, '--yes'])}"


def _held_shown(held: Held) -> str:
    parts = [counted(held.jobs, "job")] if held.jobs else []
    if held.files:
        parts.append(f"{counted(held.files, 'file')} ({size_shown(held.bytes)})")
    return " and ".join(parts)


def _show_plan(call: Call, plan: Plan, consent: Consent) -> None:
    if call.output.is_terminal:
        if plan.total:
            # Rich is only for terminals.
            from jobctl.report.plan_screen import digest_plan, plan_screen  # noqa: PLC0415

            # What cannot be imported was told by the command itself, entry by entry.
            is_import = plan.header.command == "import"
            told, findings = (iter(()), {}) if is_import else (plan.told(), plan.findings)
            digest = digest_plan(plan, told, counts=plan.counts, findings=findings)
            call.output.screen(plan_screen(digest, call.output.placed))
            # Standard input is read by now.
            if digest.is_cut and consent.dry_run and "-" not in consent.words:
                call.output.say(f"Every step: {shell_line([*consent.words, '--dry-run'])} | less")
        _show_kept(call, plan, consent)
        return
    _list(call, map(Step, plan), plan if consent.explains else None)


def _show_kept(call: Call, plan: Plan, consent: Consent) -> None:
    """On a terminal: what is left alone, or how much of it there is."""
    if not plan.kept_count:
        return
    if not consent.explains:
        # Where there is nothing else to tell, that sentence tells of them.
        if plan.total:
            kept = counted(plan.kept_count, "file or job", "files and jobs")
            call.output.say(f"Kept: {kept}; {consent.reasons}.")
        return
    from jobctl.report.screen import table  # noqa: PLC0415 - rich is only for terminals

    shown = [kept_line(kept) for kept in islice(plan.kept(), _KEPT_SHOWN)]
    call.output.screen([table(KEPT_COLUMNS, shown, call.output.width)])
    if plan.kept_count > _KEPT_SHOWN:
        call.output.say(
            f"… {plan.kept_count - _KEPT_SHOWN:,} more: send the output through a pipe to see all"
        )


def _list(call: Call, steps: Iterable[Step], explained: Plan | None = None) -> None:
    listing = call.output.listing(STEP_COLUMNS, lambda step: action_item(*step))
    for step in steps:
        listing.add(step)
    for kept in explained.kept() if explained is not None else ():
        listing.add(Step(kept_line(kept)))


def _end_with_plan(call: Call, plan: Plan, consent: Consent, troubles: Sequence[JobctlError]) -> ExitCode:
    code = ExitCode.INCOMPLETE if plan.is_incomplete else ExitCode.CLEAN
    code = most_severe([code, *(trouble.exit_code for trouble in troubles)])
    if not plan.total:
        _say_nothing_to_do(call, plan, consent)
    if consent.save_as is not None:
        call.output.say(f"Saved; to apply it: jobctl apply {shell_word(consent.save_as)}")
    elif plan.total:
        call.output.say(f"Nothing was changed; to apply this: {consent.again}")
    return call.output.end(Ending(code, counts=_planned(plan), errors=troubles, data=_plan_data(plan)))


def _end_without_approval(
    call: Call, plan: Plan, consent: Consent, troubles: Sequence[JobctlError]
) -> ExitCode:
    saving = "" if call.output.command == "apply" else "save them for later with --plan FILE, or "
    error = ApprovalNeeded(
        f"applying {counted(plan.total, 'step')} needs a yes, and there is no terminal to ask on; "
        "nothing was changed",
        hint=f"{saving}apply them: {consent.again}",
    )
    errors = [*troubles, error]
    ending = Ending(error.exit_code, counts=_planned(plan), errors=errors, data=_plan_data(plan))
    return call.output.end(ending)


def _end_with_report(
    call: Call,
    hold: Hold,
    plan: Plan,
    report: RunReport,
    troubles: Sequence[JobctlError],
    *,
    consent: Consent,
) -> ExitCode:
    output, explained = call.output, plan if consent.explains else None
    if report.run_id is None:
        _list(call, [], explained)
        if output.is_terminal:
            _show_kept(call, plan, consent)
        _say_nothing_to_do(call, plan, consent)
    elif output.is_terminal:
        _show_report(call, hold, report)
    elif output.format is Format.TEXT and output.is_quiet:
        # What cron mails is one line that says where to look.
        if report.exit_code is not ExitCode.CLEAN:
            output.warn(
                f"run {report.run_id}: {_outcomes(report.counts)}; see: jobctl run show {report.run_id}"
            )
    else:
        _list(call, _steps_taken(hold, report.run_id), explained)
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
        undo_command=report.undo_command,
        place=call.output.placed,
    )
    call.output.screen(blocks)


def _steps_taken(hold: Hold, run_id: str) -> Iterable[Step]:
    from jobctl.ops.runs import actions_of  # noqa: PLC0415 - slow to import

    return (Step(taken.action, taken.outcome, taken.note) for taken in actions_of(hold.site, run_id))


def _say_nothing_to_do(call: Call, plan: Plan, consent: Consent) -> None:
    told = sum(plan.findings.values())
    if plan.held:
        return
    if plan.header.command == "import":
        rest = f"; {counted(told, 'entry', 'entries')} not imported" if told else ""
    else:
        rest = f"; {counted(told, 'finding')} left alone, 'jobctl scan' lists them" if told else ""
    if plan.kept_count:
        why = "" if consent.explains else f", {consent.reasons}"
        rest = f"; {counted(plan.kept_count, 'file or job', 'files and jobs')} kept{why}"
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
    held = [each._asdict() for each in plan.held]
    return {"plan_id": plan.plan_id, "findings": counts, "told": told, "held": held, "kept": plan.kept_count}
