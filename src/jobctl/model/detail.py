"""One job with everything that is recorded of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from jobctl.model.attempts import LeaseNote
from jobctl.model.job import Artifact, Event, Job
from jobctl.model.lookup import By


class JobBody(NamedTuple):
    """The wide part of a job: what it was enqueued with and what it came to, as JSON says them."""

    payload: Any = None
    result: Any = None


class JobDetail(NamedTuple):
    """One job with its files and its history, at ``now`` by the store's clock.

    ``lease``: who runs it now. ``lack``: why nobody takes it, where it is queued.
    ``found_by``: what led to it, where that was not its id. ``aside``: what of it is in quarantine.
    """

    job: Job
    artifacts: list[Artifact]
    events: list[Event]
    now: datetime
    body: JobBody = JobBody()
    lease: LeaseNote | None = None
    lack: str = ""
    found_by: By | None = None
    aside: str | None = None
