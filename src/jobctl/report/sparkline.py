"""Sparklines: a course of numbers in one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The course of ``values``, from nought up, in at most ``width`` characters; blank where there is none.

    Where there are more values than that, the highest of each stretch is shown: a peak is never lost.
    """
    shown = [_highest(stretch) for stretch in _stretches(values, width)]
    top = max((value for value in shown if value is not None), default=0.0)
    return "".join(_bar(value, top) for value in shown)


def _stretches(values: Sequence[float | None], width: int) -> list[Sequence[float | None]]:
    count = min(len(values), max(1, width))
    cuts = [number * len(values) // count for number in range(count + 1)] if values else [0]
    return [values[low:high] for low, high in pairwise(cuts)]


def _highest(stretch: Sequence[float | None]) -> float | None:
    return max((value for value in stretch if value is not None), default=None)


def _bar(value: float | None, top: float) -> str:
    if value is None:
        return " "
    return _BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] if top > 0 else _BARS[0]
