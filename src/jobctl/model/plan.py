"""Plans: what is proposed, why, on what condition, and how it is taken back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jobctl.model.files import FileIdentity


class Verb(StrEnum):
    """What one action does. Each has its inverse; undo is a plan of inverses."""

    CREATE = "create"
    COMPLETE = "complete"
    FAIL = "fail"
    LINK = "link"
    NOTE_MISSING = "note-missing"
    IMPORT = "import"
    FORGET = "forget"
    REVERT = "revert"
    UNLINK = "unlink"
    UNNOTE = "unnote"


INVERSE = {
    Verb.CREATE: Verb.FORGET,
    Verb.COMPLETE: Verb.REVERT,
    Verb.FAIL: Verb.REVERT,
    Verb.LINK: Verb.UNLINK,
    Verb.NOTE_MISSING: Verb.UNNOTE,
    Verb.IMPORT: Verb.FORGET,
}


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


@dataclass(slots=True, kw_only=True)
class Action:
    """One step: at most one job row and one artifact row, before and after.

    ``expect_version`` is the job record's version the step was planned on (``None``: no
    record may exist). ``expect_file`` is the file it was planned on; a step whose file or
    record has changed is skipped and told.
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
