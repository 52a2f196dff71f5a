"""Quarantine: files that were moved aside, and what became of each."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from jobctl.model.files import FileIdentity
from jobctl.model.plan import Outcome

DESPITE_ERROR = "it was carried out, though the disk told of an error"
"""The note of a step that the disk bears out, while the call for it failed: the disk may be failing."""


class Item(NamedTuple):
    """One file to move into quarantine. ``path`` is relative to the root, as ``os.fsdecode`` gives it.

    ``action`` numbers it within its run; ``identity`` is the file the step was planned on.
    """

    action: int
    path: str
    identity: FileIdentity
    reason: str
    job_id: str | None = None
    role: str | None = None
    sha256: str | None = None


class Taken(NamedTuple):
    """What became of an item. ``note`` says why it was not moved, or what is odd about it."""

    item: Item
    outcome: Outcome
    note: str | None = None


class Whereabouts(StrEnum):
    """Where a file is that was once to go into quarantine."""

    QUARANTINED = "quarantined"
    IN_PLACE = "in-place"
    RESTORED = "restored"
    PURGED = "purged"
    LOST = "lost"


class Entry(NamedTuple):
    """One file of one run, as its manifest tells of it and as the disk bears it out.

    ``mode`` holds the permission bits. ``at`` is when it was to be moved, by the store's
    clock. ``age`` counts from then, or from when the file system last saw its inode change
    where that is later; ``None`` where the clocks make no sense.
    """

    run_id: str
    action: int
    path: str
    identity: FileIdentity
    mode: int
    uid: int
    gid: int
    reason: str
    job_id: str | None
    role: str | None
    sha256: str | None
    root_id: str
    store_id: str
    at: datetime
    whereabouts: Whereabouts
    age: timedelta | None
    note: str | None = None


class Released(NamedTuple):
    """What became of an entry that was to be given back or purged; ``note`` says why not."""

    entry: Entry
    outcome: Outcome
    note: str | None = None


class Unreadable(NamedTuple):
    """A part of a manifest that tells nothing: torn by a crash, or not written by jobctl.

    ``line`` counts from 1; 0 means the manifest as a whole.
    """

    run_id: str
    line: int
    why: str
