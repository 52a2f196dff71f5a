"""Limits as people write them on a command line: ages and sizes."""

from __future__ import annotations

from datetime import timedelta

from jobctl.durations import parse_duration
from jobctl.errors import UsageError
from jobctl.sizes import parse_size


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
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"{option} {error}", hint=f"write {option} 50G or 500M") from None
