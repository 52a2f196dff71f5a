"""Ages by a clock that may have jumped. Pure: clocks are read by ``ops.clocks``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from jobctl.durations import age_said
from jobctl.model.timestamps import parse_timestamp

_SLACK = timedelta(minutes=5)
_DRIFT = timedelta(hours=1)
_SILENCE = timedelta(days=30)
_LONGEST = timedelta(days=3_650)
_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)


class Ages(NamedTuple):
    """The present by the store's clock, and since when that clock is known to have run evenly."""

    now: datetime
    trusted_from: datetime | None = None

    def of(self, moment: datetime | None) -> timedelta | None:
        """How long ago a moment was, as far as the clock can be trusted; ``None`` where that is senseless.

        What is dated before the clock jumped counts from the jump: too young rather than too old.
        """
        if moment is None or moment > self.now + _SLACK or moment < _EPOCH:
            return None
        since = moment if self.trusted_from is None else max(moment, self.trusted_from)
        age = max(timedelta(0), self.now - since)
        return age if age <= _LONGEST else None

    def note(self, moment: datetime | None) -> str:
        """Since when the age of a moment counts, where that is later than the moment itself."""
        if moment is None or self.trusted_from is None or moment >= self.trusted_from:
            return ""
        return f" (counted from {shown_moment(self.trusted_from)}: the clock cannot be trusted before)"


def shown_moment(moment: datetime) -> str:
    """A moment in a reason, which is read on any host."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def shown_timestamp(text: str) -> str:
    """The same of a moment in the form of ``format_timestamp``."""
    return shown_moment(parse_timestamp(text))


class Reading(NamedTuple):
    """The store's clock at one moment, beside the reading host's seconds since its boot."""

    host: str
    boot_id: str
    boottime_s: float
    at: datetime


def why_jumped(now: Reading, before: Reading | None) -> str | None:
    """Why the store's clock cannot have run evenly since an earlier reading, or ``None``.

    ``before``: the last reading of the same host, else the newest of any.
    """
    if before is None:
        return None
    passed = now.at - before.at
    if (now.host, now.boot_id) == (before.host, before.boot_id):
        drift = passed - timedelta(seconds=now.boottime_s - before.boottime_s)
        if abs(drift) <= _DRIFT:
            return None
        return _jumped(drift, before)
    if passed < -_DRIFT:
        return _jumped(passed, before)
    if passed > _SILENCE:
        return f"nothing was heard for {age_said(passed.total_seconds())}, or the clock jumped"
    return None


def _jumped(by: timedelta, before: Reading) -> str:
    way = "was set back" if by < timedelta(0) else "jumped ahead"
    return f"the clock {way} by {age_said(abs(by).total_seconds())} since {shown_moment(before.at)}"
