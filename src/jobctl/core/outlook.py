"""How long the room on a disk lasts, from how it was seen to shrink. Pure.

Nothing is guessed: too few readings, a disk that was enlarged, or room that goes up and down give
no answer, and none looks further ahead than a few times as far as was looked back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from jobctl.durations import age_said
from jobctl.model.amounts import counted
from jobctl.model.standing import Outlook, Reading

LEAST_READINGS = 4
LEAST_SPAN_S = 86_400.0
_MOST_READINGS = 60
_LOOKS_AHEAD = 5
_DAY_S = 86_400.0


def outlook_of(readings: Sequence[Reading]) -> Outlook:
    """When a disk will be full; the readings are of one disk, oldest first.

    The pace is the median of those between any two readings, so that one large cleanup, or one
    large upload, does not decide.
    """
    same = _of_one_size(readings)
    seen_s = (same[-1].at - same[0].at).total_seconds() if same else 0.0
    if len(same) < LEAST_READINGS or seen_s < LEAST_SPAN_S:
        return Outlook(None, is_at_least=False, said=_too_little(len(same), seen_s))
    paces = sorted(
        (later.bytes_free - earlier.bytes_free) / elapsed
        for earlier, later in combinations(_thinned(same), 2)
        if (elapsed := (later.at - earlier.at).total_seconds()) > 0
    )
    low, pace, high = (paces[len(paces) * quarter // 4] for quarter in (1, 2, 3))
    if low < 0 < high:
        return Outlook(None, is_at_least=False, said="unknown: the room goes up and down")
    if pace >= 0:
        return Outlook(None, is_at_least=False, said=f"not filling within {age_said(seen_s)}")
    days = same[-1].bytes_free / -pace / _DAY_S
    furthest = _LOOKS_AHEAD * seen_s / _DAY_S
    if days > furthest:
        return Outlook(furthest, is_at_least=True, said=f"lasts longer than {_days(furthest)}")
    return Outlook(days, is_at_least=False, said=f"full in about {_days(days)} at the pace seen")


def _of_one_size(readings: Sequence[Reading]) -> list[Reading]:
    """The readings since the disk last changed its size."""
    same: list[Reading] = []
    for reading in reversed(readings):
        if same and reading.bytes != same[-1].bytes:
            break
        same.append(reading)
    return same[::-1]


def _thinned(readings: Sequence[Reading]) -> list[Reading]:
    """Few enough to compare each with each, the first and the last among them."""
    if len(readings) <= _MOST_READINGS:
        return list(readings)
    step = (len(readings) - 1) / (_MOST_READINGS - 1)
    return [readings[round(number * step)] for number in range(_MOST_READINGS)]


def _too_little(readings: int, seen_s: float) -> str:
    if readings < LEAST_READINGS:
        return f"unknown: {counted(readings, 'reading')} so far, scans add more"
    return f"unknown: seen for {age_said(seen_s)} only"


def _days(days: float) -> str:
    return f"{days:.1f} days" if days < 10 else f"{days:,.0f} days"
