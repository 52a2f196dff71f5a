"""How long a running job takes still, from how far it came since it began. Pure."""

from __future__ import annotations

from datetime import datetime

_LEAST_PERCENT = 1.0
_MOST_AHEAD_S = 30 * 86_400.0


def seconds_left(percent: float | None, started_at: datetime | None, now: datetime) -> float | None:
    """Seconds until the job is done if it goes on as it did; ``None`` where that cannot be told."""
    if percent is None or started_at is None or not _LEAST_PERCENT <= percent < 100:
        return None
    ran_s = (now - started_at).total_seconds()
    left_s = ran_s * (100 - percent) / percent
    return left_s if 0 < left_s <= _MOST_AHEAD_S else None
