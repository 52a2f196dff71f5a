"""Looking for a job by something other than its id, and what is known of one that has no record."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from jobctl.model.explained import Explained

SHORTEST_PREFIX = 4
"""How much of an id has to be written at least for it to mean the job."""


class By(Explained):
    """What a text turned out to be that led to a job."""

    PREFIX = "prefix", "the beginning of its id"
    FILE = "file", "the name of a file of it"
    URL = "url", "its URL"
    RENDER = "remote-id", "the id of a remote render"
    KEY = "idempotency-key", "its idempotency key"
    HISTORY = "history", "the beginning of an id in the history"


class Found(NamedTuple):
    """A job that a text led to."""

    job_id: str
    by: By


class ClueKind(Explained):
    """A trace of a job without a record."""

    TOMBSTONE = "tombstone", "it ended for good"
    QUARANTINE = "quarantine", "a file of it is in quarantine"
    DECLINED = "declined", "its recovery was taken back"
    FILE = "file", "a scan saw a file of it"
    LOG = "log", "a log names it"
    RENDER = "render", "a remote render belongs to it"
    EVENT = "event", "the history tells of it"


class Clue(NamedTuple):
    """What is known of a job without a record, in a part of a sentence, and the command to go on with."""

    kind: ClueKind
    said: str
    next: str


class Buried(NamedTuple):
    """A tombstone. ``closed_at``: since when another job has its id."""

    at: datetime
    cause: str
    actor: str
    closed_at: datetime | None


class DeclinedMark(NamedTuple):
    """A recovery that was taken back."""

    run_id: str
    path: str
    at: datetime


class Move(NamedTuple):
    """A file that was moved into quarantine, or from there: ``entry`` is ``<run>/<action>``."""

    entry: str
    verb: str
    root_id: str
    path: str
    at: datetime
