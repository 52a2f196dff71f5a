"""Findings: the differences between the store and the world."""

from __future__ import annotations

from dataclasses import dataclass

from jobctl.model.explained import Explained
from jobctl.model.files import Seen, Tier, Verdict


class FindingKind(Explained):
    """A kind of difference."""

    ORPHAN_VIDEO = "orphan-video", "a video without a record"
    FINISHED_BUT_OPEN = "finished-but-open", "whole on disk, its record still open"
    INTERRUPTED = "interrupted", "processing, and its executor is proven dead"
    MISSING_VIDEO = "missing-video", "a completed record without its file"
    BROKEN_VIDEO = "broken-video", "a video that is not whole"
    ZOMBIE = "zombie", "processing, with a stale heartbeat"
    AMBIGUOUS = "ambiguous", "two files claim one job"
    CONFLICT = "conflict", "evidence disagrees"
    DUPLICATE = "duplicate", "the same bytes under two jobs"
    LEFTOVER = "leftover", "an intermediate of an ended job, or of none"
    TEMPORARY = "temporary", "a temporary file of a publication that never ended"
    UNSETTLED = "unsettled", "still being written"
    UNREADABLE = "unreadable", "could not be read"
    LOST = "lost", "known from evidence; neither video nor record"
    FOREIGN = "foreign", "not named like ours; never touched"


@dataclass(slots=True)
class Finding:
    """One difference, with its reason. ``size`` in bytes; ``path`` relative to the root."""

    kind: FindingKind
    job_id: str | None
    reason: str
    root_id: str | None = None
    path: str | None = None
    verdict: Verdict | None = None
    tier: Tier | None = None
    size: int | None = None
    mtime_ns: int | None = None
    seen: Seen | None = None
    acts: bool = False
    """Whether recover does something about it."""
    is_declined: bool = False
    """Whether recover would, had an undo not taken just that back."""
