"""Moments as people write them: an age such as ``36h``, a day, or a full time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from jobctl.errors import UsageError

_AGE = re.compile(r"(?P<number>\d{1,6})(?P<unit>s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def parse_moment(option: str, text: str, now: datetime) -> datetime:
    """The moment ``text`` names; an age counts back from ``now``, a time without offset is local.

    Raises ``UsageError`` naming the option.
    """
    age = _AGE.fullmatch(text.strip().lower())
    try:
        if age:
            return now - timedelta(seconds=int(age["number"]) * _SECONDS[age["unit"]])
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is neither an age nor a time",
            hint=f"write an age such as {option} 36h, or a time such as {option} 2026-01-31T12:00",
        ) from None
