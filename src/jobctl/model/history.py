"""The history of all jobs: which of its lines are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from jobctl.model.job import Event
from jobctl.model.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are wanted; what is empty asks for nothing.

    ``actor`` and ``text`` are sought within, whatever their case: ``text`` in job id, actor and
    detail. ``cause`` is what brought a change about, or the verb of a plan's step. ``job_same``:
    what fields of the job itself have to say, which a job that is no longer recorded does not.
    """

    job_ids: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    from_statuses: frozenset[Status] = frozenset()
    to_statuses: frozenset[Status] = frozenset()
    cause: str | None = None
    actor: str | None = None
    run_id: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    job_same: Mapping[str, str] = field(default_factory=dict)


def cause_of(event: Event) -> str | None:
    """What brought a change about: its cause, or the verb of the step of a plan that wrote it."""
    told = event.detail or {}
    cause = told.get("cause") or told.get("verb")
    return cause if isinstance(cause, str) else None
