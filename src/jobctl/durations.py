"""Durations as people write them, ``15m`` or ``1d12h``, and as they read them.

What is read depends on where it stands and what it is for:

- ``spoken_duration``: a limit, and what is held against one: ``1 min 30 s``, ``1 h 5 s``
- ``age_said``: an age in a sentence, where nobody counts its seconds: ``88 s``, ``25 min``, ``2 h 5 min``
- ``age_shown``: an age in a narrow column, in one unit: ``88 s``, ``25 min``, ``36 h``
- ``took_said`` and ``took_shown``: what was measured, in a sentence and in a column: ``40 ms``, ``1.2 s``

A column never says other than a sentence does: it is what that says, cut to one unit.
"""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_FORM = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,6})?[wdhms])+")
_PART = re.compile(r"([0-9.]+)([wdhms])")
# Weeks are written as days: "30d" is what people say.
_WRITTEN = ("d", "h", "m", "s")
LONGEST = timedelta(days=36_500)

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_COLUMN_UNITS = (("y", 365 * _DAY_S), ("d", _DAY_S), ("h", _HOUR_S), ("min", _MINUTE_S))
# An age keeps its smaller unit up to here: 47 h says more than 1 d.
_STEP = 2
_FEW_S = 10


def parse_duration(text: str) -> timedelta:
    """Read a duration. Raises ``ValueError`` for anything else, and beyond a hundred years."""
    if not _FORM.fullmatch(text):
        raise ValueError(f"{text!r} is no duration")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than a hundred years")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write a duration as ``parse_duration`` reads it, in its largest two units: ``1d12h``."""
    return "".join(f"{count}{unit}" for count, unit in _largest(duration))


def spoken_duration(duration: timedelta) -> str:
    """Write a duration for people, in its largest two units: ``1 d 12 h``, ``3 min 20 s``."""
    return " ".join(f"{count} {'min' if unit == 'm' else unit}" for count, unit in _largest(duration))


def age_said(seconds: float) -> str:
    """An age for a sentence: seconds below two minutes, minutes below a day, else hours."""
    whole = max(0, int(seconds))
    if whole >= _STEP * _MINUTE_S:
        whole -= whole % (_HOUR_S if whole >= _DAY_S else _MINUTE_S)
        return spoken_duration(timedelta(seconds=whole))
    return f"{whole} s"


def age_shown(seconds: float) -> str:
    """An age for a narrow column: ``3 d``, ``47 h`` or ``12 min``; one from the future is ``0 s``."""
    for unit, length in _COLUMN_UNITS:
        if seconds >= _STEP * length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def took_said(seconds: float) -> str:
    """How long something took, for a sentence: ``40 ms``, ``1.2 s``, ``12 s``, ``3 min 20 s``."""
    return _brief(seconds) or spoken_duration(timedelta(seconds=round(seconds)))


def took_shown(seconds: float) -> str:
    """How long something took, for a narrow column: ``40 ms``, ``1.2 s``, ``48 s``, ``3 min``."""
    return _brief(seconds) or age_shown(round(seconds))


def _brief(seconds: float) -> str:
    """What is told to a part of a second; empty where it took longer."""
    if round(seconds, 1) >= _FEW_S:
        return ""
    milliseconds = max(0, round(seconds * 1_000))
    return f"{milliseconds} ms" if milliseconds < 1_000 else f"{seconds:.1f} s"


def _largest(duration: timedelta) -> list[tuple[int, str]]:
    """The largest two units that there are any of; what is less than a second is left out."""
    rest, parts = max(0, int(duration.total_seconds())), []
    for unit in _WRITTEN:
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append((count, unit))
    return parts[:2] or [(0, "s")]
