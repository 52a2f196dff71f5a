"""When a worker does what: timers, and pauses between tries. ``now`` is a monotonic clock, in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SPREAD_S, _LONGEST_SPREAD_S = 0.0005, 0.05
# A little longer than whoever enqueues (store.bell) is silent after a call.
_LOOK_AGAIN_S = 0.06


@dataclass(slots=True)
class Every:
    """A timer. The first time is at once."""

    seconds: float
    at: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it is time; if so, the next time is set."""
        if now < self.at:
            return False
        self.at = now + self.seconds
        return True


@dataclass(slots=True)
class Calls:
    """When to look for work after a call.

    All workers are called at once, and one of them is enough: with others around, each looks a
    little later than it could, by chance. Whoever enqueues much calls seldom: each looks again.
    """

    at: float = math.inf
    again_at: float = math.inf

    def note(self, now: float, *, others: int, luck: float) -> None:
        """Somebody called. ``luck``: a number between 0 and 1; ``others``: how many were called, too."""
        spread = min(_LONGEST_SPREAD_S, others * _SPREAD_S)
        self.at = min(self.at, now + luck * spread)
        self.again_at = now + spread + _LOOK_AGAIN_S

    @property
    def next_at(self) -> float:
        return min(self.at, self.again_at)

    def is_due(self, now: float) -> bool:
        """Whether it is time; if so, that is done with."""
        is_due = now >= self.next_at
        self.at = math.inf if now >= self.at else self.at
        self.again_at = math.inf if now >= self.again_at else self.again_at
        return is_due


@dataclass(slots=True)
class Backoff:
    """Longer and longer pauses between tries of one thing, from ``shortest`` to ``longest`` seconds.

    Each is cut by chance, by half at most: what many workers lost at once they do not all ask for at once.
    """

    shortest: float
    longest: float
    at: float = 0.0
    pause: float = 0.0

    def is_due(self, now: float) -> bool:
        return now >= self.at

    def fail(self, now: float, *, luck: float) -> None:
        """It failed once more. ``luck``: a number between 0 and 1."""
        self.pause = min(self.longest, max(self.shortest, self.pause * 2))
        self.at = now + self.pause * (0.5 + 0.5 * luck)

    def succeed(self) -> None:
        self.pause = self.at = 0.0
