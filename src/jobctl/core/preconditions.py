"""Conditional requests: what a client knows already, and whether that still holds (RFC 9110, 13). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum
from typing import NamedTuple

_TAG = re.compile(r'(?P<weak>W/)?"(?P<tag>[\x21\x23-\x7e\x80-\uffff]*)"')


class Outcome(Enum):
    """What follows from the conditions of a request."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    FAILED = "failed"


class Conditions(NamedTuple):
    """The conditional headers of a request, as they came."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None


def outcome_of(conditions: Conditions, etag: str, modified: datetime | None = None) -> Outcome:
    """What a GET or HEAD with these conditions comes to. ``etag`` is strong, in its quotes."""
    if conditions.if_match is not None:
        if not _names(conditions.if_match, etag, is_weak=False):
            return Outcome.FAILED
    elif conditions.if_unmodified_since is not None and modified is not None:
        since = moment_of(conditions.if_unmodified_since)
        if since is not None and _whole_seconds(modified) > since:
            return Outcome.FAILED
    if conditions.if_none_match is not None:
        is_known = knows(conditions.if_none_match, etag)
        return Outcome.NOT_MODIFIED if is_known else Outcome.PROCEED
    if conditions.if_modified_since is not None and modified is not None:
        since = moment_of(conditions.if_modified_since)
        if since is not None and _whole_seconds(modified) <= since:
            return Outcome.NOT_MODIFIED
    return Outcome.PROCEED


def knows(if_none_match: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` names this entity."""
    return _names(if_none_match, etag, is_weak=True)


def is_same_for_range(if_range: str | None, etag: str, modified: datetime) -> bool:
    """Whether a ``Range`` may be answered: without ``If-Range``, or where that names just this file."""
    if if_range is None:
        return True
    if if_range.lstrip().startswith(('"', "W/")):
        return if_range.strip() == etag
    return moment_of(if_range) == _whole_seconds(modified)


def moment_of(text: str) -> datetime | None:
    """The moment of an HTTP date; ``None`` for anything else."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else None


def http_date(moment: datetime) -> str:
    """A moment as HTTP writes it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _names(header: str, etag: str, *, is_weak: bool) -> bool:
    if header.strip() == "*":
        return True
    wanted = etag.strip('"')
    return any(match["tag"] == wanted and (is_weak or not match["weak"]) for match in _TAG.finditer(header))


def _whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
