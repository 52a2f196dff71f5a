"""Durations as people write them, ``15m`` or ``1d12h``, and as they read them, ``15 min``, ``1 d 12 h``."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_FORM = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,6})?[wdhms])+")
_PART = re.compile(r"([0-9.]+)([wdhms])")
# Weeks are written as days: "30d" is what people say.
_WRITTEN = ("d", "h", "m", "s")
LONGEST = timedelta(days=36_500)


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


def _largest(duration: timedelta) -> list[tuple[int, str]]:
    """The largest two units that there are any of; what is less than a second is left out."""
    rest, parts = max(0, int(duration.total_seconds())), []
    for unit in _WRITTEN:
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append((count, unit))
    return parts[:2] or [(0, "s")]
