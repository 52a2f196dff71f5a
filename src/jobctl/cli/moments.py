"""Moments and spans of time as options give them; the forms are those of ``core.moments``."""

from __future__ import annotations

from datetime import datetime

from jobctl.core import moments
from jobctl.errors import UsageError
from jobctl.report.units import local_time


def moment_of(option: str, text: str | None, now: datetime) -> datetime | None:
    """The moment an option names, if it is given. Raises ``UsageError``, also for an empty text."""
    return None if text is None else parse_moment(option, text, now)


def parse_moment(option: str, text: str, now: datetime) -> datetime:
    """The moment ``text`` names by this machine's clock and zone; an age counts back from ``now``.

    Raises ``UsageError`` naming the option.
    """
    try:
        return moments.parse_moment(text, now)
    except ValueError as error:
        raise UsageError(f"{option} {error}", hint=f"write {option} {moments.EXAMPLES}") from None


def parse_span(
    since: str | None, until: str | None, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """What ``--since`` and ``--until`` name. Raises ``UsageError``, also where nothing can lie between."""
    first, last = moment_of("--since", since, now), moment_of("--until", until, now)
    if first is not None and last is not None and first >= last:
        shown = f"{local_time(first)} to {local_time(last)}"
        raise UsageError(
            f"nothing lies between --since {since!r} and --until {until!r}: that is {shown}",
            hint="name the earlier moment with --since; a time without a day is the last one there has been",
        )
    return first, last
