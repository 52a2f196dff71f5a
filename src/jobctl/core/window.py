"""Windows of time, as the tally can answer for them: whole hours, days and months, in UTC. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from jobctl.core.tally import Grain
from jobctl.model.timestamps import format_timestamp

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_LONG, _LONGER = timedelta(days=3), timedelta(days=92)
_COARSE_TO_FINE = (Grain.MONTH, Grain.DAY, Grain.HOUR)
MOST_PERIODS = 10_000
"""So many hours or days are listed at most: more than a year of hours."""


class By(StrEnum):
    """What figures are told apart by."""

    HOUR = "hour"
    DAY = "day"
    KIND = "kind"
    QUEUE = "queue"
    OWNER = "owner"

    @property
    def grain(self) -> Grain:
        """The shortest period that is known of these: owners are counted by the day."""
        return Grain.DAY if self in {By.DAY, By.OWNER} else Grain.HOUR


_REACH = {By.HOUR: _HOUR * 23, By.DAY: _DAY * 13, By.KIND: _HOUR * 23, By.QUEUE: _HOUR * 23, By.OWNER: _DAY}


class Piece(NamedTuple):
    """Periods of one grain, from ``since`` to before ``until``, named as the tally names them."""

    grain: Grain
    since: str
    until: str | None = None


class Window(NamedTuple):
    """What is told: whole periods of ``grain`` from ``since`` to before ``until``.

    ``asked_since`` and ``asked_until`` are what was asked for, ``None`` where nothing was.
    """

    grain: Grain
    since: datetime
    until: datetime
    now: datetime
    asked_since: datetime | None = None
    asked_until: datetime | None = None

    @property
    def is_wider(self) -> bool:
        """Whether what was asked for cut a period, which is told whole."""
        return self.asked_since not in {None, self.since} or self.asked_until not in {None, self.until}

    @property
    def is_running(self) -> bool:
        """Whether its last period is not over yet."""
        return self.until > self.now

    @property
    def hours(self) -> float:
        """How long the part of it is that has passed."""
        return max(0.0, (min(self.until, self.now) - self.since) / _HOUR)

    @property
    def trend(self) -> Grain:
        """The grain in which its course is drawn: a coarser one, where there would be too many."""
        length = self.until - self.since
        return Grain.MONTH if length > _LONGER else Grain.DAY if length > _LONG else self.grain

    def contains(self, at: str) -> bool:
        """Whether a moment, as 27 characters, lies in it."""
        return format_timestamp(self.since) <= at < format_timestamp(self.until)

    def periods(self, grain: Grain) -> Iterator[datetime]:
        """The beginning of each of its periods."""
        at = floor(self.since, grain)
        while at < self.until:
            yield at
            at = _next(at, grain)

    def pieces(self, coarsest: Grain = Grain.MONTH) -> list[Piece]:
        """What is to be added up: months where they fit, days beside them, hours beside those."""
        grains = _COARSE_TO_FINE[_COARSE_TO_FINE.index(coarsest) : _COARSE_TO_FINE.index(self.grain) + 1]
        return list(_cover(self.since, self.until, grains))


def _cover(since: datetime, until: datetime, grains: Sequence[Grain]) -> Iterator[Piece]:
    """Periods of the first grain that fit in between, and of the finer ones beside them."""
    grain, finer = grains[0], grains[1:]
    first, last = _ceiling(since, grain), floor(until, grain)
    if finer and first >= last:
        yield from _cover(since, until, finer)
        return
    if since < first and finer:
        yield from _cover(since, first, finer)
    yield Piece(grain, period_name(first, grain), period_name(last, grain))
    if last < until and finer:
        yield from _cover(last, until, finer)


def window_of(by: By, now: datetime, since: datetime | None, until: datetime | None) -> Window:
    """The window to be told of. Raises ``ValueError`` where it is empty, not there yet, or too long."""
    grain = by.grain
    end = now if until is None else until
    begin = min(end, now) - _REACH[by] if since is None else since
    if begin >= end or begin > now:
        raise ValueError("nothing lies between its beginning and its end, or it has not begun yet")
    first, last = floor(begin, grain), _ceiling(min(end, now), grain)
    if last == first or (until is None and last == now):
        last = _next(last, grain)
    if by in {By.HOUR, By.DAY} and (last - first) / (_next(first, grain) - first) > MOST_PERIODS:
        raise ValueError(f"it has more than {MOST_PERIODS:,} of what it is told by")
    return Window(grain, first, last, now, since, until if until is not None and until < now else None)


def period_name(at: datetime, grain: Grain) -> str:
    """The period that begins at ``at``, as the tally names it."""
    return format_timestamp(at)[: grain.length]


def floor(at: datetime, grain: Grain) -> datetime:
    """The beginning of the period a moment lies in."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if grain is Grain.HOUR:
        return at
    return at.replace(day=1, hour=0) if grain is Grain.MONTH else at.replace(hour=0)


def _ceiling(at: datetime, grain: Grain) -> datetime:
    begun = floor(at, grain)
    return begun if begun == at else _next(begun, grain)


def _next(begun: datetime, grain: Grain) -> datetime:
    """When the period that has begun then ends."""
    if grain is Grain.MONTH:
        return floor(begun + _DAY * 31, grain)
    return begun + (_DAY if grain is Grain.DAY else _HOUR)
