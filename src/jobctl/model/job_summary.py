"""How a job stands, as those see it who wait for it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from jobctl.model.explained import Explained
from jobctl.model.job import shown_progress
from jobctl.model.status import ENDED, Status


class JobSummary(NamedTuple):
    """The part of a record that whoever waits for the job is told. ``updated_at`` is by the store's clock."""

    job_id: str
    status: Status
    progress: float | None
    max_progress: float | None
    error: str | None
    video_url: str | None
    thumbnail_url: str | None
    created_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED

    @property
    def shown_progress(self) -> float | None:
        """The highest progress of the current attempt in percent, clamped to 0…100; 100 when completed."""
        return shown_progress(self.status, self.progress, self.max_progress)


class Where(Explained):
    """What is known of a job that has no record."""

    GONE = "gone", "it was deleted, or it expired"
    RECOVERING = "being-recovered", "there is evidence of it, and its record is yet to be rebuilt"
    DECLINED = "declined", "its record was rebuilt, and an operator took that back"
    LOST = "lost", "evidence tells of it, and a recovery since made no record of that"
    UNKNOWN = "unknown", "nothing tells of it"


class Whereabouts(NamedTuple):
    """What is known of a job without a record, in one sentence. ``since``: when it was gone."""

    where: Where
    said: str
    since: datetime | None = None
