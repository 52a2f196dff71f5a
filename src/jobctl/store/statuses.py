"""Conditions on a status, written out: planners use a partial index only where they see that it fits."""

from __future__ import annotations

from sqlalchemy import ColumnElement, literal_column

from jobctl.model.status import Status
from jobctl.store.schema import ENDED_JOB, EXPIRED_JOB, UNFINISHED_JOB, job

_HOLDING = {
    Status.QUEUED: UNFINISHED_JOB,
    Status.PROCESSING: UNFINISHED_JOB,
    Status.COMPLETED: ENDED_JOB,
    Status.FAILED: ENDED_JOB,
    Status.CANCELLED: ENDED_JOB,
    Status.EXPIRED: EXPIRED_JOB,
}
"""For each status, what the partial index that holds its jobs says of itself."""


def is_status(status: Status) -> ColumnElement[bool]:
    """Whether a job has a status."""
    return job.c.status == literal_column(f"'{status.value}'")


def held_by_index(status: Status) -> list[ColumnElement[bool]]:
    """The same, for the index that holds the jobs of the status by the time of their last change."""
    return [is_status(status), literal_column(_HOLDING[status])]
