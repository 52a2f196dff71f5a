"""Durations as people write them: ``90s``, ``15m``, ``24h``, ``30d``, ``2w``, and joined, ``1d12h``."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_FORM = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,6})?[wdhms])+")
_PART = re.compile(r"([0-9.]+)([wdhms])")
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
    """Write a duration in its largest two units: ``1d12h``; what is less than a second is left out."""
    rest, parts = int(duration.total_seconds()), []
    for unit, length in _UNITS.items():
        count, rest = divmod(rest, length)
        # Weeks are written as days: "30d" is what people say.
        if unit == "w":
            rest += count * length
        elif count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
