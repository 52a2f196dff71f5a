"""Plans: what is proposed, why, on what condition, and how it is taken back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from jobctl.model.files import FileIdentity


class Verb(StrEnum):
    """What one action does. Each has its inverse; undo is a plan of inverses."""

    CREATE = "create"
    COMPLETE = "complete"
    FAIL = "fail"
    LINK = "link"
    NOTE_MISSING = "note-missing"
    IMPORT = "import"
    REQUEUE = "requeue"
    EXPIRE = "expire"
    QUARANTINE = "quarantine"
    FORGET = "forget"
    REVERT = "revert"
    UNLINK = "unlink"
    UNNOTE = "unnote"
    RESTORE = "restore"
    PURGE = "purge"


INVERSE = {
    Verb.CREATE: Verb.FORGET,
    Verb.COMPLETE: Verb.REVERT,
    Verb.FAIL: Verb.REVERT,
    Verb.LINK: Verb.UNLINK,
    Verb.NOTE_MISSING: Verb.UNNOTE,
    Verb.IMPORT: Verb.FORGET,
    Verb.REQUEUE: Verb.REVERT,
    Verb.EXPIRE: Verb.REVERT,
    Verb.QUARANTINE: Verb.RESTORE,
}

MOVES = frozenset({Verb.QUARANTINE, Verb.RESTORE, Verb.PURGE})
"""The verbs that move or remove a file; all others change records alone."""

TAKING_BACK = frozenset(INVERSE.values())
"""The verbs of undo, and of restoring from quarantine."""


class Outcome(StrEnum):
    """The result of one action."""

    PENDING = "pending"
    DONE = "done"
    ALREADY = "already"
    SKIPPED = "skipped"
    CONFLICT = "conflict"
    FAILED = "failed"


Row = dict[str, Any]
"""Column values of one row in JSON form: moments in the 27-character form, stored paths.

The row of an imported job has a ``body`` as well: payload, result, artifacts and events."""


class Relied(NamedTuple):
    """Another file a step rests on: it must still be there as it was seen."""

    root_id: str
    path: str
    identity: FileIdentity


class Kept(NamedTuple):
    """What a policy looked at and left alone, and why. ``path`` is empty where it is about a record."""

    job_id: str
    root_id: str
    path: str
    reason: str


class Held(NamedTuple):
    """What a brake held back of one category. Sizes in bytes; ``root_id`` is empty for no root.

    ``allow`` is the number that ``--allow CATEGORY=N`` needs to let it pass: all that the run takes of it.
    """

    category: str
    root_id: str
    jobs: int
    files: int
    bytes: int
    reason: str
    allow: int


@dataclass(slots=True, kw_only=True)
class Action:
    """One step: at most one job row and one artifact row, before and after.

    ``expect_version`` is the job record's version the step was planned on (``None``: no
    record may exist). ``expect_file`` is the file it was planned on; a step whose file or
    record has changed is skipped and told.

    ``category`` is what a brake counts the step under; ``entry`` the place in quarantine,
    ``<run>/<action>``, of a file that comes from there; ``relies_on`` the copy that stays.
    """

    seq: int
    verb: Verb
    job_id: str
    reason: str
    root_id: str | None = None
    path: str | None = None
    from_status: str | None = None
    to_status: str | None = None
    confidence: str | None = None
    expect_version: int | None = None
    expect_file: FileIdentity | None = None
    job_before: Row | None = None
    job_after: Row | None = None
    artifact_before: Row | None = None
    artifact_after: Row | None = None
    category: str | None = None
    entry: str | None = None
    relies_on: Relied | None = None


@dataclass(slots=True, kw_only=True)
class PlanHeader:
    """What a plan was made for; it is applied only where all of it still holds."""

    command: str
    store_id: str
    roots: dict[str, int]
    """Root id to the generation the plan was made at."""
    created_at: str
    configuration: str
    """Digest of the layouts and settings that shaped the plan."""
    undo_of: str | None = None
    notes: list[str] = field(default_factory=list)
