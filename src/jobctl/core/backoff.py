"""Backoff: how long a failed job waits for its next attempt. Pure."""

from __future__ import annotations

_MOST_DOUBLINGS = 64


def delay_after(attempt: int, *, base_s: float, most_s: float, luck: float) -> float:
    """Seconds to wait after an attempt, the first being 1: doubled each time, at most ``most_s``.

    ``luck`` between 0 and 1 picks a moment in the later half, so that jobs that failed together do
    not come back together.
    """
    doubled = base_s * 2.0 ** min(max(attempt, 1) - 1, _MOST_DOUBLINGS)
    return min(most_s, doubled) * (0.5 + 0.5 * luck)
