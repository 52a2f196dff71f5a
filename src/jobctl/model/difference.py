"""Differences: where journal, disk and store do not tell the same."""

from __future__ import annotations

from typing import NamedTuple

from jobctl.model.explained import Explained


class DifferenceKind(Explained):
    """What does not agree."""

    UNJOURNALLED = "unjournalled", "a file is in quarantine, and the journal does not say so"
    NOT_RELEASED = "not-released", "a file is in quarantine, and the journal says that it left"
    LOST = "lost", "the journal says that a file is in quarantine, and it is not there"
    BEHIND = "behind", "a file left quarantine, and the journal does not say so"
    UNTOLD = "untold", "something lies in quarantine that no manifest tells of"
    UNREADABLE = "unreadable", "part of a manifest tells nothing"
    ARTIFACT = "artifact", "a record says of its file what the disk does not"
    MISSING = "missing", "a record says that its file is present, and it is gone"
    OLDER = "older", "an older copy of a root, or of the store, was put back; what is absent proves nothing"
    INTERRUPTED = "interrupted", "a run did not come to its end"
    TOMBSTONE = "tombstone", "the record and the tombstone of a job do not agree"
    TALLY = "tally", "what metrics read is not what the history adds up to"
    PURGED_VIDEO = "purged-video", "a completed record whose video was purged"


class Difference(NamedTuple):
    """One difference; ``mend`` is the command that mends it or, where none can, shows what is known."""

    kind: DifferenceKind
    reason: str
    mend: str
    root_id: str | None = None
    run_id: str | None = None
    seq: int | None = None
    job_id: str | None = None
    path: str | None = None
