"""Moments as people write them: ``2h``, ``3d ago``, ``yesterday 10:00``, ``monday``, a date, a full time.

Pure: the moment that "now" is and the zone of the reader's clock are handed in. Whatever leaves
something out looks back: a time of day without a day, or the name of a weekday, is the last one
there has been, so that ``22:00`` at half past midnight is last night's.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

EXAMPLES = "2h, '3d ago', 'yesterday 10:00', monday, 09:30, 2026-11-23 or 2026-11-23T10:00Z"
"""What a message shows of the forms there are."""

_UNITS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3_600,
    "hour": 3_600,
    "d": 86_400,
    "day": 86_400,
    "w": 604_800,
    "week": 604_800,
}
_NAMES = "seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d|weeks?|w"
_PART = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,6}})?) ?({_NAMES})(?![a-z])")
_AGE = re.compile(rf"{_PART.pattern}(?: ?{_PART.pattern})*(?P<ago> ago)?")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_DAYS_BACK = {"today": 0 * _DAY, "yesterday": _DAY}
_LONGEST = 80


def parse_moment(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The moment ``text`` names, in UTC; ``now`` is aware, ``zone`` the reader's, ``None`` this machine's.

    An age counts real time back from ``now``; days and times of day are those of the zone's clock.
    Of a time that the clock showed twice in autumn the first is meant; one that it skipped in spring
    is counted on as if it had not gone forward. Raises ``ValueError`` for anything else.
    """
    words = " ".join(text.lower().split()) if len(text) <= _LONGEST else ""
    try:
        if words.isascii():
            return _named(words, now, zone)
    except (ValueError, OverflowError, OSError):
        pass
    raise ValueError(f"{text[:_LONGEST]!r} is neither an age nor a time")


def _named(words: str, now: datetime, zone: tzinfo | None) -> datetime:
    if words == "now":
        return now.astimezone(UTC)
    if _AGE.fullmatch(words):
        return now.astimezone(UTC) - timedelta(seconds=sum(map(_seconds, _PART.findall(words))))
    today = now.astimezone(zone).date()
    if _CLOCK.fullmatch(words):
        return _last(today, _clock(words), now, zone, every=_DAY)
    day, _, clock = words.partition(" ")
    if day in _DAYS_BACK:
        return _at(datetime.combine(today - _DAYS_BACK[day], _clock(clock)), zone)
    weekday = _weekday(day)
    if weekday is not None:
        return _last(today - _DAY * ((today.weekday() - weekday) % 7), _clock(clock), now, zone, every=_WEEK)
    return _at(datetime.fromisoformat(words.upper()), zone)


def _seconds(part: tuple[str, str]) -> float:
    number, unit = part
    return float(number) * _UNITS[unit if unit in _UNITS else unit.removesuffix("s")]


def _clock(words: str) -> time:
    """A time of day; midnight where none is given. Raises ``ValueError``."""
    found = _CLOCK.fullmatch(words or "00:00")
    if found is None:
        raise ValueError(f"{words!r} is no time of day")
    hour, minute, second = (int(part or 0) for part in found.groups())
    return time(hour, minute, second)


def _weekday(word: str) -> int | None:
    names = (number for number, name in enumerate(_WEEKDAYS) if word in (name, name[:3]))
    return next(names, None)


def _last(day: date, clock: time, now: datetime, zone: tzinfo | None, *, every: timedelta) -> datetime:
    """The time of day on ``day``, or where that is yet to come, one period before."""
    found = _at(datetime.combine(day, clock), zone)
    return found if found <= now else _at(datetime.combine(day - every, clock), zone)


def _at(moment: datetime, zone: tzinfo | None) -> datetime:
    """A moment in UTC; one that names no offset is what the zone's clock showed."""
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)
