"""Sizes as people write them, ``500M`` and ``4G``, and as they read them, ``13.2 MiB``. Powers of 1024."""

from __future__ import annotations

import re

_FORM = re.compile(r"([0-9]{1,15})([kKMGTP]?)(?:i?B)?")
_FACTORS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def parse_size(text: str) -> int:
    """Read a size in bytes above 0. Raises ``ValueError`` for anything else."""
    match = _FORM.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is no size above 0")
    return int(match[1]) << 10 * _FACTORS[match[2]]


def format_size(size: int) -> str:
    """Write a size in bytes in its largest unit: ``13.2 MiB``."""
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for unit in _UNITS:
        amount /= 1024
        if amount < 1024 or unit == _UNITS[-1]:
            break
    return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.1f} {unit}"
