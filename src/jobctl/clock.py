"""The only importer of ``time``: everything below the edges is handed the time it needs."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """This machine's wall clock, aware, UTC. Ages of records use the store's clock instead."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds of a clock that never goes back, comparable only within one boot of one machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def monotonic_us() -> int:
    """Microseconds of the clock by which systemd orders what it is told."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
