"""The hot paths of a worker on SQLite: short write transactions, each of them durable."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from jobctl import clock
from jobctl.core.settling import if_cancelled
from jobctl.errors import StoreUnreachable
from jobctl.model.attempts import AttemptId, Claim, Lease, Peer, ProgressReport, Settlement, Turn
from jobctl.model.job import Executor
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.store.dialect import file_at
from jobctl.store.engine import Store, explained
from jobctl.store.filewatch import FileWatch
from jobctl.store.leases import CLAIM_DETAIL, Holder, event_detail
from jobctl.store.sqlite_turns import begin_immediate

_LEVELS = """
WITH RECURSIVE level (kind, priority) AS (
    SELECT value, (
        SELECT priority FROM job WHERE status = 'queued' AND queue = ?1 AND kind = value
        ORDER BY priority DESC LIMIT 1
    ) FROM json_each(?2)
    UNION ALL
    SELECT kind, (
        SELECT job.priority FROM job
        WHERE status = 'queued' AND queue = ?1 AND job.kind = level.kind AND job.priority < level.priority
        ORDER BY job.priority DESC LIMIT 1
    ) FROM level WHERE level.priority IS NOT NULL
)
SELECT priority, kind FROM level WHERE priority IS NOT NULL ORDER BY priority DESC
"""
_DUE = """
SELECT coalesce(run_at, ''), job_id FROM job
WHERE status = 'queued' AND queue = ? AND kind = ? AND priority = ? AND coalesce(run_at, '') <= ?
ORDER BY coalesce(run_at, ''), job_id LIMIT ?
"""
_FOUND = """
SELECT j.job_id, j.attempt + 1, j.spared, j.max_attempts, j.kind, CAST(b.payload AS TEXT),
    coalesce(j.run_at, j.created_at)
FROM json_each(?) AS due CROSS JOIN job AS j ON j.job_id = due.value
LEFT JOIN job_body AS b ON b.job_id = j.job_id
ORDER BY due.key
"""
_CLAIM = """
UPDATE job SET status = 'processing', attempt = attempt + 1, version = version + 1, executor = ?,
    progress = NULL, max_progress = NULL, error = NULL, error_code = NULL,
    started_at = ?, last_heartbeat = ?, updated_at = ?
WHERE job_id = ? AND status = 'queued'
"""
_LEASE = "INSERT OR REPLACE INTO lease (job_id, attempt, worker) VALUES (?, ?, ?)"
_EVENT = """
INSERT INTO event (job_id, at, kind, actor, attempt, from_status, to_status, detail)
VALUES (?, ?, 'status', ?, ?, ?, ?, ?)
"""
_CURRENT = """
SELECT j.job_id, j.attempt FROM json_each(?) AS asked
JOIN job AS j ON j.job_id = asked.value ->> 0 AND j.attempt = asked.value ->> 1
WHERE j.status = 'processing'
"""
_ENDING = """
SELECT j.job_id, j.attempt, l.cancel_at IS NOT NULL FROM json_each(?) AS asked
JOIN job AS j ON j.job_id = asked.value ->> 0 AND j.attempt = asked.value ->> 1
LEFT JOIN lease AS l ON l.job_id = j.job_id AND l.attempt = j.attempt
WHERE j.status = 'processing'
"""
_SETTLE = """
UPDATE job SET status = ?1, version = version + 1, updated_at = ?2, error = ?3, error_code = ?4,
    completed_at = iif(?1 = 'completed', ?2, completed_at),
    progress = iif(?1 = 'completed', 100.0, progress),
    executor = iif(?1 = 'queued', NULL, executor),
    run_at = iif(?1 = 'queued', ?5, run_at),
    spared = spared + ?6
WHERE job_id = ?7 AND attempt = ?8 AND status = 'processing'
"""
_RESULT = """
INSERT INTO job_body (job_id, result) VALUES (?, ?)
ON CONFLICT (job_id) DO UPDATE SET result = excluded.result
"""
_RELEASE = "DELETE FROM lease WHERE job_id = ? AND attempt = ?"
_REPORT = """
UPDATE job SET progress = ?1, last_heartbeat = ?2,
    max_progress = max(coalesce(max_progress, 0.0), min(100.0, max(0.0, ?1)))
WHERE job_id = ?3 AND attempt = ?4 AND status = 'processing'
"""
_NOTE = "UPDATE lease SET note = ? WHERE job_id = ? AND attempt = ?"
_LIFE = """
UPDATE job SET last_heartbeat = ? WHERE status = 'processing'
AND job_id IN (SELECT job_id FROM lease WHERE worker = ?)
"""
_BEAT = """
UPDATE worker SET beat = beat + 1, seen_at = ?, state = ?, counters = ?
WHERE worker_id = ? AND ended_at IS NULL
"""
_HELD = "SELECT job_id, attempt, worker, cancel_at IS NOT NULL FROM lease WHERE worker = ?"
_PEERS = "SELECT worker_id, executor, lease_s, beat FROM worker WHERE ended_at IS NULL"
_COUNTS_SOON_S, _COUNTS_WITHIN_S = 0.02, 0.25
"""How long after a write to the log it is looked whether it counts: a disk may be slow to make it durable."""
_LOOK_SOON_EVERY_S, _LOOK_EVERY_S = 0.001, 0.005
_LONG_AGO = float("-inf")


class SQLiteLeases:
    """See ``Leases``. One writer at a time: what a transaction has read cannot change under it."""

    def __init__(self, store: Store, holder: Holder) -> None:
        self._store = store
        self._holder = holder
        self._executor = json.dumps(holder.executor._asdict())
        self._file = file_at(store.dialect.place)
        with explained(store.dialect, sqlite3.Error):
            self._connection = store.engine.connect()
            driver: Any = self._connection.connection.driver_connection
            self._driver = driver
            self._watching = driver.cursor()
            # The log is there once somebody has read.
            driver.execute("SELECT 1 FROM worker LIMIT 1").fetchone()
        self._data_version = -1
        self._watch = _watch_log(store)
        self._heard_at = _LONG_AGO

    def take_turn(
        self,
        settlements: Sequence[Settlement],
        want: int,
        kinds: Collection[str] = (),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Turn:
        del meanwhile  # the work is done in this process
        if not settlements and not self._is_work_due(kinds):
            return Turn(frozenset(), [])
        with self._write() as (execute, now):
            settled, cancelled = self._settle(execute, settlements, now)
            claims = self._claim(execute, want, kinds, now) if want else []
        return Turn(settled, claims, cancelled)

    def beat(self, counters: Mapping[str, float], state: str) -> bool:
        with self._write() as (execute, now):
            values = (format_timestamp(now), state, json.dumps(counters), self._holder.worker_id)
            return bool(execute.execute(_BEAT, values).rowcount)

    def report(self, reports: Sequence[ProgressReport]) -> frozenset[AttemptId]:
        with self._write() as (execute, now):
            current = _current(execute, [AttemptId(report.job_id, report.attempt) for report in reports])
            kept = [report for report in reports if (report.job_id, report.attempt) in current]
            at = format_timestamp(now)
            execute.executemany(_REPORT, [(each.percent, at, each.job_id, each.attempt) for each in kept])
            execute.executemany(_NOTE, [(each.note, each.job_id, each.attempt) for each in kept])
        return frozenset(AttemptId(each.job_id, each.attempt) for each in reports) - current

    def show_life(self) -> None:
        with self._write() as (execute, now):
            execute.execute(_LIFE, (format_timestamp(now), self._holder.worker_id))

    def expect_store(self) -> None:
        if file_at(self._store.dialect.place) != self._file:
            # The file that is open here goes on working, but nobody else will ever find it.
            raise StoreUnreachable(
                f"the job store {self._store.url} was moved away or replaced", hint="put it back in its place"
            )
        with explained(self._store.dialect):
            self._store.expect_same(self._connection)

    def held(self) -> list[Lease]:
        with explained(self._store.dialect, sqlite3.Error):
            rows = self._driver.execute(_HELD, (self._holder.worker_id,)).fetchall()
        return [Lease(job_id, attempt, worker, bool(asked)) for job_id, attempt, worker, asked in rows]

    def peers(self) -> list[Peer]:
        with explained(self._store.dialect, sqlite3.Error):
            rows = self._driver.execute(_PEERS).fetchall()
        return [
            Peer(name, Executor(**json.loads(executor)), lease_s, beat)
            for name, executor, lease_s, beat in rows
        ]

    def wake_fd(self) -> int | None:
        return self._watch.fd if self._watch is not None else None

    @property
    def look_every_s(self) -> float | None:
        """The log is written to a little before what was written counts: mostly a very little."""
        if self._watch is None:
            return _LOOK_EVERY_S
        since = clock.monotonic() - self._heard_at
        if since < _COUNTS_SOON_S:
            return _LOOK_SOON_EVERY_S
        return _LOOK_EVERY_S if since < _COUNTS_WITHIN_S else None

    def was_woken(self) -> bool:
        if self._watch is not None and self._watch.drain():
            self._heard_at = clock.monotonic()
        # Hundreds of times a second: worth being asked without ceremony.
        try:
            (version,) = self._watching.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            with explained(self._store.dialect, sqlite3.Error):
                raise
        if version == self._data_version:
            return False
        self._data_version = version
        self._heard_at = _LONG_AGO
        return True

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        with suppress(sqlite3.Error):
            self._connection.close()

    def _settle(
        self, execute: sqlite3.Cursor, settlements: Sequence[Settlement], now: datetime
    ) -> tuple[frozenset[AttemptId], frozenset[AttemptId]]:
        """The attempts that are ended by this, and those of them whose job is cancelled instead."""
        if not settlements:
            return frozenset(), frozenset()
        asked = json.dumps([each.id for each in settlements])
        current = {AttemptId(*row[:2]): bool(row[2]) for row in execute.execute(_ENDING, (asked,))}
        ending, cancelled = list[Settlement](), list[AttemptId]()
        for each in settlements:
            if each.id not in current:
                continue
            instead = if_cancelled(each) if current[each.id] else None
            ending.append(instead or each)
            if instead is not None:
                cancelled.append(each.id)
        at, actor = format_timestamp(now), self._holder.actor
        execute.executemany(_SETTLE, [_settled(each, at, now) for each in ending])
        execute.executemany(
            _EVENT,
            [
                (each.job_id, at, actor, each.attempt, "processing", each.to.value, event_detail(each))
                for each in ending
            ],
        )
        results = [(each.job_id, each.result) for each in ending if each.result is not None]
        if results:
            execute.executemany(_RESULT, results)
        # Also those that came too late: the lease of an old attempt is of no use to anybody.
        execute.executemany(_RELEASE, [each.id for each in settlements])
        return frozenset(current), frozenset(cancelled)

    def _is_work_due(self, kinds: Collection[str]) -> bool:
        """Look without the lock: of many whom a write woke, most find nothing to write themselves."""
        with explained(self._store.dialect, sqlite3.Error):
            return bool(self._find_due(1, kinds, format_timestamp(clock.now())))

    def _find_due(self, want: int, kinds: Collection[str], at: str) -> list[str]:
        """The ids of due jobs, those first that are to be run first.

        What is queued of each kind and priority is one range of the index; of several kinds, the
        ranges are read side by side, and none further than it is needed.
        """
        found: list[str] = []
        for queue in self._holder.queues:
            levels = self._driver.execute(_LEVELS, (queue, json.dumps(list(kinds)))).fetchall()
            for priority, of_level in groupby(levels, itemgetter(0)):
                wanted = want - len(found)
                with ExitStack() as stack:
                    due = [
                        stack.enter_context(
                            closing(self._driver.execute(_DUE, (queue, kind, priority, at, wanted)))
                        )
                        for _, kind in of_level
                    ]
                    found += [job_id for _, job_id in islice(merge(*due), wanted)]
                if len(found) >= want:
                    return found
        return found

    def _claim(
        self, execute: sqlite3.Cursor, want: int, kinds: Collection[str], now: datetime
    ) -> list[Claim]:
        at = format_timestamp(now)
        due = self._find_due(want, kinds, at)
        found = execute.execute(_FOUND, (json.dumps(due),)).fetchall()
        actor = self._holder.actor
        execute.executemany(_CLAIM, [(self._executor, at, at, at, row[0]) for row in found])
        execute.executemany(_LEASE, [(row[0], row[1], self._holder.worker_id) for row in found])
        execute.executemany(
            _EVENT, [(row[0], at, actor, row[1], "queued", "processing", CLAIM_DETAIL) for row in found]
        )
        return [Claim._make([*row[:6], _waited_s(row[6], now)]) for row in found]

    @contextmanager
    def _write(self) -> Iterator[tuple[sqlite3.Cursor, datetime]]:
        with explained(self._store.dialect, sqlite3.Error):
            begin_immediate(self._driver)
            cursor = self._driver.cursor()
            try:
                # Read once the lock is had: a worker that waited for it must not date its writes back.
                yield cursor, clock.now()
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()


def _watch_log(store: Store) -> FileWatch | None:
    """Hear of every write to the store; ``None`` where one has to look."""
    with suppress(OSError):
        return FileWatch(f"{store.dialect.place}-wal")
    return None


def _current(execute: sqlite3.Cursor, asked: Sequence[AttemptId]) -> frozenset[AttemptId]:
    """Those of the attempts that still hold their jobs."""
    return frozenset(map(AttemptId._make, execute.execute(_CURRENT, (json.dumps(asked),))))


def _settled(each: Settlement, at: str, now: datetime) -> tuple[Any, ...]:
    run_at = None if each.delay_s is None else format_timestamp(now + timedelta(seconds=each.delay_s))
    return (
        each.to.value,
        at,
        each.error,
        each.error_code,
        run_at,
        each.is_spared,
        each.job_id,
        each.attempt,
    )


def _waited_s(due: str | None, now: datetime) -> float:
    return max(0.0, (now - parse_timestamp(due)).total_seconds()) if due else 0.0
