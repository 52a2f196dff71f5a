"""One attempt of a job, as worker and store speak of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from jobctl.model.job import Executor
from jobctl.model.status import Cause, Status


class AttemptId(NamedTuple):
    """A job and the number of its attempt, which is the fencing token of every write it makes."""

    job_id: str
    attempt: int


class Claim(NamedTuple):
    """A job that was taken. ``payload`` is JSON text; ``waited_s`` counts from when it was due.

    ``spared``: how many of its attempts before this one cost it nothing.
    """

    job_id: str
    attempt: int
    spared: int
    max_attempts: int
    kind: str
    payload: str | None
    waited_s: float

    @property
    def tries(self) -> int:
        """Which of its ``max_attempts`` this is."""
        return self.attempt - self.spared

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.job_id, self.attempt)


class Settlement(NamedTuple):
    """How an attempt ends. ``result`` is JSON text; ``delay_s`` the pause before the next attempt.

    ``is_spared``: it was not the job's fault, so that it costs none of its ``max_attempts``.
    ``is_delivered``: its video is published, so that asking to cancel it comes too late.
    """

    job_id: str
    attempt: int
    to: Status
    cause: Cause
    result: str | None = None
    error: str | None = None
    error_code: str | None = None
    detail: Mapping[str, Any] | None = None
    delay_s: float | None = None
    is_spared: bool = False
    is_delivered: bool = False

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.job_id, self.attempt)


class ProgressReport(NamedTuple):
    """What an attempt last told: percent, and what it is at."""

    job_id: str
    attempt: int
    percent: float
    note: str | None


class Turn(NamedTuple):
    """What one visit to the store brought: the attempts that it ended, and the jobs that it took.

    ``cancelled``: those of the ended whose job somebody had asked to cancel, and which is cancelled
    whatever the worker, which had not heard of it, meant to write.
    """

    settled: frozenset[AttemptId]
    claims: list[Claim]
    cancelled: frozenset[AttemptId] = frozenset()


class Peer(NamedTuple):
    """A worker that is not known to have ended. ``lease_s``: how long its beat may stand still."""

    worker_id: str
    executor: Executor
    lease_s: float
    beat: int


class LeaseHolder(NamedTuple):
    """A worker that holds ``jobs`` jobs, as the store knows it. ``lease_s`` in seconds."""

    worker_id: str
    executor: Executor
    lease_s: float
    beat: int
    seen_at: datetime
    is_ended: bool
    jobs: int

    @property
    def peer(self) -> Peer:
        """The same worker, as one that may still run."""
        return Peer(self.worker_id, self.executor, self.lease_s, self.beat)


class Lease(NamedTuple):
    """The right of a worker to run one attempt."""

    job_id: str
    attempt: int
    worker: str
    is_cancelled: bool

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.job_id, self.attempt)


class LeaseNote(NamedTuple):
    """Who holds a job now, what its attempt is at, and since when it is asked to stop."""

    attempt: int
    worker: str
    note: str | None
    cancel_at: datetime | None


class QueueState(NamedTuple):
    """The queued jobs of one queue: how many, how many of them are due, for how long the first has been."""

    queue: str
    queued: int
    due: int
    oldest_s: float


class WorkerRow(NamedTuple):
    """What the store knows of a worker. ``counters`` by name; see ``runner.counters.Counters``.

    ``specs``: how its tasks are declared, by name; ``troubles``: what it could not import.
    """

    worker_id: str
    state: str
    executor: Executor
    queues: list[str]
    tasks: list[str]
    slots: int
    isolation: str
    lease_s: float
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    counters: dict[str, float]
    specs: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    troubles: Sequence[str] = ()
