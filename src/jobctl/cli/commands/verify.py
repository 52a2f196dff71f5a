"""``jobctl verify``: journal against disk against store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.context import Call, call_of
from jobctl.cli.options import RootOption
from jobctl.errors import ExitCode, most_severe
from jobctl.model.amounts import counted
from jobctl.model.difference import Difference, DifferenceKind
from jobctl.report.envelope import Ending
from jobctl.report.items import difference_item
from jobctl.report.listings import DIFFERENCE_COLUMNS

if TYPE_CHECKING:
    from jobctl.ops.verify import Verification

_SHOWN = 5


def verify(
    context: typer.Context,
    *,
    root: RootOption = None,
    history: Annotated[
        bool, typer.Option("--history", help="Add the whole history up again, too, and compare the sums.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 4 where there is a difference.")
    ] = False,
) -> ExitCode:
    """Compare journal, disk and store; say what mends a difference."""
    from jobctl.ops.verify import Verification  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    counts: Counter[DifferenceKind] = Counter()
    examples: dict[DifferenceKind, list[Difference]] = {}
    listing = call.output.listing(DIFFERENCE_COLUMNS, difference_item)
    with call.open_site() as site, call.progress() as progress:
        verification = Verification(site, root, progress, with_history=history)
        for found in verification:
            difference = found._replace(mend=call.output.placed(found.mend))
            counts[difference.kind] += 1
            shown = examples.setdefault(difference.kind, [])
            if len(shown) < _SHOWN:
                shown.append(difference)
            listing.add(difference)
    return _end(call, verification, counts, examples, fails=exit_code)


def _end(
    call: Call,
    verification: Verification,
    counts: Counter[DifferenceKind],
    examples: dict[DifferenceKind, list[Difference]],
    *,
    fails: bool,
) -> ExitCode:
    output = call.output
    if output.is_terminal and counts:
        from jobctl.report.verify_screen import verify_screen  # noqa: PLC0415 - rich is only for terminals

        output.screen(verify_screen(counts, examples, output.placed))
    agreed = "no difference in what could be read" if verification.troubles else "all agree"
    said = counted(counts.total(), "difference") if counts else agreed
    output.say(f"Compared {_compared(verification)}: {said}.")
    for run_id in verification.in_progress:
        output.say(f"Run {run_id} is at work; what it is about to change is not told.")
    if verification.unreadable:
        output.warn(f"{counted(verification.unreadable, 'file')} could not be looked at")
    codes = [trouble.exit_code for trouble in verification.troubles]
    codes += [ExitCode.INCOMPLETE] if verification.unreadable else []
    codes += [ExitCode.FINDINGS] if counts and fails else []
    kinds = {kind.value: count for kind, count in counts.items()}
    compared = {what: verification.counts[what] for what in ("runs", "entries", "artifacts")}
    data = {"compared": compared, "in_progress": verification.in_progress}
    return output.end(Ending(most_severe(codes), counts=kinds, errors=verification.troubles, data=data))


def _compared(verification: Verification) -> str:
    counts = verification.counts
    entries = counted(counts["entries"], "entry of quarantine", "entries of quarantine")
    artifacts = counted(counts["artifacts"], "file of a record", "files of records")
    return f"{artifacts} and {entries} ({counted(counts['runs'], 'run')})"
