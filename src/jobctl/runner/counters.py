"""What a worker did in its life, counted."""

from __future__ import annotations

from dataclasses import dataclass

from jobctl.model.attempts import Settlement
from jobctl.model.status import Cause, Status
from jobctl.runner.options import Voice


@dataclass(slots=True)
class Counters:
    """What a worker did in its life. Waits and runs in seconds, summed up."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    handed_back: int = 0
    fenced: int = 0
    rescued: int = 0
    deaths: int = 0
    wait_s: float = 0.0
    run_s: float = 0.0

    def as_json(self) -> dict[str, float]:
        """For the store."""
        return {name: round(getattr(self, name), 3) for name in self.__dataclass_fields__}

    def note(self, settlement: Settlement, voice: Voice, *, is_settled: bool) -> None:
        """Count how an attempt ended, and tell of it where it did not simply succeed."""
        of = f"job {settlement.job_id}: attempt {settlement.attempt}"
        if not is_settled:
            self.fenced += 1
            voice.say(f"{of} no longer held it; how it ended changed nothing")
        elif settlement.to is Status.COMPLETED:
            self.completed += 1
        elif settlement.to is Status.FAILED:
            self.failed += 1
            voice.say(f"{of} failed: {settlement.error}")
        elif settlement.to is Status.CANCELLED:
            self.cancelled += 1
            voice.say(f"{of} was cancelled")
        elif settlement.cause is Cause.RETRY:
            self.retried += 1
            delay = settlement.delay_s or 0.0
            voice.say(f"{of} failed: {settlement.error}; the next begins in {delay:.0f} s")
        else:
            self.handed_back += 1
            voice.detail(f"{of} was handed back")
