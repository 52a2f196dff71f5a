"""What is in quarantine: read from the manifests and borne out by the disk, with no database."""

from __future__ import annotations

import os
import re
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO, NamedTuple

from jobctl.model.files import FileIdentity
from jobctl.model.quarantine import Entry, Unreadable, Whereabouts
from jobctl.model.timestamps import from_epoch_ns
from jobctl.outputs.directories import open_directory
from jobctl.outputs.manifest import (
    LONGEST_LINE,
    MANIFEST,
    Event,
    TakeLine,
    open_run_directory,
    open_to_read,
    parse_event,
    parse_take,
    run_ids,
    strays,
)
from jobctl.outputs.root import OpenRoot, root_clock_ns
from jobctl.outputs.spool import Row, Spool
from jobctl.outputs.stats import signed64, within64
from jobctl.outputs.touched import is_confined

Report = Callable[[Unreadable], None]
# The clocks of the store's machine and of the root's may differ by this much.
_SKEW = timedelta(minutes=1)
_LINES_IN_MEMORY = 16_384
_ACTION = re.compile("0|[1-9][0-9]{0,17}")
_SETTLED = {
    Event.KEPT: Whereabouts.IN_PLACE,
    Event.RESTORE: Whereabouts.RESTORED,
    Event.RESTORED: Whereabouts.RESTORED,
    Event.PURGE: Whereabouts.PURGED,
    Event.PURGED: Whereabouts.PURGED,
}


def ignore(unreadable: Unreadable) -> None:
    """For callers to whom unreadable parts of manifests do not matter."""


def entries(
    root: OpenRoot, *, run_id: str | None = None, now: datetime | None = None, report: Report = ignore
) -> Iterator[Entry]:
    """Give every file that a run, or ``run_id`` alone, meant to move, by run and action.

    ``now`` is the present for their ages, by default by the root's own clock. What a
    manifest has that cannot be read goes to ``report``; the rest is given all the same.
    Flat in memory. What is read while another run appends is what was there at the start.
    """
    if now is None:
        now = _clock_of(root)
    try:
        found = run_ids(root) if run_id is None else [run_id]
    except OSError as error:
        report(Unreadable("", 0, f"the quarantine cannot be opened: {error.strerror}"))
        return
    for each in found:
        yield from _entries_of(root, each, now, report)


def untold(root: OpenRoot) -> Iterator[tuple[str, str]]:
    """Run and name of whatever lies in quarantine that no manifest tells of.

    Of what lies beside the runs' directories the run is empty. What cannot be opened is passed.
    """
    try:
        yield from (("", name) for name in strays(root))
        found = run_ids(root)
    except OSError:
        return
    for run_id in found:
        try:
            numbers, others = _names_in(root, run_id)
        except OSError:
            continue
        yield from ((run_id, name) for name in sorted(others))
        told = (entry.action for entry in _entries_of(root, run_id, None, ignore))
        action = next(told, None)
        for number in numbers:
            while action is not None and action < number:
                action = next(told, None)
            if action != number:
                yield run_id, str(number)


def _names_in(root: OpenRoot, run_id: str) -> tuple[array[int], list[str]]:
    """What lies in a run's directory: the numbers that can be actions, in order, and all else."""
    numbers, others = array("q"), []
    fd = open_run_directory(root, run_id)
    try:
        with os.scandir(fd) as found:
            for each in found:
                if _ACTION.fullmatch(each.name):
                    numbers.append(int(each.name))
                elif each.name != MANIFEST:
                    others.append(each.name)
    finally:
        os.close(fd)
    return array("q", sorted(numbers)), others


def is_placed(root: OpenRoot, run_id: str, action: int) -> bool:
    """Whether anything lies at an action's place in quarantine. Raises ``OSError`` where that is unknown."""
    try:
        fd = open_run_directory(root, run_id)
    except FileNotFoundError:
        return False
    try:
        os.stat(str(action), dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    finally:
        os.close(fd)
    return True


def resembles(found: os.stat_result, identity: FileIdentity) -> bool:
    """Whether this can still be the file: its inode or, in a copied tree, its time is the same."""
    is_one = signed64(found.st_ino) == signed64(identity.inode)
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_size == identity.size
        and (is_one or within64(found.st_mtime_ns) == identity.mtime_ns)
    )


def original(root: OpenRoot, path: str) -> os.stat_result | None:
    """What stands now where a file was; ``None`` too where that cannot be reached."""
    if not is_confined(path):
        return None
    directory, _, name = path.rpartition("/")
    try:
        fd = open_directory(root.fd, directory)
        try:
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(fd)
    except OSError:
        return None


class _Line(NamedTuple):
    """Where a line lies: key of its action, offset in bytes, what it tells, its number."""

    key: str
    offset: int
    event: str
    number: int


def _entries_of(root: OpenRoot, run_id: str, now: datetime | None, report: Report) -> Iterator[Entry]:
    try:
        run_fd = open_run_directory(root, run_id)
        try:
            manifest_fd = open_to_read(run_fd)
        except OSError as error:
            try:
                # A run that was cut short before it told of anything.
                if isinstance(error, FileNotFoundError) and not os.listdir(run_fd):
                    return
            finally:
                os.close(run_fd)
            raise
    except OSError as error:
        report(Unreadable(run_id, 0, f"its manifest cannot be opened: {error.strerror}"))
        return
    try:
        with open(manifest_fd, "rb") as manifest, Spool(run_size=_LINES_IN_MEMORY) as lines:
            for line in _index(manifest, run_id, report):
                lines.add(line)
            for _, _, rows in lines.partitions():
                for _, group in groupby(rows, key=itemgetter(0)):
                    told = _last_take(manifest, run_id, group, report)
                    if told is not None:
                        yield _entry(root, run_id, run_fd, *told, now=now)
    finally:
        os.close(run_fd)


def _index(manifest: BinaryIO, run_id: str, report: Report) -> Iterator[_Line]:
    """Where each line lies. What a crash tore, or jobctl did not write, is told of."""
    offset = number = 0
    while line := manifest.readline(LONGEST_LINE):
        number += 1
        if line.endswith(b"\n"):
            try:
                action, event = parse_event(line)
                yield _Line(f"{action:019}", offset, event.value, number)
            except ValueError:
                report(Unreadable(run_id, number, "the line is torn, or jobctl did not write it"))
        else:
            _skip_rest(manifest, line)
            report(Unreadable(run_id, number, "the line is torn, or too long"))
        offset = manifest.tell()


def _skip_rest(manifest: BinaryIO, line: bytes) -> None:
    while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
        line = manifest.readline(LONGEST_LINE)


def _last_take(
    manifest: BinaryIO, run_id: str, group: Iterable[Row], report: Report
) -> tuple[TakeLine, Event] | None:
    """All that is known of one action: its latest ``take`` line, and what was told last."""
    lines = [_Line(*row) for row in group]
    for line in reversed(lines):
        if line.event == Event.TAKE:
            manifest.seek(line.offset)
            try:
                return parse_take(manifest.readline(LONGEST_LINE)), Event(lines[-1].event)
            except ValueError:
                report(Unreadable(run_id, line.number, "jobctl did not write the line"))
    return None


def _entry(
    root: OpenRoot, run_id: str, run_fd: int, take: TakeLine, last: Event, *, now: datetime | None
) -> Entry:
    item = take.item
    try:
        placed = os.stat(str(item.action), dir_fd=run_fd, follow_symlinks=False)
    except OSError:
        placed = None
    whereabouts, note = _whereabouts(root, placed, take, last)
    return Entry(
        run_id=run_id,
        action=item.action,
        path=item.path,
        identity=item.identity,
        mode=take.mode,
        uid=take.uid,
        gid=take.gid,
        reason=item.reason,
        job_id=item.job_id,
        role=item.role,
        sha256=item.sha256,
        root_id=take.root_id,
        store_id=take.store_id,
        at=take.at,
        whereabouts=whereabouts,
        age=_age(take.at, placed, now),
        note=note,
    )


def _whereabouts(
    root: OpenRoot, placed: os.stat_result | None, take: TakeLine, last: Event
) -> tuple[Whereabouts, str | None]:
    """The disk is believed first; the manifest says what an empty place means."""
    if placed is not None and resembles(placed, take.item.identity):
        return Whereabouts.QUARANTINED, None
    if placed is not None:
        return Whereabouts.LOST, "another file stands at its place in quarantine"
    if last in _SETTLED:
        return _SETTLED[last], None
    there = original(root, take.item.path)
    if there is not None and resembles(there, take.item.identity):
        return Whereabouts.IN_PLACE, None
    return Whereabouts.LOST, "it is neither in quarantine nor where it was"


def _age(at: datetime, placed: os.stat_result | None, now: datetime | None) -> timedelta | None:
    """How long ago it was moved. The later of two witnesses counts: neither clock alone can make it old."""
    if now is None:
        return None
    since = at
    if placed is not None:
        try:
            since = max(at, from_epoch_ns(placed.st_ctime_ns))
        except OverflowError:
            return None
    age = now - since
    return None if age < -_SKEW else max(age, timedelta(0))


def _clock_of(root: OpenRoot) -> datetime | None:
    now_ns = root_clock_ns(root)
    return None if now_ns is None else from_epoch_ns(now_ns)
