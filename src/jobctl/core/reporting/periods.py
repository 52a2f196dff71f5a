"""Periods of a report: a day, a week or a month on a wall clock, whatever length that makes them. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_BY_THE_HOUR = timedelta(days=2)
"""Up to this length a period is divided into hours, beyond it into days."""
_MOST_DAYS = 370
_MONTH = re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})")
_WEEK = re.compile(r"(?P<year>\d{4})-[Ww](?P<week>\d{1,2})")


class Grain(StrEnum):
    """What kind of period."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Zone(NamedTuple):
    """Whose wall clock is meant; ``None`` is this machine's."""

    info: tzinfo | None = None

    def moment(self, wall: datetime) -> datetime:
        """When a wall clock shows ``wall``, in UTC; where it never does, when it leaps over that."""
        return (wall.replace(tzinfo=self.info) if self.info else wall).astimezone(UTC)

    def wall(self, moment: datetime) -> datetime:
        """What the wall clock shows at a moment."""
        return moment.astimezone(self.info)

    def midnight(self, day: date) -> datetime:
        """When a day begins, in UTC."""
        found = self.moment(datetime(day.year, day.month, day.day))  # noqa: DTZ001 - what a wall clock shows
        # Of a day that was left out whole (Apia's 2011-12-30) this machine's clock tells the day before.
        return found if self.wall(found).date() >= day else found + _DAY


class Period(NamedTuple):
    """A stretch of time, from ``since`` to before ``until``, in UTC, and what to call it."""

    name: str
    since: datetime
    until: datetime

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies in it."""
        return self.since <= moment < self.until


def period_named(text: str, grain: Grain | None, now: datetime, zone: Zone) -> Period:
    """The period a word names; of a day its week or month, where that is asked for.

    Words are ``today``, ``yesterday``, ``this``, ``last``, ``2026-01-31``, ``2026-W05`` and ``2026-01``.
    Raises ``ValueError`` for anything else, and where the word names another kind of period.
    """
    day, own = _named(text.strip().lower(), grain or Grain.DAY, zone.wall(now).date())
    if grain is not None and own is not Grain.DAY and grain is not own:
        raise ValueError(f"{text!r} names a {own}, not a {grain}")
    try:
        return _around(day, own if grain is None else grain, zone)
    except (OverflowError, ValueError):
        raise ValueError(f"{text!r} is at the edge of the calendar, beyond which nothing is told") from None


def period_between(since: datetime, until: datetime, zone: Zone) -> Period:
    """A period that somebody chose. Raises ``ValueError`` where it ends before it begins."""
    if until <= since:
        raise ValueError("it ends before it begins")
    try:
        begin, end = zone.wall(since), zone.wall(until)
    except OverflowError:
        raise ValueError("it reaches beyond the calendar") from None
    return Period(f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}", since, until)


class Bin(NamedTuple):
    """A part of a period, and what its wall clock shows when it begins."""

    label: str
    since: datetime


class Bins:
    """A period divided into the hours, or the days, of a wall clock."""

    def __init__(self, period: Period, zone: Zone) -> None:
        self.is_by_hour = period.until - period.since <= _BY_THE_HOUR
        edges = list(_hours(period) if self.is_by_hour else _days(period, zone))
        form = "%H:%M" if self.is_by_hour else "%m-%d"
        self.bins: Sequence[Bin] = [Bin(f"{zone.wall(edge):{form}}", edge) for edge in edges]
        self._edges = edges

    def of(self, moment: datetime) -> int:
        """The number of the bin that holds a moment of the period."""
        return max(0, bisect_right(self._edges, moment) - 1)


def _hours(period: Period) -> Iterator[datetime]:
    edge = period.since
    # Where the calendar ends, so do its hours.
    with suppress(OverflowError):
        while edge < period.until:
            yield edge
            edge += _HOUR


def _days(period: Period, zone: Zone) -> Iterator[datetime]:
    # Far longer periods than a year would draw thousands of bars that nobody can read.
    step = max(1, -(-(period.until - period.since).days // _MOST_DAYS))
    yield period.since
    day = zone.wall(period.since).date()
    with suppress(OverflowError):
        while (edge := zone.midnight(day := day + step * _DAY)) < period.until:
            yield edge


def _named(word: str, grain: Grain, today: date) -> tuple[date, Grain]:
    """A day in the period that is meant, and what kind of period the word itself is of."""
    if word in {"today", "this", "now"}:
        return today, Grain.DAY
    if word == "yesterday":
        return today - _DAY, Grain.DAY
    if word == "last":
        return _before(today, grain), Grain.DAY
    try:
        if month := _MONTH.fullmatch(word):
            return date(int(month["year"]), int(month["month"]), 1), Grain.MONTH
        if week := _WEEK.fullmatch(word):
            return date.fromisocalendar(int(week["year"]), int(week["week"]), 1), Grain.WEEK
        return date.fromisoformat(word), Grain.DAY
    except ValueError:
        raise ValueError(f"{word!r} names no day, week or month") from None


def _before(today: date, grain: Grain) -> date:
    if grain is Grain.MONTH:
        return today.replace(day=1) - _DAY
    return today - (7 if grain is Grain.WEEK else 1) * _DAY


def _around(day: date, grain: Grain, zone: Zone) -> Period:
    """The day, week or month around a day."""
    if grain is Grain.DAY:
        first, after, name = day, day + _DAY, day.isoformat()
    elif grain is Grain.WEEK:
        first = day - day.weekday() * _DAY
        after, name = first + 7 * _DAY, f"{first:%G-W%V}"
    else:
        first = day.replace(day=1)
        after, name = (first + 31 * _DAY).replace(day=1), f"{first:%Y-%m}"
    return Period(name, zone.midnight(first), zone.midnight(after))
