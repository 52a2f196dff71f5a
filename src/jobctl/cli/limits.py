"""Limits as people write them on a command line: ages and sizes."""

from __future__ import annotations

import re
from datetime import timedelta

from jobctl.durations import parse_duration
from jobctl.errors import UsageError

_SIZE = re.compile(r"([0-9]{1,15})([kKMGTP]?)(?:i?B)?")
_FACTORS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def duration_of(option: str, text: str | None) -> timedelta | None:
    """The duration an option names. Raises ``UsageError``."""
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint=f"write {option} 30d, 24h or 15m") from None


def size_of(option: str, text: str | None) -> int | None:
    """The size in bytes an option names; ``50G`` is fifty times 1024 to the third. Raises ``UsageError``."""
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None or not int(match[1]):
        raise UsageError(f"{option} {text!r} is no size above 0", hint=f"write {option} 50G or 500M")
    return int(match[1]) << 10 * _FACTORS[match[2]]
