"""Figures: what one change of a job's status counts as, and all figures of a group of changes. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from jobctl.core.histogram import Histogram
from jobctl.model.explained import Explained
from jobctl.model.status import Cause, Status


class Figure(Explained):
    """What is counted. One change may count as two: a job that failed because its worker was lost is both."""

    CREATED = "created", "jobs that were enqueued, or recorded by a service"
    IMPORTED = "imported", "records that came from a dump or an export"
    STARTED = "started", "attempts that began"
    COMPLETED = "completed", "jobs whose work was done"
    FAILED = "failed", "jobs that failed for good"
    CANCELLED = "cancelled", "jobs that an operator ended"
    EXPIRED = "expired", "jobs whose time was over"
    RETRIED = "retried", "jobs queued again after a failure, by the policy or by an operator"
    LOST = "lost", "attempts whose worker died or was cut off"
    RECOVERED = "recovered", "records that recover rebuilt, or completed by their video"


# A plan's changes name the verb of their step where others name a cause.
_BY_RECOVER = frozenset({Cause.RECOVER.value, "complete"})
_WORKER_GONE = frozenset({Cause.RESCUE.value, Cause.PROOF_OF_DEATH.value, "requeue", "fail"})
_ENDED = {
    Status.FAILED.value: Figure.FAILED,
    Status.CANCELLED.value: Figure.CANCELLED,
    Status.EXPIRED.value: Figure.EXPIRED,
}
_MADE = {"created": Figure.CREATED, "imported": Figure.IMPORTED, "recovered": Figure.RECOVERED}


class Move(NamedTuple):
    """What of a change decides on what it counts as; the words are those of ``core.tally.Flow``."""

    origin: str
    from_status: str
    to_status: str
    cause: str
    error_code: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether it tells of an attempt, or a job, that failed."""
        failed = bool(self.error_code) or self.to_status == Status.FAILED
        return self.origin == "status" and bool(self.from_status) and failed


@lru_cache(maxsize=1024)
def figures_of(move: Move) -> tuple[Figure, ...]:
    """What a change counts as; nothing where a run was taken back or a record was removed."""
    origin, from_status, to_status, cause, _ = move
    if origin in _MADE:
        return (_MADE[origin],)
    if origin != "status" or not to_status:
        return ()
    lost = (Figure.LOST,) if from_status == Status.PROCESSING and cause in _WORKER_GONE else ()
    if to_status == Status.PROCESSING:
        return (Figure.STARTED,)
    if to_status == Status.COMPLETED:
        return (Figure.RECOVERED if cause in _BY_RECOVER else Figure.COMPLETED, *lost)
    if to_status == Status.QUEUED:
        is_retry = cause == Cause.RETRY or from_status != Status.PROCESSING
        return (Figure.RETRIED,) if is_retry else lost
    return (_ENDED[to_status], *lost)


@dataclass(slots=True)
class Figures:
    """The figures of one group of changes.

    ``failures`` counts attempts that failed by error code, also those that were tried again.
    ``run`` holds how long attempts ran, however they ended, and ``wait`` how long jobs had been due.
    """

    counts: Counter[Figure] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    wait: Histogram = field(default_factory=Histogram)
    run: Histogram = field(default_factory=Histogram)

    def add_moves(self, move: Move, count: int) -> None:
        """Count so many equal changes."""
        for figure in figures_of(move):
            self.counts[figure] += count
        if move.is_failure:
            self.failures[move.error_code] += count

    def add(self, other: Figures) -> None:
        """Count what another group counted."""
        self.counts.update(other.counts)
        self.failures.update(other.failures)
        self.wait.merge(other.wait)
        self.run.merge(other.run)

    @property
    def success_rate(self) -> float | None:
        """The share, 0 to 1, of those completed among all that completed or failed."""
        ended = self.counts[Figure.COMPLETED] + self.counts[Figure.FAILED]
        return self.counts[Figure.COMPLETED] / ended if ended else None
