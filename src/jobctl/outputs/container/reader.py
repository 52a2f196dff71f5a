"""Bounded reading for the structural check, and the fault that ends it."""

from __future__ import annotations

import os
from typing import NamedTuple

from jobctl.model.files import Tier, Verdict

_WINDOW = 8_192


class Fault(Exception):
    """Positive evidence that a file is not whole, or that it cannot be judged."""

    def __init__(self, verdict: Verdict, tier: Tier, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.tier = tier
        self.reason = reason


class Sound(NamedTuple):
    """A file without a fault: what is odd but harmless in it, and how long it says that it is."""

    warnings: list[str]
    duration_s: float | None = None


class Reader:
    """Reads a file by position, through one small window so that headers side by side cost one call."""

    __slots__ = ("_start", "_window", "elements", "fd", "size")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self.elements = 0
        """How many elements of EBML were looked at: a small file can hold more than there is time for."""
        self._window = b""
        self._start = 0

    def at(self, position: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``position``; fewer at the end of the file."""
        offset = position - self._start
        if offset < 0 or offset + length > len(self._window):
            if length > _WINDOW:
                return os.pread(self.fd, length, position)
            self._window = os.pread(self.fd, _WINDOW, position)
            self._start, offset = position, 0
        return self._window[offset : offset + length]

    def hole_between(self, start: int, end: int) -> int | None:
        """The first position in the range whose data was never written; ``None`` where all was."""
        try:
            hole = os.lseek(self.fd, start, os.SEEK_HOLE)
        except OSError:
            return None
        return hole if hole < end else None
