"""Whether the roots are there and can be written, and whether there is room."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from jobctl.core.ages import shown_moment
from jobctl.durations import age_said
from jobctl.model.backup import PutBack
from jobctl.model.health import Diagnosis, fail, ok, together, unknown, warn
from jobctl.sizes import format_size

LITTLE = 0.05
NEXT_TO_NOTHING = 0.01


class Room(NamedTuple):
    """What is left of a file system, in bytes and in files; ``files`` is 0 where it counts none."""

    path: str
    bytes: int
    bytes_free: int
    files: int
    files_free: int


class Refusal(NamedTuple):
    """Why a directory takes no file. ``command``: what lets it, where its owner is the one who asks."""

    path: str
    reason: str
    user: str
    owner: str
    command: str = ""


class Sharing(NamedTuple):
    """A root, the one host that it is registered for (``None``: all share it), and where it lies."""

    path: str
    host: str | None
    file_system: str
    is_local: bool


class Suspended(NamedTuple):
    """Roots of which nothing is called missing, since one moment and for one reason.

    ``host``: the only one that sees them, where it is another; ``are_all``: there is no other root.
    ``put_back``: the restore that did it; ``None`` where an older copy was put back in another way.
    """

    roots: Mapping[str, str]
    since: datetime
    host: str | None
    are_all: bool
    put_back: PutBack | None


def judge_refusal(refusal: Refusal) -> Diagnosis:
    """A directory in which nothing can be made."""
    said = f"{refusal.path} takes no file from user {refusal.user}: {refusal.reason}"
    if refusal.command:
        return fail(said, "let its owner write", refusal.command)
    fix = "mend its permissions or its mount"
    return fail(said, fix if refusal.user == refusal.owner else f"run jobctl as {refusal.owner}, or {fix}")


def judge_one_file_system(path: str, *, is_one: bool) -> Diagnosis:
    """Whether quarantine lies on the file system of its root, so that files are moved by renaming."""
    if is_one:
        return ok(f"{path} and its quarantine share a file system")
    return fail(
        f"another file system is mounted below {path}/.jobctl: nothing can be moved into quarantine",
        "unmount it, or move it elsewhere",
    )


def judge_absence(suspended: Sequence[Suspended], now: datetime) -> Diagnosis:
    """Whether what is absent below the roots may be called missing. ``roots``: id to path."""
    found = [_judge_suspended(each, now) for each in suspended]
    return together(found, well="a file that is missing is told as missing")


def _judge_suspended(each: Suspended, now: datetime) -> Diagnosis:
    said = (
        f"nothing has been called missing for {age_said((now - each.since).total_seconds())}, since "
        f"{shown_moment(each.since)}: {_what_was_put_back(each.put_back)}; "
        f"below {', '.join(each.roots.values())}"
    )
    names = [""] if each.are_all else [f" --root {root_id}" for root_id in each.roots]
    commands = " && ".join(f"jobctl recover{name} --yes" for name in names)
    if each.host is not None:
        return warn(said, f"on {each.host}, apply a complete recover: {commands}")
    return warn(said, "apply a complete recover, before any worker starts", commands)


def _what_was_put_back(put_back: PutBack | None) -> str:
    if put_back is None:
        return "an older copy was put back"
    if put_back.made_at is None:
        return f"the backup {put_back.file} was put back"
    return f"the backup of {shown_moment(put_back.made_at)} was put back ({put_back.file})"


def judge_room(room: Room) -> Diagnosis:
    """Whether bytes and inodes are left."""
    if not room.bytes:
        return unknown(f"the file system of {room.path} does not tell how much room it has")
    parts = [(room.bytes_free / max(1, room.bytes), f"{format_size(room.bytes_free)} free")]
    if room.files:
        parts.append((room.files_free / room.files, f"{room.files_free:,} inodes free"))
    share, scarce = min(parts)
    said = f"{room.path} has {scarce}, {100 * share:.1f} %"
    if share >= LITTLE:
        return ok(said)
    ill = fail if share < NEXT_TO_NOTHING else warn
    command = "jobctl cleanup --dry-run && jobctl quarantine purge --dry-run"
    return ill(said, "see what may go, or add room", command)


def judge_sharing(roots: Collection[Sharing], hosts: Collection[str]) -> list[Diagnosis]:
    """Whether roots are registered as what they are. ``hosts``: those that use the store."""
    return [_judge_sharing(root, len(hosts)) for root in roots]


def _judge_sharing(root: Sharing, hosts: int) -> Diagnosis:
    if root.host is None and root.is_local and hosts > 1:
        return fail(
            f"{root.path} is registered as shared by all hosts, {hosts} of which use this store, "
            f"but lies on a local disk ({root.file_system}): each host sees another directory",
            "mount one directory on all of them, or register what each has with --host-local",
        )
    if root.host is not None and not root.is_local:
        return warn(
            f"{root.path} is registered for {root.host} alone, but lies on {root.file_system or 'a mount'}, "
            "which other hosts may see",
            "see that no other host writes there",
        )
    return ok(root.path)
