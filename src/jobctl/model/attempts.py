"""One attempt of a job, as worker and store speak of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from jobctl.model.job import Executor
from jobctl.model.status import Cause, Status


class AttemptId(NamedTuple):
    """A job and the number of its attempt, which is the fencing token of every write it makes."""

    job_id: str
    attempt: int


class Claim(NamedTuple):
    """A job that was taken. ``payload`` is JSON text; ``waited_s`` counts from when it was due."""

    job_id: str
    attempt: int
    max_attempts: int
    kind: str
    payload: str | None
    waited_s: float

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.job_id, self.attempt)


class Settlement(NamedTuple):
    """How an attempt ends. ``result`` is JSON text; ``delay_s`` the pause before the next attempt.

    ``extra_attempts``: 1 where it was not the job's fault, so that it costs no attempt.
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
    extra_attempts: int = 0

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
    """What one visit to the store brought: the attempts that it ended, and the jobs that it took."""

    settled: frozenset[AttemptId]
    claims: list[Claim]


class Peer(NamedTuple):
    """A worker that is not known to have ended. ``lease_s``: how long its beat may stand still."""

    worker_id: str
    executor: Executor
    lease_s: float
    beat: int


class Lease(NamedTuple):
    """The right of a worker to run one attempt."""

    job_id: str
    attempt: int
    worker: str
    is_cancelled: bool

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.job_id, self.attempt)


class WorkerRow(NamedTuple):
    """What the store knows of a worker. ``counters`` by name; see ``runner.worker.Counters``."""

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
