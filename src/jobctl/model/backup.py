"""Backups: what is in one, what is in a store beside it, and what putting it back would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class BackupKind(StrEnum):
    """How a backup is written: as the database it was made of writes it."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"

    @property
    def suffix(self) -> str:
        """How the name of such a file ends."""
        return ".db" if self is BackupKind.SQLITE else ".dump"


class Contents(NamedTuple):
    """What a store or a backup holds. ``jobs``: by status; ``last_event`` is 0 where there is none."""

    store_id: str
    schema: str
    jobs: Mapping[str, int]
    events: int
    last_event: int
    newest_at: datetime | None

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(self.jobs.values())


class Lost(NamedTuple):
    """What a store knows that a backup does not.

    ``jobs``: without a record in it; ``changed``: with one, and a younger history; ``events``.
    """

    jobs: int
    changed: int
    events: int


class Backup(NamedTuple):
    """A backup that was made. ``removed``: older ones that went; ``warnings``: those left in doubt."""

    path: str
    size: int
    kind: BackupKind
    made_at: datetime
    contents: Contents
    seconds: float
    removed: Sequence[str] = ()
    warnings: Sequence[str] = ()


class PutBack(NamedTuple):
    """A restore that took place: the backup, when it was made, and what the store before is kept as.

    ``kept_as`` is ``None`` where there was none; ``was_sound``: it could be read.
    """

    file: str
    kind: BackupKind
    made_at: datetime | None
    kept_as: str | None
    was_sound: bool


class RestorePlan(NamedTuple):
    """What a restore would do. ``made_at``: as the file's name tells, if it does.

    ``now`` is what is in the store's place, ``None`` where that cannot be read: ``now_said`` says
    why. ``kept_as``: where that will be found afterwards, ``None`` where there is nothing to keep.
    ``migrates_from``: the older schema that is brought up to date. ``already``: when this very file
    was put back last, and what the store before is kept as, where that is the last restore of all.
    ``left``: copies of the store that restores left which were killed; all in them is elsewhere.
    """

    file: str
    size: int
    kind: BackupKind
    made_at: datetime | None
    backup: Contents
    now: Contents | None
    now_said: str | None
    lost: Lost | None
    kept_as: str | None
    migrates_from: str | None
    already: tuple[datetime, PutBack] | None = None
    left: Sequence[str] = ()
