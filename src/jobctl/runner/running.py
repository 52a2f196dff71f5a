"""One attempt that runs, and how it is ended: asked, then SIGTERM, SIGKILL, and at last its crew."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from jobctl.core.settling import Stop
from jobctl.model.attempts import Claim
from jobctl.runner.crew import Crew
from jobctl.work import TaskSpec

STUCK_CREW_S = 20.0
"""How long after SIGKILL an attempt may still seem to run until its whole crew is ended."""

_DRAIN_PATIENCE_S = 1.0
"""The same as a task's ``cancel_grace``, but for a worker whose own grace is over: it has to be gone."""


@dataclass(slots=True)
class Running:
    """An attempt of this worker's. Moments are of its monotonic clock, in seconds."""

    claim: Claim
    spec: TaskSpec
    crew: Crew
    since: float
    stop: Stop | None = None
    has_published: bool = False
    is_fenced: bool = False
    _stage: int = 0
    _stage_at: float = 0.0

    @property
    def deadline(self) -> float:
        """When something has to be done about it."""
        if self.stop is not None:
            return self._stage_at
        return float("inf") if self.spec.timeout_s is None else self.since + self.spec.timeout_s

    def ask_to_stop(self, stop: Stop, now: float) -> None:
        """Let its handler know, unless it was asked before.

        An operator's word holds also over what it was asked to stop for before: else what runs
        into its time limit while it is being cancelled would be tried again.
        """
        if self.stop is None:
            self.stop, self._stage_at = stop, now + self._patience(stop)
            self.crew.ask_to_stop(self.claim.id)
        elif stop is Stop.CANCEL:
            self.stop = stop

    def press(self, now: float) -> None:
        """Go one step further, now that its deadline has passed."""
        if self.stop is None:
            self.ask_to_stop(Stop.TIMEOUT, now)
            return
        self._stage += 1
        self._stage_at = now + self._patience(self.stop)
        if self._stage == 1:
            self.crew.signal(self.claim.id, signal.SIGTERM)
        elif self._stage == 2:
            self.kill(self.stop, now)
        elif not self.crew.is_over:
            self.crew.kill()

    def kill(self, stop: Stop, now: float) -> None:
        """End it at once."""
        self.stop = self.stop or stop
        self._stage, self._stage_at = 2, now + STUCK_CREW_S
        self.crew.signal(self.claim.id, signal.SIGKILL)

    def fence(self) -> None:
        """End it at once, whose job is somebody else's: how it ends is told to nobody."""
        self.is_fenced = True
        self.crew.signal(self.claim.id, signal.SIGKILL)

    def _patience(self, stop: Stop) -> float:
        longest = self.spec.cancel_grace_s
        return min(longest, _DRAIN_PATIENCE_S) if stop is Stop.DRAIN else longest
