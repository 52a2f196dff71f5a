"""File systems: their types, whether other hosts may write to them, where they are mounted; see proc(5)."""

from __future__ import annotations

import os

# Where no other host can write. What is not listed (NFS, FUSE, …) is taken for shared.
_LOCAL_FILE_SYSTEMS = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ntfs3", "overlay"}
    | {"ramfs", "tmpfs", "vfat", "xfs", "zfs"}
)


def file_system_of(place: str | int) -> str:
    """The type of a file's or directory's file system, named or open; empty where it is not told."""
    if isinstance(place, int):
        return _file_system(place)
    fd = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        return _file_system(fd)
    finally:
        os.close(fd)


def is_local(kind: str) -> bool:
    """Whether no other host can write to a file system of this type; one that is not known may be shared."""
    return kind in _LOCAL_FILE_SYSTEMS


def mount_points() -> frozenset[str]:
    """Where something is mounted. The kernel writes white space and backslashes in octal."""
    try:
        with open("/proc/self/mountinfo", "rb") as mounts:
            fields = [line.split()[4] for line in mounts]
    except (OSError, IndexError):
        return frozenset()
    return frozenset(os.fsdecode(each.decode("unicode_escape").encode("latin-1")) for each in fields)


def _file_system(fd: int) -> str:
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
            mount = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            return next(_type_of(line) for line in mounts if line.split(maxsplit=1)[0] == mount)
    except (OSError, StopIteration, IndexError):
        return ""


def _type_of(mount: str) -> str:
    return mount.partition(" - ")[2].split(maxsplit=1)[0]
