"""Attempts as the history tells of them: which there were, who ran each, and how it ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from jobctl.model.job import Event
from jobctl.model.status import Cause, Status

_OUTCOMES = {
    Cause.RETRY: "failed, tried again",
    Cause.HAND_BACK: "handed back",
    Cause.RESCUE: "lost, queued again",
}
"""What an attempt came to whose job went back to the queue."""


class AttemptLine(NamedTuple):
    """One attempt. ``worker`` is who took it; ``ended_at`` and what follows are ``None`` while it runs."""

    number: int
    worker: str
    began_at: datetime
    ended_at: datetime | None = None
    outcome: str = "running"
    error: str | None = None
    error_code: str | None = None
    traceback: str | None = None
    next_after_s: float | None = None
    """The pause before the next attempt."""

    @property
    def took_s(self) -> float | None:
        """How long it ran, in seconds."""
        return None if self.ended_at is None else max(0.0, (self.ended_at - self.began_at).total_seconds())


def attempts_of(events: Iterable[Event]) -> list[AttemptLine]:
    """The attempts of one job, in order, from its history, oldest line first."""
    found: list[AttemptLine] = []
    for event in events:
        if event.to_status == Status.PROCESSING and event.attempt is not None:
            found.append(AttemptLine(event.attempt, event.actor.removeprefix("worker "), event.at))
        elif event.from_status == Status.PROCESSING and found and found[-1].ended_at is None:
            found[-1] = _ended(found[-1], event)
    return found


def _ended(line: AttemptLine, event: Event) -> AttemptLine:
    told: dict[str, Any] = event.detail or {}
    cause = told.get("cause")
    to = event.to_status or ""
    outcome = _OUTCOMES.get(cause, "queued again") if to == Status.QUEUED else to  # type: ignore[arg-type]
    return line._replace(
        ended_at=event.at,
        outcome=outcome,
        error=told.get("error") or told.get("reason"),
        error_code=told.get("error_code"),
        traceback=told.get("traceback"),
        next_after_s=told.get("retry_after_s"),
    )
