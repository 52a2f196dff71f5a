"""One job record, as the store keeps it and as everything else sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from jobctl.model.status import Status


class Origin(StrEnum):
    """How a record came to be."""

    CREATED = "created"
    RECOVERED = "recovered"
    IMPORTED = "imported"


class Confidence(StrEnum):
    """How sure a rebuilt record is; the weakest fact that decided its status."""

    CERTAIN = "certain"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Executor(NamedTuple):
    """Who runs an attempt. ``pid_start`` is in clock ticks after boot (proc(5), field 22)."""

    host: str
    boot_id: str
    pid: int
    pid_start: int
    instance: str = ""


@dataclass(slots=True, kw_only=True)
class Job:
    """A job record. ``progress`` is what was last reported, whatever it says; show ``shown_progress``.

    ``attempt`` numbers every attempt that ever began, for the fence; ``spared`` counts those of them that
    cost the job none of its ``max_attempts``, since they were handed back or belong to an expired record.
    """

    job_id: str
    status: Status = Status.QUEUED
    progress: float | None = None
    error: str | None = None
    video_url: str | None = None
    thumbnail_url: str | None = None
    slide_image_path: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    last_heartbeat: datetime | None = None
    created_files: list[str] = field(default_factory=list)
    kind: str = "presentation"
    queue: str = "default"
    owner: str | None = None
    priority: int = 0
    run_at: datetime | None = None
    attempt: int = 0
    spared: int = 0
    max_attempts: int = 1
    max_progress: float | None = None
    executor: Executor | None = None
    error_code: str | None = None
    idempotency_key: str | None = None
    origin: Origin = Origin.CREATED
    confidence: Confidence | None = None
    provenance: dict[str, Any] | None = None
    root_id: str | None = None
    version: int = 1
    updated_at: datetime | None = None
    started_at: datetime | None = None
    recovered_at: datetime | None = None

    @property
    def tries(self) -> int:
        """How many of its ``max_attempts`` it has had."""
        return self.attempt - self.spared

    @property
    def shown_progress(self) -> float | None:
        """The highest progress of the current attempt in percent, clamped to 0…100; 100 when completed."""
        return shown_progress(self.status, self.progress, self.max_progress)


def shown_progress(status: Status, progress: float | None, max_progress: float | None) -> float | None:
    """What is shown of the progress that was reported last, and of the highest that was."""
    if status is Status.COMPLETED:
        return 100.0
    reported = max_progress if max_progress is not None else progress
    return None if reported is None else min(100.0, max(0.0, reported))


class Event(NamedTuple):
    """One line of a job's history."""

    event_id: int
    job_id: str
    at: datetime
    kind: str
    actor: str
    run_id: str | None
    attempt: int | None
    from_status: str | None
    to_status: str | None
    detail: dict[str, Any] | None


@dataclass(slots=True, kw_only=True)
class Artifact:
    """A file that belongs to a job. ``path`` is relative to its root, as ``os.fsdecode`` gives it."""

    job_id: str
    root_id: str
    path: str
    role: str
    state: str = "present"
    size: int | None = None
    sha256: str | None = None
    mtime_ns: int | None = None
    verdict: str | None = None
    tier: str | None = None
    media: dict[str, Any] | None = None
    noted_at: datetime | None = None
    run_id: str | None = None
    version: int = 1
