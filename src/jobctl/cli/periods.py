"""Which period a report is about, from the words of a command line."""

from __future__ import annotations

from datetime import datetime

from jobctl.cli.moments import parse_moment
from jobctl.core.reporting.periods import Grain, Period, Zone, period_between, period_named
from jobctl.errors import UsageError

_WAYS = "write a day such as yesterday or 2026-01-31, a week such as 2026-W05, or a month such as 2026-01"


def period_of(
    word: str | None, grain: Grain | None, since: str | None, until: str | None, *, now: datetime, zone: Zone
) -> Period:
    """The period that is meant; without a word the one that is now. Raises ``UsageError``."""
    try:
        if since is None and until is None:
            return period_named(word or "this", grain, now, zone)
        if word is not None or grain is not None:
            raise UsageError("--since and --until tell the period by themselves", hint="leave the rest out")
        if since is None:
            raise UsageError("--until alone tells no period", hint="add --since")
        begin = _bound("--since", since, now, zone, is_end=False)
        end = now if until is None else _bound("--until", until, now, zone, is_end=True)
        return period_between(begin, end, zone)
    except ValueError as error:
        raise UsageError(f"no such period: {error}", hint=_WAYS) from None


def _bound(option: str, text: str, now: datetime, zone: Zone, *, is_end: bool) -> datetime:
    """A day, week or month is meant from its begin to its end; anything else is the moment itself."""
    try:
        named = period_named(text, None, now, zone)
    except ValueError:
        return parse_moment(option, text, now)
    return named.until if is_end else named.since
