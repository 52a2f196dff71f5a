"""How a file leaves quarantine: given back as it was, or, after its time, removed for good.

Both tell the manifest before they act and after, and can be run again after a crash. Nothing
else in jobctl removes a file that is not its own.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from itertools import groupby, islice
from operator import attrgetter

from jobctl.model.plan import Outcome
from jobctl.model.quarantine import DESPITE_ERROR, Entry, Released, Whereabouts
from jobctl.model.timestamps import format_timestamp
from jobctl.outputs import effects
from jobctl.outputs.entries import original, resembles
from jobctl.outputs.manifest import Event, Run, event_line, open_run
from jobctl.outputs.quarantine import CHUNK, stat_or_none
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.stamp import sha256_of
from jobctl.outputs.stats import within64
from jobctl.outputs.touched import Directories, is_confined, why_not_reached

Keep = Callable[[Entry], str | None]
"""Says why an entry must stay in quarantine; ``None`` where nothing speaks for it."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ITSELF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EXDEV, errno.EEXIST})
_PERMISSIONS = 0o777


def give_back(root: OpenRoot, entries: Iterable[Entry], *, at: datetime) -> Iterator[Released]:
    """Move files back to where they were, with their mode, time and, as root, their owner.

    The caller holds ``hold_files``. Missing directories are made, a taken name is a conflict,
    and what is back already is told as such. ``at`` is the present by the store's clock.

    Raises ``DiskFailed`` where a manifest or a directory cannot be written.
    """
    for run_id, group in groupby(entries, key=attrgetter("run_id")):
        yield from _release(root, run_id, group, lambda run: _Restoring(root, run, at).give_back)


def purge(
    root: OpenRoot, entries: Iterable[Entry], *, older_than: timedelta, keep: Keep, at: datetime
) -> Iterator[Released]:
    """Remove files for good that were in quarantine for at least ``older_than``, unless ``keep`` objects.

    The caller holds ``hold_files``. ``keep`` is asked for each file that is old enough, just
    before its thousand is removed. An unknown age is not old. Raises ``DiskFailed``.
    """
    for run_id, group in groupby(entries, key=attrgetter("run_id")):
        yield from _release(root, run_id, group, lambda run: _Purging(run, older_than, keep, at).purge)


def _release(
    root: OpenRoot,
    run_id: str,
    entries: Iterator[Entry],
    prepare: Callable[[Run], Callable[[list[Entry]], list[Released]]],
) -> Iterator[Released]:
    """Open a run and release its entries, a thousand at a time."""
    with ExitStack() as stack:
        try:
            run = stack.enter_context(open_run(root, run_id, create=False))
        except OSError as error:
            why = f"run {run_id} in quarantine cannot be opened: {error.strerror}"
            yield from (Released(entry, Outcome.FAILED, why) for entry in entries)
            return
        release = prepare(run)
        while chunk := list(islice(entries, CHUNK)):
            yield from release(chunk)


class _Restoring:
    """One call of ``give_back`` on one run."""

    def __init__(self, root: OpenRoot, run: Run, at: datetime) -> None:
        self.root, self.run, self.at = root, run, format_timestamp(at)

    def give_back(self, entries: list[Entry]) -> list[Released]:
        with Directories(self.root) as places:
            looked = [self._look(entry, places) for entry in entries]
            moving = [entry for entry, known in zip(entries, looked, strict=True) if known is None]
            self.run.append(event_line(Event.RESTORE, entry.action, at=self.at) for entry in moving)
            released = [
                known or self._move(entry, places) for entry, known in zip(entries, looked, strict=True)
            ]
            # The new names first: a file must not be without any.
            places.sync()
        self.run.sync()
        _tell(self.run, released, looked, Event.RESTORED, at=self.at)
        return released

    def _look(self, entry: Entry, places: Directories) -> Released | None:
        """Whether the file can be given back; nothing is changed. ``None``: yes."""
        placed = stat_or_none(self.run.fd, str(entry.action))
        if placed is None:
            return self._look_outside(entry, places)
        if not is_confined(entry.path):
            return Released(entry, Outcome.FAILED, "its path leads out of the root: refused")
        if not resembles(placed, entry.identity):
            return Released(entry, Outcome.CONFLICT, "another file stands at its place in quarantine")
        if within64(placed.st_mtime_ns) != entry.identity.mtime_ns and self._is_altered(entry, placed):
            return Released(entry, Outcome.CONFLICT, "its content was changed in quarantine; it stays there")
        return None

    def _look_outside(self, entry: Entry, places: Directories) -> Released:
        if entry.whereabouts in {Whereabouts.PURGED, Whereabouts.LOST}:
            return Released(
                entry, Outcome.CONFLICT, f"it is {entry.whereabouts}: nothing is left to give back"
            )
        there = original(self.root, entry.path)
        if there is not None and resembles(there, entry.identity):
            # An earlier try may have ended before that was on the disk.
            with suppress(OSError):
                places.touch(places.open(entry.path.rpartition("/")[0]))
            return Released(entry, Outcome.ALREADY)
        if entry.whereabouts is not Whereabouts.QUARANTINED:
            return Released(entry, Outcome.ALREADY, "it was changed or removed since")
        return Released(entry, Outcome.CONFLICT, "it is not in quarantine any more")

    def _is_altered(self, entry: Entry, placed: os.stat_result) -> bool:
        """Whether a file whose time was changed has other bytes than it came with, where that can be told."""
        if entry.sha256 is None:
            return False
        try:
            fd = os.open(str(entry.action), _READ, dir_fd=self.run.fd)
            try:
                return sha256_of(fd, placed.st_size) != entry.sha256
            finally:
                os.close(fd)
        except OSError:
            return True

    def _move(self, entry: Entry, places: Directories) -> Released:
        directory, _, name = entry.path.rpartition("/")
        place = str(entry.action)
        try:
            note = self._bring_back_attributes(entry)
            directory_fd = places.open_or_make(directory)
            places.touch(directory_fd)
            effects.rename_noreplace(self.run.fd, place, directory_fd, name)
        except OSError as error:
            return self._after_error(entry, error)
        return Released(entry, Outcome.DONE, note)

    def _after_error(self, entry: Entry, error: OSError) -> Released:
        """The move told of an error; only the disk knows whether it was carried out."""
        there = original(self.root, entry.path)
        if (
            stat_or_none(self.run.fd, str(entry.action)) is None
            and there
            and resembles(there, entry.identity)
        ):
            return Released(entry, Outcome.DONE, DESPITE_ERROR)
        if isinstance(error, FileExistsError):
            return Released(entry, Outcome.CONFLICT, "its name is taken by another file")
        outcome = Outcome.CONFLICT if error.errno in _IN_THE_WAY else Outcome.FAILED
        return Released(entry, outcome, why_not_reached(error))

    def _bring_back_attributes(self, entry: Entry) -> str | None:
        """Mode, owner and time as they were, before the file can be seen. Raises ``OSError``."""
        fd = os.open(str(entry.action), _ITSELF, dir_fd=self.run.fd)
        try:
            found = os.fstat(fd)
            note = None
            if (found.st_uid, found.st_gid) != (entry.uid, entry.gid):
                note = self._bring_back_owner(fd, entry)
            if found.st_mode & _PERMISSIONS != entry.mode & _PERMISSIONS:
                # Special bits are never set: a manifest is no authority to run anything as anybody.
                special = stat.S_IMODE(found.st_mode) & ~_PERMISSIONS
                effects.change_mode(fd, special | entry.mode & _PERMISSIONS)
            if within64(found.st_mtime_ns) != entry.identity.mtime_ns:
                effects.change_mtime(fd, entry.identity.mtime_ns)
                if entry.sha256 is None:
                    note = "its time was changed in quarantine; whether its bytes were cannot be told"
            return note
        finally:
            os.close(fd)

    def _bring_back_owner(self, fd: int, entry: Entry) -> str | None:
        """Only root can, and only to whom the manifest's writer may give: himself, or anybody if root."""
        if os.geteuid() == 0 and self.run.owner in {0, entry.uid}:
            effects.change_owner(fd, entry.uid, entry.gid)
            return None
        return f"its owner {entry.uid}:{entry.gid} could not be brought back"


class _Purging:
    """One call of ``purge`` on one run."""

    def __init__(self, run: Run, older_than: timedelta, keep: Keep, at: datetime) -> None:
        self.run, self.older_than, self.keep, self.at = run, older_than, keep, format_timestamp(at)

    def purge(self, entries: list[Entry]) -> list[Released]:
        looked = [self._look(entry) for entry in entries]
        going = [entry for entry, known in zip(entries, looked, strict=True) if known is None]
        self.run.append(event_line(Event.PURGE, entry.action, at=self.at) for entry in going)
        released = [known or self._unlink(entry) for entry, known in zip(entries, looked, strict=True)]
        self.run.sync()
        _tell(self.run, released, looked, Event.PURGED, at=self.at)
        return released

    def _look(self, entry: Entry) -> Released | None:
        """Whether the file is to go; ``None``: yes."""
        if entry.whereabouts is Whereabouts.PURGED:
            return Released(entry, Outcome.ALREADY)
        placed = stat_or_none(self.run.fd, str(entry.action))
        if placed is None:
            return Released(entry, Outcome.SKIPPED, "it is not in quarantine")
        if entry.age is None:
            return Released(
                entry, Outcome.SKIPPED, "how long it has been here cannot be told: clocks disagree"
            )
        if entry.age < self.older_than:
            return Released(
                entry, Outcome.SKIPPED, f"it has been here for {entry.age}, not {self.older_than}"
            )
        if not resembles(placed, entry.identity) or within64(placed.st_mtime_ns) != entry.identity.mtime_ns:
            return Released(
                entry, Outcome.CONFLICT, "it was changed or replaced in quarantine; it stays there"
            )
        why = self.keep(entry)
        return None if why is None else Released(entry, Outcome.SKIPPED, why)

    def _unlink(self, entry: Entry) -> Released:
        try:
            effects.unlink(self.run.fd, str(entry.action))
        except OSError as error:
            if stat_or_none(self.run.fd, str(entry.action)) is not None:
                return Released(entry, Outcome.FAILED, f"it could not be removed: {error.strerror}")
            return Released(entry, Outcome.DONE, DESPITE_ERROR)
        return Released(entry, Outcome.DONE)


def _tell(run: Run, released: list[Released], looked: list[Released | None], done: Event, *, at: str) -> None:
    """Tell the manifest how the steps it was told of ended."""
    run.append(
        event_line(done, each.entry.action, at=at)
        if each.outcome is Outcome.DONE
        else event_line(Event.STAYS, each.entry.action, at=at, note=each.note)
        for each, known in zip(released, looked, strict=True)
        if known is None
    )
