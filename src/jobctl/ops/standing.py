"""How a store stands: one look at jobs, queues, workers, commands, scans and disks, and what is not well.

It takes the same short time with ten jobs and with ten million, and waits for no disk that is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from jobctl.core.health.standing import (
    judge_failures,
    judge_last_run,
    judge_root_room,
    judge_scan,
    judge_silent,
    worst_first,
)
from jobctl.core.health.work import judge_backup, judge_leases
from jobctl.core.health.workers import judge_declared
from jobctl.core.outlook import outlook_of
from jobctl.core.tally import Grain
from jobctl.errors import JobctlError, RootUnavailable, StoreOlderThanRoot
from jobctl.model.standing import Reading, RootRoom, ScanSeen, Standing, Trouble, Worker
from jobctl.ops.doctor.places import examine_absence
from jobctl.ops.doctor.work import BACKUP, examine_locks, examine_runs, examine_workers, holding
from jobctl.ops.hold import open_registered
from jobctl.ops.serving import is_lost, serving_now
from jobctl.ops.site import Site
from jobctl.ops.tallies import QUICK, catch_up
from jobctl.outputs.room import Room, room_of
from jobctl.outputs.root import open_root
from jobctl.store import claims, lastruns, roots, standing, tallies, workers
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow

_CATCH_UP_S = 0.3
_CATCH_UP_EVENTS = 5_000
_RECENT = timedelta(hours=1)
_LOOKS_BACK = timedelta(days=30)
_GONE_FOR = timedelta(days=1)
_DISK_S = 0.5


def look(site: Site, *, clean: Callable[[str], str] = str) -> Standing:
    """Read it all at one moment, and judge it.

    ``clean``: what is done to the texts of errors first. What is judged quotes a part of them, in which
    half a secret would not be known for one.
    """
    uncounted = catch_up(site, within_s=_CATCH_UP_S, at_once=_CATCH_UP_EVENTS)
    disks = _Disks(site.store.store_id)
    with site.store.read() as connection:
        now = site.store.now(connection)
        known = roots.get_roots(connection)
        disks.ask([row for row in known if row.host in {None, site.host}])
        found = _recorded(site, connection, known, now, clean=clean)
        readings = {row.root_id: _readings(connection, row, now) for row in known}
        work = [
            Trouble("locks", examine_locks(site, connection)),
            Trouble("leases", judge_leases(holding(site, connection))),
            Trouble("runs", examine_runs(site, connection)),
            Trouble("absence", examine_absence(site, connection)),
            *_judged_workers(site, connection, found),
        ]
    found.uncounted = uncounted if uncounted > QUICK else 0
    found.rooms = [_room(site, row, disks, readings[row.root_id], now) for row in known]
    # A root that is away comes before all that is as bad: it may be what the rest comes from.
    found.troubles = worst_first([*_judged_roots(found), *work, *_judged(found)])
    return found


def _recorded(
    site: Site, connection: Connection, known: list[RootRow], now: datetime, *, clean: Callable[[str], str]
) -> Standing:
    """What the store tells; nothing is judged yet, and no disk was asked."""
    return Standing(
        now=now,
        jobs=tallies.read(connection, site.store.dialect, Grain.ALL, most_missing=QUICK).by_status(),
        uncounted=0,
        changes=standing.recent_changes(connection, now - _RECENT),
        queues=standing.queue_depths(connection, now),
        silent=standing.silent_jobs(connection, now - timedelta(seconds=site.settings.stale_after_s)),
        workers=_workers(site, connection, now),
        last_runs=[
            run._replace(error=clean(run.error)) if run.error else run
            for run in lastruns.last_runs(connection)
        ],
        scans=[_scan_seen(connection, row) for row in known],
        rooms=[],
        unfinished=[row.run_id for row in claims.open_runs(connection)],
    )


def _judged_roots(found: Standing) -> list[Trouble]:
    return [Trouble("roots", judge_root_room(room)) for room in found.rooms if room.mend]


def _judged(found: Standing) -> list[Trouble]:
    """What follows from what was seen alone."""
    judged = [
        Trouble("jobs", judge_failures(found.changes, found.now)),
        Trouble("heartbeats", judge_silent(found.silent, found.now)),
    ]
    judged += [
        Trouble("room", judge_root_room(room))
        for room in found.rooms
        if not room.mend and (room.now or room.trouble)
    ]
    judged += [Trouble(run.command, judge_last_run(run, found.now)) for run in found.last_runs]
    judged += [Trouble("scan", diagnosis) for seen in found.scans for diagnosis in judge_scan(seen)]
    made = [run.succeeded_at for run in found.last_runs if run.command == BACKUP and run.succeeded_at]
    if made:
        judged.append(Trouble(BACKUP, judge_backup((found.now - max(made)).total_seconds())))
    return judged


def _workers(site: Site, connection: Connection, now: datetime) -> list[Worker]:
    """Those that run, and those that were lost within a day."""
    busy = workers.count_leases(connection)
    return [
        Worker(
            row,
            min(busy.get(row.worker_id, 0), row.slots),
            row.ended_at is not None or is_lost(site, row.executor, row.seen_at, row.lease_s, now),
        )
        for row in workers.list_workers(connection, every=True)
        if row.ended_at is None or (row.state == "lost" and now - row.ended_at < _GONE_FOR)
    ]


def _judged_workers(site: Site, connection: Connection, found: Standing) -> list[Trouble]:
    judged = examine_workers(site, connection, found.queues)
    return [Trouble("workers", judged), Trouble("tasks", judge_declared(serving_now(site, connection)))]


def _scan_seen(connection: Connection, row: RootRow) -> ScanSeen:
    newest = standing.newest_complete_scan(connection, row.root_id)
    if newest is None:
        return ScanSeen(row.root_id, row.path, None, {}, suspended_at=row.negatives_suspended_at)
    mended = standing.last_mending(connection)
    is_outdated = mended is not None and mended >= newest.started_at
    findings = newest.counts.get("findings") or {}
    return ScanSeen(
        row.root_id, row.path, newest.finished_at, findings, is_outdated, row.negatives_suspended_at
    )


def _readings(connection: Connection, row: RootRow, now: datetime) -> list[Reading]:
    return standing.readings_of(standing.finished_scans(connection, row.root_id, since=now - _LOOKS_BACK))


def _room(site: Site, row: RootRow, disks: _Disks, readings: list[Reading], now: datetime) -> RootRoom:
    if row.host not in {None, site.host}:
        return RootRoom(row.root_id, row.path, None, 0, 0, outlook_of(readings))
    told = disks.answer(row)
    if isinstance(told, StoreOlderThanRoot):
        told = _looked_again(site, row)
    if isinstance(told, JobctlError):
        why = told.message.removesuffix("; nothing was changed")
        return RootRoom(row.root_id, row.path, None, 0, 0, outlook_of(readings), why, told.hint)
    if isinstance(told, str):
        return RootRoom(row.root_id, row.path, None, 0, 0, outlook_of(readings), told)
    here = Reading(now, told.bytes, told.bytes_free)
    return RootRoom(row.root_id, row.path, here, told.files, told.files_free, outlook_of([*readings, here]))


def _looked_again(site: Site, row: RootRow) -> Room | JobctlError:
    """What a root tells whose marker is ahead of what was read: a run may have passed meanwhile."""
    try:
        with open_registered(site, row) as root:
            return room_of(root.fd)
    except (RootUnavailable, StoreOlderThanRoot) as error:
        return error


class _Disks:
    """Asks roots whether they are there, and how much room is left below them.

    Each in a thread of its own: a disk that is gone never answers.
    """

    def __init__(self, store_id: str) -> None:
        self._store_id = store_id
        self._told: dict[str, Room | JobctlError | str] = {}
        self._asked: dict[str, threading.Thread] = {}

    def ask(self, rows: list[RootRow]) -> None:
        """Begin to ask."""
        for row in rows:
            self._asked[row.root_id] = threading.Thread(target=self._note, args=(row,), daemon=True)
            self._asked[row.root_id].start()

    def answer(self, row: RootRow) -> Room | JobctlError | str:
        """What a root told, why it is none, or why there is nothing to tell."""
        self._asked[row.root_id].join(_DISK_S)
        return self._told.get(row.root_id, f"it gave no answer within {_DISK_S:g} s")

    def _note(self, row: RootRow) -> None:
        try:
            with open_root(
                row.path, root_id=row.root_id, store_id=self._store_id, generation=row.generation
            ) as root:
                self._told[row.root_id] = room_of(root.fd)
        except (RootUnavailable, StoreOlderThanRoot) as error:
            self._told[row.root_id] = error
        except OSError as error:
            self._told[row.root_id] = error.strerror or str(error)
