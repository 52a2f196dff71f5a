"""Evidence: one fact about a job, and how far it is to be believed."""

from __future__ import annotations

from enum import IntEnum
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
    SIDECAR = 3, "sidecar that agrees with the file's size"
    STAMP = 4, "stamped file or sidecar whose checksum matches"
    AUDIT_EVENT = 5, "audit event"

    @property
    def label(self) -> str:
        return f"E{self.value}"


class Fact(NamedTuple):
    """One claim: this job's ``field`` has ``value``, says ``source`` at ``locator``.

    ``value`` is JSON (moments in the 27-character form). ``note`` tells how it is meant,
    for instance "not later than".
    """

    job_id: str
    field: str
    value: Any
    source: str
    locator: str
    trust: Trust
    note: str = ""
