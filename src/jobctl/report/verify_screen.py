"""How differences look on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType

from jobctl.model.difference import Difference, DifferenceKind
from jobctl.report.screen import Example, Place, section, spaced


def verify_screen(
    counts: Mapping[DifferenceKind, int],
    examples: Mapping[DifferenceKind, Sequence[Difference]],
    place: Place,
) -> Iterator[RenderableType]:
    """Every kind that was found, its first examples, and what mends them."""
    return spaced(_blocks(counts, examples, place))


def _blocks(
    counts: Mapping[DifferenceKind, int],
    examples: Mapping[DifferenceKind, Sequence[Difference]],
    place: Place,
) -> Iterator[RenderableType]:
    for kind in DifferenceKind:
        if counts.get(kind):
            shown = [Example(_about(each), f"{each.reason}{_mend(each)}") for each in examples[kind]]
            rest = counts[kind] - len(shown)
            more = f"… {rest:,} more: jobctl verify | less" if rest else ""
            yield section(f"{kind.value} {counts[kind]:,}", kind.meaning, shown, place(more))


def _about(difference: Difference) -> str:
    return difference.path or difference.job_id or difference.run_id or ""


def _mend(difference: Difference) -> str:
    return f"; to mend it: {difference.mend}" if difference.mend else ""
