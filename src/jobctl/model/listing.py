"""What a list of jobs is asked for, and where in it a page ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from jobctl.model.job import Job
from jobctl.model.status import Status
from jobctl.model.timestamps import TIMESTAMP_LENGTH, format_timestamp, parse_timestamp


class Order(StrEnum):
    """What a list of jobs is sorted by; by a time, the latest come first."""

    CREATED = "created"
    UPDATED = "updated"
    COMPLETED = "completed"
    ID = "id"

    @property
    def column(self) -> str:
        """The field of a job that it sorts by."""
        return "job_id" if self is Order.ID else f"{self.value}_at"


class Position(NamedTuple):
    """A place in a list: a job's time in its order, ``None`` where it has none, and its id."""

    at: datetime | None
    job_id: str

    def __str__(self) -> str:
        return self.job_id if self.at is None else f"{format_timestamp(self.at)}/{self.job_id}"


def position_of(job: Job, order: Order) -> Position:
    """Where a job stands."""
    return Position(None if order is Order.ID else getattr(job, order.column), job.job_id)


def parse_position(text: str) -> Position | None:
    """The place that ``str(position)`` wrote with its time; ``None`` where the text is an id alone."""
    moment, _, job_id = text.partition("/")
    if len(moment) != TIMESTAMP_LENGTH or not job_id:
        return None
    try:
        return Position(parse_timestamp(moment), job_id)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs, in which order.

    ``same``: what columns have to say. ``text`` is sought in id, error, owner and URL, whatever its
    case. ``spans``: for the field of an order, from when on and before when.
    """

    statuses: tuple[Status, ...] = ()
    same: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    spans: Mapping[Order, tuple[datetime | None, datetime | None]] = field(default_factory=dict)
    order: Order = Order.CREATED
    is_reversed: bool = False

    @property
    def is_by_index(self) -> bool:
        """Whether an index leads to the wanted jobs in their order, so that a page is at hand at once."""
        held = {"owner"} if self.order is Order.CREATED else set()
        plain = self.text is None and not self.same.keys() - held and not self.spans.keys() - {self.order}
        return plain and (not self.statuses or self.order is Order.UPDATED)
