"""Limits as people write them on a command line: ages, sizes, and what a brake may let pass."""

from __future__ import annotations

import re
from collections.abc import Sequence
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


def allowed_of(texts: Sequence[str] | None, known: Sequence[str]) -> dict[str, int]:
    """What ``--allow CLASS=N`` lets pass. Raises ``UsageError``."""
    allowed = {}
    for text in texts or ():
        category, _, number = text.partition("=")
        if category not in known or not number.isascii() or not number.isdecimal():
            raise UsageError(
                f"--allow {text!r} is not CLASS=N with a class of this command",
                hint=f"classes: {', '.join(known)}",
            )
        allowed[category] = int(number)
    return allowed
