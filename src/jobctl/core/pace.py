"""Pace: how many jobs to take at once, by how quickly the last ones ended. Pure.

Long jobs are taken one for each free slot, so that another worker can have the rest. Short ones
are taken in batches, as many as are done within a tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass

_AHEAD_S = 0.1
_MOST_AHEAD = 500
_STUCK_S = 0.5


@dataclass(slots=True)
class Pace:
    """Counts ends over time. ``now`` is a monotonic clock, in seconds."""

    ahead: int = 0
    """How many jobs are taken beyond the free slots."""
    _ended: int = 0
    _since: float | None = None
    _last_end: float = 0.0
    _turnover: int = 0
    """How many ends make a measurement: of all that ran when it began, and of one that began since.

    A few long jobs that happen to end together say nothing of how long one takes.
    """

    def note_start(self, now: float) -> None:
        if self._since is None:
            self._since = self._last_end = now

    def note_end(self, now: float, running: int) -> None:
        """Count one end, ``running`` being left, and adapt once there is something to measure by."""
        self._ended += 1
        self._last_end = now
        if self._since is None or self._ended <= self._turnover:
            return
        rate = self._ended / max(now - self._since, 1e-4)
        self.ahead = min(_MOST_AHEAD, int(rate * _AHEAD_S), 2 * self.ahead + 8)
        self._ended, self._since, self._turnover = 0, now, running

    def wanted(self, slots: int, running: int) -> int:
        """How many to take now: none until half of what was taken ahead is done."""
        room = slots + self.ahead - running
        return room if room > 0 and (running < slots or room * 2 >= self.ahead) else 0

    def is_stuck(self, now: float, slots: int, running: int) -> bool:
        """Whether jobs that were taken ahead wait behind one that turned out to be long."""
        if running <= slots or now - self._last_end < _STUCK_S:
            return False
        self.ahead, self._since, self._ended, self._turnover = 0, None, 0, running
        self._last_end = now
        return True
