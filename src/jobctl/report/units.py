"""Numbers and moments in the words of people; machines get bytes, seconds and RFC 3339."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobctl.durations import spoken_duration
from jobctl.sizes import format_size

_AGE_UNITS = (("y", 365 * 86_400), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
# An age keeps its smaller unit up to here: 47 h says more than 1 d.
_AGE_STEP = 2


def size_shown(size: int | None) -> str:
    """A size in bytes as ``13.2 MiB``; empty where it is not known."""
    return "" if size is None else format_size(size)


def age_shown(seconds: float | None) -> str:
    """An age in seconds as ``3 d``, ``47 h`` or ``12 min``; one from the future as ``0 s``."""
    if seconds is None:
        return ""
    for unit, length in _AGE_UNITS:
        if seconds >= _AGE_STEP * length or length == 1:
            return f"{max(0, int(seconds // length))} {unit}"
    raise AssertionError("the last unit always fits")


def seconds_shown(seconds: float) -> str:
    """How long something took: ``0.4 s``, ``12 s``, ``3 min 20 s``."""
    return f"{seconds:.1f} s" if seconds < 10 else spoken_duration(timedelta(seconds=round(seconds)))


def age_of(moment: datetime | None, now: datetime) -> str:
    """How long ago ``moment`` was, as a person would say it."""
    return "" if moment is None else age_shown((now - moment).total_seconds())


def local_time(moment: datetime | None) -> str:
    """``moment`` on this machine's wall clock, to the second."""
    return "" if moment is None else f"{on_wall(moment):%Y-%m-%d %H:%M:%S}"


def on_wall(moment: datetime) -> datetime:
    """What this machine's wall clock shows at a moment; UTC, where that is beyond the calendar."""
    try:
        return moment.astimezone()
    except OverflowError:
        return moment
