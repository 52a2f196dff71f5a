"""Jobs on their way into the queue."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from jobctl.model.job import Job
from jobctl.work import LONGEST_NAME

LARGEST_PAYLOAD = 64 << 20
"""Bytes of a payload as JSON."""


LATEST = datetime(9999, 12, 30, tzinfo=UTC)
"""Up to here a job may wait: a server shows moments in its own zone, and no driver reads a year 10000."""


def length_if_too_long(name: str | None) -> int | None:
    """How many bytes a name has, where those are more than ``LONGEST_NAME``."""
    if name is None or len(name) <= LONGEST_NAME // 4:
        return None
    length = len(name.encode(errors="surrogatepass"))
    return length if length > LONGEST_NAME else None


class New(NamedTuple):
    """A job to enqueue. ``payload`` is what JSON can say; ``None``: nothing."""

    job: Job
    payload: Any = None


class Enqueued(NamedTuple):
    """The job, and whether it was there before, under the same idempotency key.

    ``has_same_payload``: then, whether it was enqueued with what it was to be enqueued with now.
    """

    job: Job
    existed: bool
    has_same_payload: bool = True


class Left(NamedTuple):
    """One of many that was not enqueued: ``job_id`` names the job that has its idempotency key, or its id.

    ``key``: ``None`` where the id is taken. ``is_same``: whether it is that job over again, of the same
    task and with the same payload.
    """

    job_id: str
    key: str | None
    is_same: bool

    @property
    def said(self) -> str:
        """What became of it, in one sentence."""
        if self.key is None:
            return f"a job {self.job_id} is recorded already, another one; it was left as it is"
        other = "" if self.is_same else ", with another payload"
        return f"job {self.job_id} has the key {self.key!r}{other}; nothing was enqueued"
