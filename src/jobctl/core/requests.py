"""Requests: which jobs ask for the same, and which of them counts. Pure.

Nothing follows from it but what is told: a record is never changed, merged or pointed at the
file of another job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from jobctl.core.duplicates import Part
from jobctl.model.explained import Explained
from jobctl.model.names import to_shown
from jobctl.model.status import Status


class SameBy(Explained):
    """What makes two requests the same."""

    PAYLOAD = "payload", "the same payload"
    SLIDES = "slides", "the same user and slides"
    IDEMPOTENCY_KEY = "idempotency-key", "the same idempotency key"


class AskedJob(NamedTuple):
    """One of several jobs that ask for the same. ``created_at`` is 27 characters, or empty.

    ``has_video``: its whole video is on disk.
    """

    job_id: str
    kind: str
    owner: str | None
    status: str
    created_at: str
    has_video: bool

    @property
    def is_served(self) -> bool:
        return self.has_video and self.status == Status.COMPLETED


class JudgedJob(NamedTuple):
    """A job, its part in a group of like requests, and why."""

    job: AskedJob
    part: Part
    reason: str


def judge_requests(jobs: Sequence[AskedJob], same_by: SameBy) -> list[JudgedJob]:
    """The jobs of one group, keeper first: completed with its video, then the oldest, then by id."""
    ordered = sorted(jobs, key=_request_order)
    keeper = ordered[0]
    judged = [JudgedJob(keeper, Part.KEEPER, _why_kept(ordered))]
    owner = "the same owner" if keeper.owner is not None else "no owner recorded for either"
    for job in ordered[1:]:
        kind = f", as another kind ({to_shown(job.kind)})" if job.kind != keeper.kind else ""
        reason = f"{same_by.meaning} as job {to_shown(keeper.job_id)}, {owner}{kind}"
        judged.append(JudgedJob(job, Part.COPY, reason))
    return judged


def _request_order(job: AskedJob) -> tuple[bool, bool, str, str]:
    return not job.is_served, not job.created_at, job.created_at, job.job_id


def _why_kept(ordered: Sequence[AskedJob]) -> str:
    keeper, others = ordered[0], ordered[1:]
    served = "completed, and its whole video is there"
    if keeper.is_served and not any(job.is_served for job in others):
        return served
    rivals = [job for job in others if job.is_served == keeper.is_served]
    which = f"of those that are {served}" if keeper.is_served else "none is completed with a whole video"
    if any(job.created_at == keeper.created_at for job in rivals):
        return f"{which}; among the oldest its id comes first"
    return f"{which}; it is the oldest"


class RequestGroup(NamedTuple):
    """Jobs that ask for the same, the keeper first. ``group_id`` tells the group from others."""

    group_id: str
    same_by: SameBy
    judged: list[JudgedJob]


def request_keys(owner: str | None, idempotency_key: str | None, payload: Any) -> dict[SameBy, str]:
    """A digest for each way in which this request may be the same as another: equal ones are."""
    keys = {}
    if payload:
        keys[SameBy.PAYLOAD] = _digest(owner, payload)
    if isinstance(payload, dict) and payload.get("user") and payload.get("slides"):
        keys[SameBy.SLIDES] = _digest(owner, payload["user"], payload["slides"])
    if idempotency_key:
        keys[SameBy.IDEMPOTENCY_KEY] = _digest(owner, idempotency_key)
    return keys


def _digest(*parts: Any) -> str:
    """SHA-256 of canonical JSON: keys in order, no white space, whole numbers without a fraction."""
    text = json.dumps(_canonical(parts), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _canonical(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
