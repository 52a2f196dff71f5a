"""Manifests: what a run moved into quarantine, in a file beside what it moved.

``.jobctl/quarantine/<run>/manifest.jsonl``, one JSON object a line, only ever appended to. A
line stands before the step it tells of is taken; another tells how it ended, where that does
not show on the disk. Nothing but this file is needed to give every file back.

============  ==========================================================================
``event``     meaning
============  ==========================================================================
``take``      the file is about to be moved here; the line holds all that is known of it
``kept``      it was not: it is where it was
``restore``   it is about to be given back
``restored``  it was given back
``purge``     it is about to be removed for good
``purged``    it was removed
``stays``     it was not: it is still in quarantine
============  ==========================================================================
"""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from jobctl.errors import DiskFailed
from jobctl.model.files import FileIdentity
from jobctl.model.names import from_stored, is_utf8, to_stored
from jobctl.model.quarantine import Item
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.outputs import effects
from jobctl.outputs.directories import open_directory
from jobctl.outputs.root import CONTROL_DIRECTORY, OpenRoot

QUARANTINE = "quarantine"
MANIFEST = "manifest.jsonl"
LONGEST_LINE = 1 << 20
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST = (1 << 63) - 1
_LARGEST_ID = (1 << 32) - 2
_encode = json.JSONEncoder(separators=(",", ":")).encode
_text_json = json.encoder.encode_basestring_ascii


class Event(StrEnum):
    """What a line tells of its action; the table above."""

    TAKE = "take"
    KEPT = "kept"
    RESTORE = "restore"
    RESTORED = "restored"
    PURGE = "purge"
    PURGED = "purged"
    STAYS = "stays"


_EVENTS = {event.value: event for event in Event}


class TakeLine(NamedTuple):
    """All that a ``take`` line holds."""

    item: Item
    mode: int
    uid: int
    gid: int
    root_id: str
    store_id: str
    at: datetime


class Run:
    """A run's directory in quarantine, open, and the end of its manifest.

    ``owner`` is who owns the manifest, and so who may have written it.
    """

    def __init__(self, root: OpenRoot, run_id: str, fd: int, manifest_fd: int) -> None:
        self.run_id = run_id
        self.fd = fd
        self._root = root
        self._manifest_fd = manifest_fd
        self._is_torn = _ends_torn(manifest_fd)
        found = os.fstat(manifest_fd)
        self.has_lines, self.owner = found.st_size > 0, found.st_uid

    def append(self, lines: Iterable[bytes]) -> None:
        """Add lines and wait until they are on the disk. Raises ``DiskFailed``."""
        content = b"".join(lines)
        if not content:
            return
        if self._is_torn:
            content = b"\n" + content
        try:
            effects.write_all(self._manifest_fd, content)
            effects.fsync_file(self._manifest_fd)
        except OSError as error:
            raise disk_failed(self._root, self.run_id, "its manifest cannot be written", error) from None
        self._is_torn, self.has_lines = False, True

    def sync(self) -> None:
        """Wait until the names in the directory are on the disk. Raises ``DiskFailed``."""
        try:
            effects.fsync_directory(self.fd)
        except OSError as error:
            raise disk_failed(self._root, self.run_id, "its directory cannot be synced", error) from None


def is_run_id(name: str) -> bool:
    """Whether a run in quarantine can have this name."""
    return _RUN_ID.fullmatch(name) is not None


def disk_failed(root: OpenRoot, run_id: str, what: str, error: OSError) -> DiskFailed:
    """The error for a run that cannot go on. Every file is where its manifest says, or where it was."""
    return DiskFailed(
        f"quarantine of run {run_id} below {root.path}: {what} ({error.strerror}); "
        "no file was lost, and none was moved that its manifest does not tell of",
        hint="free space or mend the disk, then run the same command again: it goes on where it stopped",
    )


@contextmanager
def open_run(root: OpenRoot, run_id: str, *, create: bool) -> Iterator[Run]:
    """Open a run's directory and manifest; ``create`` makes what is missing, durably.

    Raises ``OSError``: ``FileNotFoundError`` for a run that is not there, ``EXDEV`` where
    another file system is mounted in between, ``ELOOP`` for a symlink.
    """
    fd = _make_run(root.fd, run_id) if create else open_run_directory(root, run_id)
    try:
        manifest_fd = _open_manifest(fd, create=create)
        try:
            if create:
                effects.fsync_directory(fd)
            yield Run(root, run_id, fd, manifest_fd)
        finally:
            os.close(manifest_fd)
    finally:
        os.close(fd)


def open_run_directory(root: OpenRoot, run_id: str) -> int:
    """Open a run's directory as it is. Raises ``OSError``."""
    if not is_run_id(run_id):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), run_id)
    return open_directory(root.fd, f"{CONTROL_DIRECTORY}/{QUARANTINE}/{run_id}")


def run_ids(root: OpenRoot) -> list[str]:
    """The runs that have a directory in quarantine, oldest first. Raises ``OSError``."""
    return sorted(name for name in _names(root) if is_run_id(name))


def strays(root: OpenRoot) -> list[str]:
    """What lies in quarantine that can be no run's directory. Raises ``OSError``."""
    return sorted(name for name in _names(root) if not is_run_id(name))


def _names(root: OpenRoot) -> list[str]:
    try:
        fd = open_directory(root.fd, f"{CONTROL_DIRECTORY}/{QUARANTINE}")
    except FileNotFoundError:
        return []
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def open_to_read(run_fd: int) -> int:
    """Open a manifest for reading. Raises ``OSError``."""
    fd = os.open(MANIFEST, _READ, dir_fd=run_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file")
    return fd


class TakeLines:
    """Writes the lines that must stand before files are moved: ``at``, into one run's quarantine."""

    def __init__(self, root: OpenRoot, run_id: str, *, at: datetime) -> None:
        same = {
            "root_id": root.root_id,
            "store_id": root.store_id,
            "run_id": run_id,
            "at": format_timestamp(at),
        }
        self._end = _encode(same)[1:] + "\n"

    def line(self, item: Item, found: os.stat_result) -> bytes:
        """The line for ``item``, which is ``found`` on the disk."""
        action, path, identity, reason, job_id, role, sha256 = item
        dev, inode, size, mtime_ns, ctime_ns = identity
        # Put together by hand: at a million files an encoder's dictionaries cost as much as a rename.
        return (
            f'{{"event":"take","action":{action},"path":{_text_json(to_stored(path))}{_bytes_json(path)},'
            f'"dev":{dev},"inode":{inode},"size":{size},"mtime_ns":{mtime_ns},"ctime_ns":{ctime_ns},'
            f'"mode":"{found.st_mode & 0o7777:04o}","uid":{found.st_uid},"gid":{found.st_gid},'
            f'"reason":{_text_json(reason)},"job_id":{_json(job_id)},"role":{_json(role)},'
            f'"sha256":{_json(sha256)},{self._end}'
        ).encode("ascii")


def event_line(event: Event, action: int, *, at: str, note: str | None = None) -> bytes:
    """The line for anything but a ``take``. ``at`` is a moment in the 27-character form."""
    said = "" if note is None else f',"note":{_text_json(note)}'
    return f'{{"event":"{event.value}","action":{action},"at":"{at}"{said}}}\n'.encode("ascii")


def parse_event(line: bytes) -> tuple[int, Event]:
    """The action a line is about, and what it tells. Raises ``ValueError`` for anything else."""
    document = _parse_object(line)
    event = document.get("event")
    if not isinstance(event, str) or event not in _EVENTS:
        raise ValueError("no event")
    return _natural(document, "action"), _EVENTS[event]


def parse_take(line: bytes) -> TakeLine:
    """Read a ``take`` line. Raises ``ValueError``; whether the path leads astray is not looked at here."""
    document = _parse_object(line)
    path = from_stored(_text(document, "path"))
    os.fsencode(path)
    identity = FileIdentity(*(_integer(document, name) for name in FileIdentity._fields))
    return TakeLine(
        item=Item(
            action=_natural(document, "action"),
            path=path,
            identity=identity,
            reason=_text(document, "reason"),
            job_id=_text_or_none(document, "job_id"),
            role=_text_or_none(document, "role"),
            sha256=_text_or_none(document, "sha256"),
        ),
        mode=int(_text(document, "mode"), 8) & 0o7777,
        uid=_id(document, "uid"),
        gid=_id(document, "gid"),
        root_id=_text(document, "root_id"),
        store_id=_text(document, "store_id"),
        at=parse_timestamp(_text(document, "at")),
    )


def _json(text: str | None) -> str:
    return "null" if text is None else _text_json(text)


def _bytes_json(path: str) -> str:
    """A path that is not UTF-8 byte for byte too, as a member of its own."""
    return "" if is_utf8(path) else f',"path_b64":"{base64.b64encode(os.fsencode(path)).decode("ascii")}"'


def _make_run(root_fd: int, run_id: str) -> int:
    """Make the directories on the way. Each is synced even if it is there: a crash may have come between."""
    if not is_run_id(run_id):
        raise ValueError(f"no run id: {run_id!r}")
    fd = open_directory(root_fd, CONTROL_DIRECTORY)
    for name in (QUARANTINE, run_id):
        try:
            below = _open_or_make(fd, name)
            effects.fsync_directory(fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _open_or_make(directory_fd: int, name: str) -> int:
    try:
        return open_directory(directory_fd, name)
    except FileNotFoundError:
        effects.make_directory(directory_fd, name)
        return open_directory(directory_fd, name)


def _open_manifest(run_fd: int, *, create: bool) -> int:
    try:
        fd = os.open(MANIFEST, _APPEND, dir_fd=run_fd)
    except FileNotFoundError:
        if not create:
            raise
        os.close(effects.create_file(run_fd, MANIFEST))
        fd = os.open(MANIFEST, _APPEND, dir_fd=run_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "its manifest is no regular file")
    return fd


def _ends_torn(fd: int) -> bool:
    """Whether a crash left the last line unfinished: then the next one must not be glued to it."""
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"


def _parse_object(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 - a line's content, not a caller's mistake
    return document


def _integer(document: dict[str, Any], name: str) -> int:
    value = document.get(name)
    if type(value) is not int or not -_MOST - 1 <= value <= _MOST:
        raise ValueError(name)
    return value


def _natural(document: dict[str, Any], name: str) -> int:
    value = _integer(document, name)
    if value < 0:
        raise ValueError(name)
    return value


def _id(document: dict[str, Any], name: str) -> int:
    value = _natural(document, name)
    if value > _LARGEST_ID:
        raise ValueError(name)
    return value


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise ValueError(name)  # noqa: TRY004 - a line's content, not a caller's mistake
    return value


def _text_or_none(document: dict[str, Any], name: str) -> str | None:
    return None if document.get(name) is None else _text(document, name)
