"""The hot paths of a worker on SQLite: short write transactions, each of them durable."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from jobctl import clock
from jobctl.model.attempts import AttemptId, Claim, Lease, Peer, ProgressReport, Settlement, Turn
from jobctl.model.job import Executor
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.store.engine import Store, explained
from jobctl.store.leases import CLAIM_DETAIL, Holder, event_detail

_LOWER_LEVEL = """
SELECT priority FROM job WHERE status = 'queued' AND queue = ? AND priority < ?
ORDER BY priority DESC LIMIT 1
"""
_DUE = """
SELECT j.job_id, j.attempt + 1, j.max_attempts, j.kind, CAST(b.payload AS TEXT),
    coalesce(j.run_at, j.created_at)
FROM job AS j LEFT JOIN job_body AS b ON b.job_id = j.job_id
WHERE j.status = 'queued' AND j.queue = ? AND j.priority = ? AND coalesce(j.run_at, '') <= ?
ORDER BY coalesce(j.run_at, ''), j.job_id LIMIT ?
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
_SETTLE = """
UPDATE job SET status = ?1, version = version + 1, updated_at = ?2, error = ?3, error_code = ?4,
    completed_at = iif(?1 = 'completed', ?2, completed_at),
    progress = iif(?1 = 'completed', 100.0, progress),
    executor = iif(?1 = 'queued', NULL, executor),
    run_at = iif(?1 = 'queued', ?5, run_at),
    max_attempts = max_attempts + ?6
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
_HIGHEST = 1 << 62


class SQLiteLeases:
    """See ``Leases``. One writer at a time: what a transaction has read cannot change under it."""

    def __init__(self, store: Store, holder: Holder) -> None:
        self._store = store
        self._holder = holder
        self._executor = json.dumps(holder.executor._asdict())
        with explained(store.dialect):
            self._connection = store.engine.connect()
            driver: Any = self._connection.connection.driver_connection
            self._driver = driver
            self._watching = driver.cursor()
        self._data_version = -1

    def take_turn(self, settlements: Sequence[Settlement], want: int) -> Turn:
        with self._write() as (execute, now):
            settled = self._settle(execute, settlements, now)
            claims = self._claim(execute, want, now) if want else []
        return Turn(settled, claims)

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
        return None

    def was_woken(self) -> bool:
        # Two hundred times a second: worth being asked without ceremony.
        try:
            (version,) = self._watching.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            with explained(self._store.dialect, sqlite3.Error):
                raise
        if version == self._data_version:
            return False
        self._data_version = version
        return True

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()

    def _settle(
        self, execute: sqlite3.Cursor, settlements: Sequence[Settlement], now: datetime
    ) -> frozenset[AttemptId]:
        if not settlements:
            return frozenset()
        current = _current(execute, [each.id for each in settlements])
        ending = [each for each in settlements if each.id in current]
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
        return current

    def _claim(self, execute: sqlite3.Cursor, want: int, now: datetime) -> list[Claim]:
        at, found = format_timestamp(now), list[Any]()
        for queue in self._holder.queues:
            priority = _HIGHEST
            while len(found) < want:
                level = execute.execute(_LOWER_LEVEL, (queue, priority)).fetchone()
                if level is None:
                    break
                (priority,) = level
                found += execute.execute(_DUE, (queue, priority, at, want - len(found))).fetchall()
        actor = self._holder.actor
        execute.executemany(_CLAIM, [(self._executor, at, at, at, row[0]) for row in found])
        execute.executemany(_LEASE, [(row[0], row[1], self._holder.worker_id) for row in found])
        execute.executemany(
            _EVENT, [(row[0], at, actor, row[1], "queued", "processing", CLAIM_DETAIL) for row in found]
        )
        return [Claim._make([*row[:5], _waited_s(row[5], now)]) for row in found]

    @contextmanager
    def _write(self) -> Iterator[tuple[sqlite3.Cursor, datetime]]:
        with explained(self._store.dialect, sqlite3.Error):
            cursor = self._driver.cursor()
            cursor.execute("BEGIN IMMEDIATE")
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
        each.extra_attempts,
        each.job_id,
        each.attempt,
    )


def _waited_s(due: str | None, now: datetime) -> float:
    return max(0.0, (now - parse_timestamp(due)).total_seconds()) if due else 0.0
