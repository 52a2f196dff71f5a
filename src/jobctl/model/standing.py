"""How a store stands at one moment: its queues, its silent jobs, its changes, its scans, its disks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from jobctl.model.attempts import WorkerRow
from jobctl.model.health import Diagnosis, Health
from jobctl.model.runs import LastRun
from jobctl.model.status import Status


class QueueDepth(NamedTuple):
    """The queued jobs of one queue. ``is_at_least``: there are more than were counted.

    ``oldest_job`` has been due longest, since ``due_since``; ``kinds``: how many jobs of which kind are
    due and wait for a worker, and ``since``: since when the first of each; a service's own jobs wait for
    none. ``next_at``: when the first of those is due that are queued for later.
    """

    queue: str
    queued: int
    due: int
    is_at_least: bool
    oldest_job: str | None
    due_since: datetime | None
    kinds: Mapping[str, int]
    since: Mapping[str, datetime] = MappingProxyType({})
    next_at: datetime | None = None


class Silent(NamedTuple):
    """Running jobs without a recent sign of life; ``since``: of the one that is silent longest."""

    jobs: int = 0
    is_at_least: bool = False
    job_id: str | None = None
    since: datetime | None = None


class Changes(NamedTuple):
    """What became of jobs ``since`` then: how many more, or fewer, have each status.

    ``arrived`` counts only those that came to a status meanwhile, not the records made with it.
    """

    since: datetime
    net: Mapping[Status, int]
    arrived: Mapping[Status, int]


class Worker(NamedTuple):
    """A worker, how many attempts it runs, and whether it will not go on with them."""

    row: WorkerRow
    busy: int
    is_lost: bool


class ScanSeen(NamedTuple):
    """The newest walk of a root that read everything; ``None`` where there was none.

    ``is_outdated``: a run has changed records or files since. ``suspended_at``: since when nothing of the
    root is called missing, until a complete recover was applied.
    """

    root_id: str
    path: str
    finished_at: datetime | None
    findings: Mapping[str, int]
    is_outdated: bool = False
    suspended_at: datetime | None = None


class Reading(NamedTuple):
    """How much room a file system had at one moment, in bytes."""

    at: datetime
    bytes: int
    bytes_free: int


class Outlook(NamedTuple):
    """How long the room lasts at the pace that was seen, and that in words.

    ``days`` is ``None`` where it is not known; ``is_at_least``: no further was seen.
    """

    days: float | None
    is_at_least: bool
    said: str


class RootRoom(NamedTuple):
    """The room below one root; ``now`` is ``None`` where it could not be told, and ``trouble`` says why.

    ``mend``: what to do where the root is away, or is not the one that was registered.
    """

    root_id: str
    path: str
    now: Reading | None
    files: int
    files_free: int
    outlook: Outlook
    trouble: str = ""
    mend: str = ""


class Running(NamedTuple):
    """A job that is being processed. ``note``: what its attempt last said it is at."""

    job_id: str
    kind: str
    queue: str
    attempt: int
    progress: float | None
    started_at: datetime | None
    last_heartbeat: datetime | None
    worker: str | None
    note: str | None
    cancel_at: datetime | None


class Failure(NamedTuple):
    """A job that failed, and why."""

    job_id: str
    kind: str
    at: datetime
    error_code: str | None
    error: str | None


class Trouble(NamedTuple):
    """Something that is not well: what it is about, and what was found."""

    subject: str
    diagnosis: Diagnosis


@dataclass(slots=True)
class Standing:
    """One look at a store, at ``now`` by its clock.

    ``jobs`` leaves out the last ``uncounted`` changes. ``unfinished``: runs that were interrupted, or
    are at work, oldest first. ``troubles``: what is not well, the worst first.
    """

    now: datetime
    jobs: dict[Status, int]
    uncounted: int
    changes: Changes
    queues: list[QueueDepth]
    silent: Silent
    workers: list[Worker]
    last_runs: list[LastRun]
    scans: list[ScanSeen]
    rooms: list[RootRoom]
    unfinished: list[str] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def health(self) -> Health:
        """The worst of what was found."""
        return self.troubles[0].diagnosis.health if self.troubles else Health.OK


class Glimpse(NamedTuple):
    """What the live view shows: how a store stands, what runs, and what failed last."""

    standing: Standing
    running: Sequence[Running]
    failures: Sequence[Failure]
