"""Work: which tasks a worker can run, and how. From decorators and from ``jobctl.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_RETRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """How jobs of one kind are run. Times in seconds, sizes in bytes; ``None``: no limit."""

    name: str
    command: tuple[str, ...] | None = None
    """The argument vector to run instead of a Python function."""
    timeout_s: float | None = None
    retries: int = DEFAULT_RETRIES
    """How often a failed attempt is followed by another one."""
    backoff_s: float = 10.0
    """The pause before the first retry; it doubles with each further one."""
    backoff_max_s: float = 3600.0
    memory: int | None = None
    processes: int | None = None
    """How many processes the attempt may add to those of its user."""
    cancel_grace_s: float = 10.0
    """How long an attempt that was asked to stop is left alone, and again after SIGTERM."""
    queue: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """One entry of ``[schedule]``: which job to enqueue when. ``cron`` has five fields."""

    name: str
    task: str
    cron: str
    timezone: str = "UTC"
    payload: Any = None
    queue: str = "default"
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a worker of this installation runs."""

    modules: tuple[str, ...] = ()
    """Modules whose import declares tasks."""
    tasks: Mapping[str, TaskSpec] = field(default_factory=dict)
    """Tasks that are commands, and what is set for declared ones, by name."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The fields of ``TaskSpec`` that the file sets for each task."""
    schedules: tuple[ScheduleSpec, ...] = ()
    lease_s: float = 10.0
    """How long the heartbeat of a worker may stand still until its jobs are given to others."""
    grace_s: float = 30.0
    """How long running attempts may go on once a worker is asked to stop."""
