"""What one walk sees: files, their roles, and what a check says of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What a file is to its job."""

    VIDEO = "video"
    THUMBNAIL = "thumbnail"
    SLIDE = "slide"
    AVATAR = "avatar"
    INTERMEDIATE = "intermediate"
    SIDECAR = "sidecar"
    TEMPORARY = "temporary"


class Verdict(StrEnum):
    """What a check says of a media file."""

    WHOLE = "whole"
    PARTIAL = "partial"
    CORRUPT = "corrupt"
    NOT_MEDIA = "not-media"
    UNSETTLED = "unsettled"
    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"


BROKEN = frozenset({Verdict.PARTIAL, Verdict.CORRUPT, Verdict.NOT_MEDIA})


STILL_NAMED = frozenset({"present", "missing"})
"""The states of a file that its job's record still names: one that was missing may have come back."""


class Tier(StrEnum):
    """How deep a check went; text order is depth order."""

    STAT = "0"
    BOXES = "1a"
    TABLES = "1b"
    PAYLOAD = "1c"
    DEMUX = "2"
    DECODE = "3"


class Check(NamedTuple):
    """A verdict, the tier that reached it, why, and what is odd but harmless."""

    verdict: Verdict
    tier: Tier
    reason: str
    warnings: tuple[str, ...] = ()


class FileIdentity(NamedTuple):
    """What makes this file the one that was looked at. Times in ns since 1970, size in bytes."""

    dev: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Seen(NamedTuple):
    """One artifact as the walk saw it; ``key`` is its job id, or empty where its name bears none.

    ``path`` is relative to the root, as ``os.fsdecode`` gives it. Tuple order is merge order.
    """

    key: str
    root_id: str
    path: str
    role: str
    dev: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def identity(self) -> FileIdentity:
        return FileIdentity(self.dev, self.inode, self.size, self.mtime_ns, self.ctime_ns)


class Media(NamedTuple):
    """What a container says of its content. ``None`` where it says nothing."""

    container: str
    duration_s: float | None
    width: int | None
    height: int | None
    video_codec: str | None
    audio_codec: str | None
    created_at: datetime | None
    comment: str | None


class Stamp(NamedTuple):
    """The identity a published file carries: whose it is, and the bytes it vouches for."""

    job_id: str
    size: int
    sha256: str


class Probe(NamedTuple):
    """All that one look at a video gave. Fields stay ``None`` where the look did not go so deep."""

    check: Check
    identity: FileIdentity | None = None
    media: Media | None = None
    stamp: Stamp | None = None
    stamp_verified: bool | None = None
    sha256: str | None = None
