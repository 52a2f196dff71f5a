"""Moments as text: RFC 3339 in UTC, always 27 characters, so that text order is time order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

TIMESTAMP_LENGTH = 27
_WITHOUT_OFFSET = TIMESTAMP_LENGTH - 1
_UP_TO_SECONDS = len("2026-01-31T23:59:59")
_SECOND = 1_000_000


def format_timestamp(moment: datetime) -> str:
    """``moment`` (aware) as ``2026-01-31T23:59:59.123456Z``."""
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime: {moment!r}")
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:_WITHOUT_OFFSET] + "Z"


def every_microsecond(moment: datetime) -> Iterator[str]:
    """``moment`` and each microsecond after it, as ``format_timestamp`` writes them, for less."""
    while True:
        second, first = format_timestamp(moment)[:_UP_TO_SECONDS], moment.microsecond
        yield from (f"{second}.{number:06}Z" for number in range(first, _SECOND))
        moment += timedelta(microseconds=_SECOND - first)


def parse_timestamp(text: str) -> datetime:
    """The moment that ``format_timestamp`` wrote; any RFC 3339 text with an offset is read."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no UTC offset in {text!r}")
    return moment.astimezone(UTC)


def from_epoch_ns(nanoseconds: int) -> datetime:
    """A file's time stamp (ns since 1970) as a moment, truncated to microseconds.

    Raises ``OverflowError`` where the stamp lies outside the years 1 to 9999.
    """
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    except (ValueError, OSError) as error:
        raise OverflowError(f"time stamp out of range: {nanoseconds} ns") from error
