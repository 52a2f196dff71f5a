"""What a server log says: mentions of jobs, and the lives of the instances that wrote them."""

from __future__ import annotations

from typing import NamedTuple

from jobctl.model.explained import Explained


class Says(Explained):
    """What a line of a log says."""

    CREATED = "created", "the job was made"
    STARTED = "started", "work on it began"
    REPORT = "report", "its status or progress; a sign of life"
    COMPLETED = "completed", "it ended well"
    FAILED = "failed", "it ended badly, for this reason"
    TROUBLE = "trouble", "something about it went wrong, without ending it"
    RENDER = "render", "a remote render belongs to it"
    FILE = "file", "a file of it was made or removed"
    ASKED = "asked", "somebody asked for it; proves nothing about it"
    DENIED = "denied", "somebody asked for it, and the service did not know it"
    SERVED = "served", "its file was handed out"
    BOOT = "boot", "the instance began anew: its memory is empty from here on"
    FORK = "fork", "the instance began anew, with several processes: the boot of one of them proves nothing"
    TIME = "time", "the moment of the line before"


OF_WORK = frozenset(
    {Says.CREATED, Says.STARTED, Says.REPORT, Says.COMPLETED, Says.FAILED, Says.TROUBLE, Says.RENDER}
)
"""What only the instance that works on a job says of it."""


class Dating(NamedTuple):
    """Which record a moment on a line of its own belongs to: one of ``rules``, so many lines away at most.

    ``field``: what it is the moment of, where that is not the record itself.
    """

    rules: frozenset[str]
    within: int = 1
    field: str = ""


class Mention(NamedTuple):
    """One record of a log that a rule understood. ``at`` is 27 characters, or empty."""

    says: Says
    rule: str
    line: int
    job_id: str = ""
    at: str = ""
    status: str = ""
    progress: float | None = None
    text: str = ""
    remote_id: str = ""
    dating: Dating | None = None


class Mark(NamedTuple):
    """When and where something was said. ``at`` is the moment, empty where only bounds are known.

    ``after`` and ``before``: what the instance printed last before it and first after it.
    """

    where: str
    at: str = ""
    after: str = ""
    before: str = ""
