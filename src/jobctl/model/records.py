"""The narrow rows that reconciling streams by the million: tuples, moments as 27 characters of text."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from jobctl.model.files import Seen


class Record(NamedTuple):
    """What reconciling needs to know of a job. ``executor`` is JSON text."""

    job_id: str
    status: str
    version: int
    progress: float | None
    error_code: str | None
    attempt: int
    root_id: str | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    last_heartbeat: str | None
    updated_at: str
    executor: str | None


class Ended(NamedTuple):
    """What retention needs to know of a job that ended. ``updated_at`` is by the store's clock."""

    job_id: str
    kind: str
    status: str
    updated_at: datetime
    completed_at: datetime | None
    recovered_at: datetime | None


class Linked(NamedTuple):
    """An artifact row: a file the store says belongs to a job. ``path`` as ``os.fsdecode`` gives it."""

    job_id: str
    root_id: str
    path: str
    role: str
    state: str
    size: int | None
    mtime_ns: int | None
    sha256: str | None
    version: int


class Tombstone(NamedTuple):
    """A job that ended for good and is not brought back."""

    job_id: str
    at: str
    cause: str


class Declined(NamedTuple):
    """A file whose recovery an operator took back; honoured while it is the same file.

    Without a path: a record that rested on no file.
    """

    job_id: str
    root_id: str
    path: str
    inode: int
    size: int
    mtime_ns: int
    at: str
    run_id: str


class Watch(NamedTuple):
    """A heartbeat as this host first saw it, by this boot's monotonic clock (seconds)."""

    job_id: str
    boot_id: str
    attempt: int
    last_heartbeat: str | None
    since: float


class DirectoryMark(NamedTuple):
    """A directory as a walk saw it. Times in ns; ``walk_started_ns`` by the file system's clock."""

    path: str
    dev: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    walk_started_ns: int
    layout: str
    is_quiet: bool
    files: int
    bytes: int
    foreign_files: int


class LooseSince(NamedTuple):
    """A file as it was when the first complete walk found that it may go."""

    key: str
    root_id: str
    path: str
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    since: datetime

    def is_of(self, seen: Seen) -> bool:
        """Whether the file is untouched since: any change of it starts its time again."""
        now = (seen.inode, seen.size, seen.mtime_ns, seen.ctime_ns)
        return (self.inode, self.size, self.mtime_ns, self.ctime_ns) == now
