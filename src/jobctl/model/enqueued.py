"""Jobs on their way into the queue."""

from __future__ import annotations

from typing import Any, NamedTuple

from jobctl.model.job import Job

LARGEST_PAYLOAD = 64 << 20
"""Bytes of a payload as JSON."""


class New(NamedTuple):
    """A job to enqueue. ``payload`` is what JSON can say; ``None``: nothing."""

    job: Job
    payload: Any = None


class Enqueued(NamedTuple):
    """The job, and whether it was there before, under the same idempotency key."""

    job: Job
    existed: bool
