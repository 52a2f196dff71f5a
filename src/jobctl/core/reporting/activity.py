"""Activity: what the history of a period comes to. Pure.

Each line of the history counts as exactly one thing, so that the counts add up to its lines:
by the kind of thing, by the parts of the period, and of days to their week.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from jobctl.core.reasons import UNTELLING_CODES, gist_of, names
from jobctl.core.reporting.periods import Bins
from jobctl.model.explained import Explained
from jobctl.model.plan import Verb
from jobctl.model.status import OPEN_ENDED_FAILURES, Cause, Status
from jobctl.model.timestamps import parse_timestamp

MOST_REASONS = 1_000
"""So many different reasons are told apart; what comes after is counted together."""

OTHER_REASONS = "other reasons"
_NO_REASON = "no reason is known"


class What(Explained):
    """What a line of the history says happened."""

    CREATED = "created", "asked for"
    RECOVERED = "recovered", "recorded anew from files and logs, after the record was lost"
    IMPORTED = "imported", "recorded from a dump"
    STARTED = "started", "taken by a worker"
    COMPLETED = "completed", "ended with what was asked for"
    FAILED = "failed", "ended without it"
    INTERRUPTED = "interrupted", "cut short by the end of whoever ran it"
    CANCELLED = "cancelled", "ended by an operator"
    REQUEUED = "requeued", "to be run again"
    EXPIRED = "expired", "ended for good by retention"
    DELETED = "deleted", "removed by an operator"
    UNDONE = "undone", "a step of a run taken back"
    MISSING = "missing", "its file was found to be gone"
    PUBLISHED = "published", "a file of it was published, or recorded, by its attempt"
    LINKED = "linked", "a file was found to be its own"
    QUARANTINED = "quarantined", "a file of it was moved aside"
    RESTORED = "restored", "a file of it was given back"
    PURGED = "purged", "a file of it was removed for good"
    OTHER = "other", "anything else"


class Line(NamedTuple):
    """One line of the history. ``at`` as 27 characters, in UTC; ``because`` may be long, and anybody's words.

    ``cause`` is the cause of a change of status, ``verb`` the step of a run; empty where it is neither.
    """

    event_id: int
    job_id: str
    at: str
    kind: str
    from_status: str
    to_status: str
    cause: str
    verb: str
    error_code: str
    because: str


_OF_KIND = {
    "created": What.CREATED,
    "recovered": What.RECOVERED,
    "imported": What.IMPORTED,
    "deleted": What.DELETED,
    "undone": What.UNDONE,
    "quarantined": What.QUARANTINED,
    "restored": What.RESTORED,
    "purged": What.PURGED,
}
_OF_STATUS = {
    Status.PROCESSING: What.STARTED,
    Status.COMPLETED: What.COMPLETED,
    Status.CANCELLED: What.CANCELLED,
    Status.EXPIRED: What.EXPIRED,
}
_OF_FILE = {"": What.PUBLISHED, Verb.NOTE_MISSING.value: What.MISSING, Verb.LINK.value: What.LINKED}


def what_happened(line: Line) -> What:
    """The one thing that a line counts as."""
    known = _OF_KIND.get(line.kind)
    if known is not None:
        return known
    if line.kind == "artifact":
        return _OF_FILE.get(line.verb, What.OTHER)
    if line.to_status == Status.FAILED:
        return What.INTERRUPTED if line.error_code in OPEN_ENDED_FAILURES else What.FAILED
    if line.to_status == Status.QUEUED:
        return What.INTERRUPTED if _is_rescue(line) else What.REQUEUED
    return next((what for status, what in _OF_STATUS.items() if line.to_status == status), What.OTHER)


def _is_rescue(line: Line) -> bool:
    return line.from_status == Status.PROCESSING and (line.cause == Cause.RESCUE or line.verb == Verb.REQUEUE)


def reason_of(line: Line) -> str:
    """The first line of what is said of why something happened."""
    return line.because.strip().partition("\n")[0].strip() or _NO_REASON


def _common_reason(line: Line) -> str:
    """Why a job failed, as others did: by its code, or by what errors have in common that no code tells."""
    code = line.error_code
    if code not in UNTELLING_CODES and not names(line.because, code):
        return code
    return gist_of(line.because) or code or _NO_REASON


@dataclass(slots=True)
class Activity:
    """The history of a period, counted.

    ``lines``: how many there are, which is the sum of ``counts`` and of ``by_bin``. ``recovered``:
    the recoveries by the status they came back with. ``reasons``: why jobs failed, by code or by what
    errors have in common.
    """

    lines: int = 0
    counts: Counter[What] = field(default_factory=Counter)
    by_bin: Counter[tuple[int, What]] = field(default_factory=Counter)
    recovered: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, line: Line, bins: Bins) -> What:
        """Count one line; gives back what it counts as."""
        what = what_happened(line)
        self.lines += 1
        self.counts[what] += 1
        self.by_bin[bins.of(parse_timestamp(line.at)), what] += 1
        if what is What.RECOVERED:
            self.recovered[line.to_status] += 1
        if what in {What.FAILED, What.INTERRUPTED} or (
            what is What.RECOVERED and line.to_status == Status.FAILED
        ):
            self._add_reason(line)
        return what

    def _add_reason(self, line: Line) -> None:
        reason = _common_reason(line)
        if reason not in self.reasons and len(self.reasons) >= MOST_REASONS:
            reason = OTHER_REASONS
        self.reasons[reason] += 1


def activity_of(lines: Iterable[Line], bins: Bins) -> Activity:
    """The lines of a period, counted."""
    activity = Activity()
    for line in lines:
        activity.add(line, bins)
    return activity
