"""``jobctl run``: one applied plan."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.context import call_of
from jobctl.cli.output import Output
from jobctl.errors import ExitCode
from jobctl.model.commands import shell_line
from jobctl.model.plan import Outcome
from jobctl.report.backup_screen import put_back_said, run_item
from jobctl.report.envelope import Ending
from jobctl.report.items import action_item
from jobctl.report.listings import STEP_COLUMNS, Step

if TYPE_CHECKING:
    from jobctl.ops.runs import RunSummary, StepTaken


_ON_A_SCREEN = 200
_TOLD_BESIDE = {"run_id", "counts"}


def show(
    context: typer.Context,
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, as 'jobctl runs' lists it.")],
    outcome: Annotated[
        list[Outcome] | None,
        typer.Option("--result", help="Only steps that came to this; may be repeated."),
    ] = None,
) -> ExitCode:
    """Show one run and what became of each step."""
    from jobctl.ops.runs import actions_of, get_run  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    output = call.output
    with call.open_site() as site:
        summary = get_run(site, run)
        _show_summary(output, summary)
        taken: Iterator[Step] = (
            _step(each) for each in actions_of(site, run) if not outcome or each.outcome in outcome
        )
        shown = islice(taken, _ON_A_SCREEN) if output.is_terminal else taken
        output.rows(STEP_COLUMNS, lambda step: action_item(*step), shown)
        has_more = output.is_terminal and next(taken, None) is not None
    if has_more:
        only = [word for each in outcome or () for word in ("--result", each.value)]
        every = shell_line(["jobctl", "run", "show", run, *only])
        output.say(f"The first {_ON_A_SCREEN} steps are shown; all of them: {every} | less")
    about = {name: value for name, value in _item(output, summary).items() if name not in _TOLD_BESIDE}
    return output.end(Ending(run_id=summary.run_id, counts=summary.counts, data={"run": about}))


def _step(taken: StepTaken) -> Step:
    outcome = None if taken.outcome is Outcome.PENDING else taken.outcome
    return Step(taken.action, outcome, taken.note)


def _item(output: Output, summary: RunSummary) -> dict[str, Any]:
    item = run_item(summary._asdict())
    if item["restored"] and item["restored"]["take_back"]:
        item["restored"]["take_back"] = output.placed(item["restored"]["take_back"])
    return item


def _show_summary(output: Output, summary: RunSummary) -> None:
    if output.is_terminal:
        from jobctl.report.plan_screen import run_screen  # noqa: PLC0415 - rich is only for terminals

        output.screen(run_screen(_item(output, summary)))
    elif summary.restored is not None:
        output.say(put_back_said(summary.restored))
