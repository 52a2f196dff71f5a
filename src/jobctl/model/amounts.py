"""Amounts of things as people read them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Write ``1 file`` or ``1,204 files``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
