"""Release: what may leave quarantine for good. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from jobctl.durations import spoken_duration
from jobctl.model.files import Role
from jobctl.model.quarantine import Entry
from jobctl.model.status import OPEN, Status


def why_not_purged(
    entry: Entry,
    *,
    status: str | None,
    copies: Sequence[str],
    referred_by: str | None,
    retention: timedelta,
) -> str | None:
    """Why a file stays in quarantine, or ``None`` where nothing speaks for keeping it.

    ``status``: that of its job's record, if there is one; ``copies``: the verified videos that
    this job has outside quarantine.
    """
    if entry.age is None:
        return "how long it has been here cannot be told: the clocks disagree"
    if entry.age < retention:
        return f"here for {spoken_duration(entry.age)}, less than {spoken_duration(retention)}"
    if referred_by is not None:
        return f"{referred_by} names its job"
    if status is not None and Status(status) in OPEN:
        return f"its job is {status} again"
    if needs_copy(entry, status) and not copies:
        return "its job is completed, and no other verified video of it is there"
    return None


def needs_copy(entry: Entry, status: str | None) -> bool:
    """Whether a file may only leave while another verified video of its job stays."""
    return status == Status.COMPLETED and entry.role in {Role.VIDEO, None}
