"""Numbers and moments in the words of people; machines get bytes, seconds and RFC 3339."""

from __future__ import annotations

from datetime import datetime

from jobctl.durations import age_shown
from jobctl.sizes import format_size


def size_shown(size: int | None) -> str:
    """A size in bytes as ``13.2 MiB``; empty where it is not known."""
    return "" if size is None else format_size(size)


def age_of(moment: datetime | None, now: datetime) -> str:
    """How long ago ``moment`` was, for a narrow column."""
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
