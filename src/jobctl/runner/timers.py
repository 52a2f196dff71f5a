"""When a worker does what: timers, and pauses between tries. ``now`` is a monotonic clock, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


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
class Backoff:
    """Longer and longer pauses between tries of one thing, from ``shortest`` to ``longest`` seconds."""

    shortest: float
    longest: float
    at: float = 0.0
    pause: float = 0.0

    def is_due(self, now: float) -> bool:
        return now >= self.at

    def fail(self, now: float) -> None:
        self.pause = min(self.longest, max(self.shortest, self.pause * 2))
        self.at = now + self.pause

    def succeed(self) -> None:
        self.pause = self.at = 0.0
