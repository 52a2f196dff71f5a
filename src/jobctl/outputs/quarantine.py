"""Quarantine: move files aside, so that each can be given back.

A file is moved to ``.jobctl/quarantine/<run>/<action number>`` on its own file system, after
a line in the run's manifest tells of it durably. Nothing is replaced, no symlink is followed,
and what turns out to be another file than the planned one is moved back.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import chain, islice
from typing import NamedTuple

from jobctl.model.files import FileIdentity
from jobctl.model.plan import Outcome
from jobctl.model.quarantine import DESPITE_ERROR, Item, Taken
from jobctl.model.timestamps import format_timestamp
from jobctl.outputs import effects
from jobctl.outputs.identity import identity_of
from jobctl.outputs.manifest import Event, Run, TakeLines, disk_failed, event_line, open_run
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.settle import writer_state
from jobctl.outputs.stats import signed64, within64
from jobctl.outputs.touched import Directories, is_confined, why_not_reached

CHUNK = 1_000
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHANGED = "the file was changed or replaced since the plan"
_GONE = "the file is gone"
_ELSEWHERE = "the quarantine is on another file system than the file"


class _Found(NamedTuple):
    """An item that is where the plan saw it."""

    item: Item
    directory: str
    name: str
    stat: os.stat_result


def take(root: OpenRoot, run_id: str, items: Iterable[Item], *, at: datetime) -> Iterator[Taken]:
    """Move ``items`` into the quarantine of a run, and tell what became of each, in their order.

    The caller holds ``hold_files``. Items are drawn a thousand at a time; what is given is on
    the disk. Run again with the same items after a crash, it goes on: what was moved already
    is told as such. ``at`` is the present by the store's clock.

    Raises ``DiskFailed`` where the manifest or a directory cannot be written.
    """
    remaining = iter(items)
    chunk = list(islice(remaining, CHUNK))
    if not chunk:
        return
    with ExitStack() as stack:
        try:
            run = stack.enter_context(open_run(root, run_id, create=True))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise disk_failed(root, run_id, "its directory cannot be used", error) from None
            yield from (Taken(item, Outcome.SKIPPED, _ELSEWHERE) for item in chain(chunk, remaining))
            return
        places = stack.enter_context(Directories(root, sync_first=run.sync))
        taking = _Taking(root, run, places, at)
        while chunk:
            yield from taking.take(chunk)
            chunk = list(islice(remaining, CHUNK))


def is_same_file(found: os.stat_result, identity: FileIdentity) -> bool:
    """Whether a file that was moved is the one that was planned on: moving changes the ctime alone."""
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_size == identity.size
        and within64(found.st_mtime_ns) == identity.mtime_ns
        and _is_number(found.st_ino, identity.inode)
    )


def _is_number(found: int, planned: int) -> bool:
    """Whether a device or inode is the planned one, which is written as the databases hold it."""
    return found == planned or signed64(found) == planned


def stat_or_none(directory_fd: int, name: str) -> os.stat_result | None:
    """What stands at a name, symlinks not followed. Raises ``OSError`` for anything but absence."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


class _Taking:
    """One call of ``take``; a chunk's items share one sync of the manifest and of each directory."""

    def __init__(self, root: OpenRoot, run: Run, places: Directories, at: datetime) -> None:
        self.root, self.run, self.places = root, run, places
        self._lines = TakeLines(root, run.run_id, at=at)
        self._at = format_timestamp(at)
        # Moving one name of a file changes the ctime that its other names show too.
        self._linked: dict[int, int] = {}

    def take(self, items: list[Item]) -> list[Taken]:
        is_resumed = self.run.has_lines
        looked = [self._look(item) for item in items]
        self.run.append(self._lines.line(each.item, each.stat) for each in looked if isinstance(each, _Found))
        taken = [self._move(each) if isinstance(each, _Found) else each for each in looked]
        self.places.sync()
        self.run.append(
            event_line(Event.KEPT, each.item.action, at=self._at, note=each.note)
            for each, was in zip(taken, looked, strict=True)
            if (is_resumed or isinstance(was, _Found)) and self._is_kept(each)
        )
        return taken

    def _is_kept(self, taken: Taken) -> bool:
        """Whether the item is not in quarantine, though a line, perhaps of an earlier try, announced it."""
        is_moved = taken.outcome in {Outcome.DONE, Outcome.ALREADY}
        return not is_moved and stat_or_none(self.run.fd, str(taken.item.action)) is None

    def _look(self, item: Item) -> _Found | Taken:
        """Whether the item is still what was planned on; nothing is changed but a move cut short."""
        if not is_confined(item.path):
            return Taken(item, Outcome.FAILED, "its path leads out of the root: refused")
        directory, _, name = item.path.rpartition("/")
        try:
            directory_fd = self.places.open(directory)
            found = stat_or_none(directory_fd, name)
        except FileNotFoundError:
            directory_fd, found = None, None
        except OSError as error:
            return Taken(item, Outcome.SKIPPED, why_not_reached(error))
        why = _GONE if found is None else self._why_not(found, item)
        if found is not None and why is None:
            return _Found(item, directory, name, found)
        return self._look_in_quarantine(item, directory_fd, found) or Taken(item, Outcome.SKIPPED, why)

    def _look_in_quarantine(
        self, item: Item, directory_fd: int | None, found: os.stat_result | None
    ) -> Taken | None:
        """What an earlier try did to an item that is not where the plan saw it; ``None``: nothing.

        That try may have ended before what it did was on the disk, or half-way.
        """
        name = item.path.rpartition("/")[2]
        placed = stat_or_none(self.run.fd, str(item.action))
        if placed is None:
            return None
        self.places.touch(self.run.fd if directory_fd is None else directory_fd)
        if not is_same_file(placed, item.identity):
            is_other = not _is_number(placed.st_ino, item.identity.inode)
            if directory_fd is not None and found is None and is_other:
                return self._move_back(item, directory_fd, name, placed)
            return None
        if placed.st_nlink > 1:
            self._linked[placed.st_ino] = placed.st_ctime_ns
        if directory_fd is not None and found is not None and os.path.samestat(found, placed):
            return self._complete(item, directory_fd, name)
        return Taken(item, Outcome.ALREADY)

    def _complete(self, item: Item, directory_fd: int, name: str) -> Taken:
        """Complete a move that ended between its link and its unlink."""
        try:
            effects.rename_noreplace(directory_fd, name, self.run.fd, str(item.action))
        except OSError as error:
            return Taken(item, Outcome.FAILED, f"it could not be moved: {error.strerror}")
        return Taken(item, Outcome.DONE)

    def _why_not(self, found: os.stat_result, item: Item) -> str | None:
        """Why what stands at the item's path may not be moved."""
        if not stat.S_ISREG(found.st_mode):
            return "it is no regular file any more"
        planned = item.identity
        is_same = is_same_file(found, planned) and _is_number(found.st_dev, planned.dev)
        is_untouched = found.st_ctime_ns == planned.ctime_ns
        if is_same and (is_untouched or found.st_ctime_ns == self._linked.get(found.st_ino)):
            return None
        return _CHANGED

    def _move(self, found: _Found) -> Taken:
        """Look once more and move; what was moved is looked at again."""
        item = found.item
        try:
            directory_fd = self.places.open(found.directory)
            why = self._why_not_now(directory_fd, found.name, item)
            if why is not None:
                return Taken(item, Outcome.SKIPPED, why)
        except FileNotFoundError:
            return Taken(item, Outcome.SKIPPED, _GONE)
        except OSError as error:
            return Taken(item, Outcome.SKIPPED, why_not_reached(error))
        self.places.touch(directory_fd)
        try:
            effects.rename_noreplace(directory_fd, found.name, self.run.fd, str(item.action))
        except OSError as error:
            return self._after_error(found, directory_fd, error)
        return self._after(found, directory_fd)

    def _after(self, found: _Found, directory_fd: int) -> Taken:
        moved = stat_or_none(self.run.fd, str(found.item.action))
        if moved is None:
            return Taken(found.item, Outcome.CONFLICT, "it was moved, and somebody took it out of quarantine")
        if not is_same_file(moved, found.item.identity):
            return self._move_back(found.item, directory_fd, found.name, moved)
        return self._moved(found.item, moved)

    def _after_error(self, found: _Found, directory_fd: int, error: OSError) -> Taken:
        """The move told of an error; only the disk knows whether it was carried out."""
        item = found.item
        if isinstance(error, FileExistsError):
            return Taken(item, Outcome.CONFLICT, "its place in quarantine is taken by another file")
        if stat_or_none(directory_fd, found.name) is None and stat_or_none(self.run.fd, str(item.action)):
            taken = self._after(found, directory_fd)
            return taken._replace(note=DESPITE_ERROR) if taken.outcome is Outcome.DONE else taken
        if isinstance(error, FileNotFoundError):
            return Taken(item, Outcome.SKIPPED, _GONE)
        if error.errno == errno.EXDEV:
            return Taken(item, Outcome.SKIPPED, _ELSEWHERE)
        return Taken(item, Outcome.FAILED, f"it could not be moved: {error.strerror}")

    def _moved(self, item: Item, moved: os.stat_result) -> Taken:
        if moved.st_nlink == 1:
            return Taken(item, Outcome.DONE)
        self._linked[moved.st_ino] = moved.st_ctime_ns
        return Taken(item, Outcome.DONE, f"it has {moved.st_nlink} names: its bytes stay under the others")

    def _why_not_now(self, directory_fd: int, name: str, item: Item) -> str | None:
        """Whether it is unchanged and closed at this moment. Raises ``OSError``."""
        try:
            fd = os.open(name, _LOOK, dir_fd=directory_fd)
        except PermissionError:
            return "it cannot be opened to see whether it is still being written"
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO}:
                return _CHANGED
            raise
        try:
            why = self._why_not(os.fstat(fd), item)
            return why or ("it is still being written" if writer_state(fd) == "open" else None)
        finally:
            os.close(fd)

    def _move_back(self, item: Item, directory_fd: int, name: str, moved: os.stat_result) -> Taken:
        """Another file was put under the name in the last instant: it goes back where it was."""
        try:
            effects.rename_noreplace(self.run.fd, str(item.action), directory_fd, name)
        except OSError as error:
            # It stays, and the manifest tells of it as it is, so that it too can be given back.
            other = item._replace(identity=identity_of(moved), sha256=None, reason="moved by mistake")
            self.run.append([self._lines.line(other, moved)])
            why = f"{_CHANGED}; what stands there now was moved and could not be put back: {error.strerror}"
            return Taken(item, Outcome.CONFLICT, why)
        return Taken(item, Outcome.CONFLICT, _CHANGED)
