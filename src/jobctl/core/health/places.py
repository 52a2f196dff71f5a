"""Whether the roots are there and can be written, and whether there is room."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from jobctl.model.health import Diagnosis, fail, ok, warn
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


def judge_room(room: Room) -> Diagnosis:
    """Whether bytes and inodes are left."""
    parts = [(room.bytes_free / max(1, room.bytes), f"{format_size(room.bytes_free)} free")]
    if room.files:
        parts.append((room.files_free / room.files, f"{room.files_free:,} inodes free"))
    share, scarce = min(parts)
    said = f"{room.path} has {scarce}, {share:.1%}"
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
