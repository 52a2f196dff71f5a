"""The vigil over workers: whose heartbeat stands still. Pure.

Beats are compared, never clocks: a worker is silent if the beat it had when the observer first
saw it is its beat still, a full lease later by the observer's own monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from jobctl.model.attempts import Peer


class _Seen(NamedTuple):
    beat: int
    since: float


class Vigil:
    """One observer's memory of the beats it saw. ``now`` is its monotonic clock, in seconds."""

    def __init__(self, *, longest_gap_s: float) -> None:
        self._seen: dict[str, _Seen] = {}
        self._last: float | None = None
        self._longest_gap_s = longest_gap_s

    def begin_anew(self) -> None:
        """Forget everything: the observer itself was away, or could not reach the store."""
        self._seen.clear()
        self._last = None

    def observe(self, peers: Iterable[Peer], now: float) -> list[Peer]:
        """Look once; the workers that have been silent for their whole lease."""
        if self._last is not None and now - self._last > self._longest_gap_s:
            # Whoever was paused may have been paused together with those it watches.
            self.begin_anew()
        self._last = now
        before, self._seen = self._seen, {}
        silent = []
        for peer in peers:
            seen = before.get(peer.worker_id)
            if seen is None or seen.beat != peer.beat:
                seen = _Seen(peer.beat, now)
            self._seen[peer.worker_id] = seen
            if now - seen.since >= peer.lease_s:
                silent.append(peer)
        return silent
