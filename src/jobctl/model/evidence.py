"""Evidence: one fact about a job, and how far it is to be believed."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, Self


class Trust(IntEnum):
    """From file alone to audit event. ``meaning`` is the text shown to an operator."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    FILE_ALONE = 0, "a file that names no job"
    NAME_AND_FILE = 1, "file name and whole file"
    SERVER_LOG = 2, "server log naming id and path, file whole"
    SIDECAR = 3, "sidecar that agrees with the file's size, or a row of another table"
    STAMP = 4, "stamped file or sidecar whose checksum matches"
    AUDIT_EVENT = 5, "audit event"

    @property
    def label(self) -> str:
        return f"E{self.value}"


class Bound(StrEnum):
    """How a moment is meant: as the moment itself, or as what it did not come after or before."""

    EXACT = ""
    NOT_LATER = "not later than"
    NOT_BEFORE = "not before"


class Fact(NamedTuple):
    """One claim: this job's ``field`` has ``value``, says ``source`` at ``locator``.

    ``value`` is JSON (moments in the 27-character form). ``note`` tells what it rests on.
    """

    job_id: str
    field: str
    value: Any
    source: str
    locator: str
    trust: Trust
    note: str = ""
    bound: Bound = Bound.EXACT

    @property
    def meaning(self) -> str:
        """The note, after what the value bounds."""
        return ": ".join(part for part in (self.bound.value, self.note) if part)
