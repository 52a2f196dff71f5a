"""The same work as the runner's, by the raw drivers: what it could cost at the least."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from jobctl.store import tallies
from jobctl.store.engine import open_store

_BATCH = 100
_COMMIT_EVERY = 10_000
_EXECUTOR = json.dumps({"host": "bench", "boot_id": "b", "pid": 1, "pid_start": 1, "instance": "bench-1"})
_WORKER = "bench-1"
_JOB = (
    "job_id, status, created_at, kind, queue, priority, run_at, attempt, max_attempts, origin, version, "
    "updated_at"
)
_ENDED = f"{_JOB}, completed_at"
_EVENT = "job_id, at, kind, actor, attempt, from_status, to_status, detail"


def enqueue_singly(url: str, count: int) -> None:
    """One transaction a job."""
    if _is_sqlite(url):
        with _sqlite(url) as connection:
            for job, body, event in _rows(count):
                connection.execute("BEGIN IMMEDIATE")
                _insert_sqlite(connection, [job], [body], [event])
                connection.execute("COMMIT")
        return
    with psycopg.connect(url, autocommit=True) as connection:
        for job, body, event in _rows(count):
            _insert_postgresql(connection, job, body, event)


def enqueue_many(url: str, count: int) -> None:
    """Many jobs a transaction, the fastest way the driver has."""
    for jobs, bodies, events in _chunks(count):
        if _is_sqlite(url):
            with _sqlite(url) as connection:
                connection.execute("BEGIN IMMEDIATE")
                _insert_sqlite(connection, jobs, bodies, events)
                connection.execute("COMMIT")
            continue
        with psycopg.connect(url) as connection:
            for table, names, rows in (
                ("job", _JOB, jobs),
                ("job_body", "job_id, payload", bodies),
                ("event", _EVENT, events),
            ):
                with connection.cursor().copy(f"COPY jobctl.{table} ({names}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)


def drain(url: str) -> None:
    """Take a hundred, end a hundred, until nothing is queued."""
    if _is_sqlite(url):
        with _sqlite(url) as connection:
            _drain_sqlite(connection)
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET plan_cache_mode = force_custom_plan")
            _drain_postgresql(connection)


def add_ended(url: str, count: int) -> None:
    """Fill a store with jobs that ended before."""
    at = _stamp(datetime.now(UTC) - timedelta(days=3))
    rows = (
        (f"ended-{n:09}", "completed", at, "noop", "default", 0, at, 1, 3, "created", 3, at, at)
        for n in range(count)
    )
    if _is_sqlite(url):
        with _sqlite(url) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_into("job", _ENDED, "?", prefix=""), rows)
            connection.execute("COMMIT")
        return
    with psycopg.connect(url) as connection:
        with connection.cursor().copy(f"COPY jobctl.job ({_ENDED}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        connection.execute("ANALYZE jobctl.job")


def create_database(server: str, name: str) -> None:
    """Make an empty database."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")


def newest_event(url: str) -> int:
    """The number of the last event in the store's history."""
    return int(_one(url, "SELECT coalesce(max(event_id), 0) FROM {event}")[0])


def add_up_history(url: str) -> None:
    """What a worker with nothing else to do would be at for minutes after a drain."""
    with closing(open_store(url)) as store:
        while tallies.fold(store):
            pass


def between_first_and_last(url: str, *, after: int) -> float:
    """Seconds from the first claim to the last end in the history after an event."""
    asked = f"SELECT min(at), max(at) FROM {{event}} WHERE kind = 'status' AND event_id > {after}"
    first, last = _one(url, asked)
    if isinstance(first, str):
        first, last = datetime.fromisoformat(first), datetime.fromisoformat(last)
    return float((last - first).total_seconds())


def ready_workers(url: str) -> int:
    """How many workers ever told that they have the task ``noop``."""
    return int(_one(url, "SELECT count(*) FROM {worker} WHERE CAST(tasks AS TEXT) LIKE '%\"noop\"%'")[0])


def commit_twice(url: str, count: int) -> list[float]:
    """Milliseconds that it takes to enqueue a job and to claim it, each made durable."""
    waits = []
    if _is_sqlite(url):
        with _sqlite(url) as connection:
            for job, body, event in _rows(count):
                began = time.perf_counter()
                connection.execute("BEGIN IMMEDIATE")
                _insert_sqlite(connection, [job], [body], [event])
                connection.execute("COMMIT")
                _take_sqlite(connection, 1)
                waits.append((time.perf_counter() - began) * 1000)
        return waits
    with psycopg.connect(url, autocommit=True) as connection:
        for job, body, event in _rows(count):
            began = time.perf_counter()
            _insert_postgresql(connection, job, body, event)
            connection.execute(_TAKE, (1, _EXECUTOR, _WORKER)).fetchall()
            waits.append((time.perf_counter() - began) * 1000)
    return waits


def _drain_sqlite(connection: sqlite3.Connection) -> None:
    while due := _take_sqlite(connection, _BATCH):
        _end_sqlite(connection, due)


def _take_sqlite(connection: sqlite3.Connection, count: int) -> list[Any]:
    at = _stamp(datetime.now(UTC))
    connection.execute("BEGIN IMMEDIATE")
    due = connection.execute(
        "SELECT j.job_id, j.attempt + 1, b.payload FROM job AS j JOIN job_body AS b USING (job_id) "
        "WHERE j.status = 'queued' AND j.queue = 'default' AND j.kind = 'noop' AND j.priority = 0 "
        "AND coalesce(j.run_at, '') <= ? ORDER BY coalesce(j.run_at, ''), j.job_id LIMIT ?",
        (at, count),
    ).fetchall()
    connection.executemany(
        "UPDATE job SET status = 'processing', attempt = ?, version = version + 1, executor = ?, "
        "started_at = ?, last_heartbeat = ?, updated_at = ? WHERE job_id = ? AND status = 'queued'",
        [(attempt, _EXECUTOR, at, at, at, job_id) for job_id, attempt, _ in due],
    )
    connection.executemany(
        "INSERT INTO lease (job_id, attempt, worker) VALUES (?, ?, ?)",
        [(job_id, attempt, _WORKER) for job_id, attempt, _ in due],
    )
    claimed = [_event(row[0], at, row[1], "queued", "processing", "claim") for row in due]
    connection.executemany(_into("event", _EVENT, "?", prefix=""), claimed)
    connection.execute("COMMIT")
    return due


def _end_sqlite(connection: sqlite3.Connection, due: list[Any]) -> None:
    at = _stamp(datetime.now(UTC))
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "UPDATE job SET status = 'completed', version = version + 1, updated_at = ?, completed_at = ?, "
        "progress = 100 WHERE job_id = ? AND attempt = ? AND status = 'processing'",
        [(at, at, job_id, attempt) for job_id, attempt, _ in due],
    )
    ended = [_event(row[0], at, row[1], "processing", "completed", "executor") for row in due]
    connection.executemany(_into("event", _EVENT, "?", prefix=""), ended)
    connection.executemany("DELETE FROM lease WHERE job_id = ? AND attempt = ?", [row[:2] for row in due])
    connection.execute("COMMIT")


_TAKE = """
WITH due AS (
    SELECT job_id FROM jobctl.job WHERE status = 'queued' AND queue = 'default' AND kind = 'noop'
        AND priority = 0 AND coalesce(run_at, '-infinity'::timestamptz) <= now()
    ORDER BY coalesce(run_at, '-infinity'::timestamptz), job_id LIMIT %s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE jobctl.job AS j SET status = 'processing', attempt = j.attempt + 1, version = j.version + 1,
        executor = %s::jsonb, started_at = now(), last_heartbeat = now(), updated_at = now()
    WHERE j.job_id = ANY (ARRAY(SELECT job_id FROM due)) RETURNING j.job_id, j.attempt
), leased AS (
    INSERT INTO jobctl.lease (job_id, attempt, worker) SELECT job_id, attempt, %s FROM claimed
), told AS (
    INSERT INTO jobctl.event (job_id, at, kind, actor, attempt, from_status, to_status, detail)
    SELECT job_id, now(), 'status', 'bench', attempt, 'queued', 'processing', '{"cause": "claim"}'
    FROM claimed
)
SELECT claimed.job_id, claimed.attempt, body.payload FROM claimed JOIN jobctl.job_body AS body USING (job_id)
"""
_END = """
WITH asked AS MATERIALIZED (SELECT * FROM unnest(%s::text[], %s::int[]) AS a (job_id, attempt)),
ended AS (
    UPDATE jobctl.job AS j SET status = 'completed', version = j.version + 1, updated_at = now(),
        completed_at = now(), progress = 100
    FROM asked AS a WHERE j.job_id = a.job_id AND j.attempt = a.attempt AND j.status || '' = 'processing'
        AND j.job_id = ANY (ARRAY(SELECT job_id FROM asked)) RETURNING j.job_id, j.attempt
), told AS (
    INSERT INTO jobctl.event (job_id, at, kind, actor, attempt, from_status, to_status, detail)
    SELECT job_id, now(), 'status', 'bench', attempt, 'processing', 'completed', '{"cause": "executor"}'
    FROM ended
)
DELETE FROM jobctl.lease AS l USING ended WHERE l.job_id = ended.job_id AND l.attempt = ended.attempt
"""


def _drain_postgresql(connection: psycopg.Connection[Any]) -> None:
    while True:
        due = connection.execute(_TAKE, (_BATCH, _EXECUTOR, _WORKER)).fetchall()
        if not due:
            return
        ids, attempts = [row[0] for row in due], [row[1] for row in due]
        connection.execute(_END, (ids, attempts))


def _rows(count: int) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]]:
    for number in range(count):
        job_id, at = str(uuid.uuid4()), _stamp(datetime.now(UTC))
        yield (
            (job_id, "queued", at, "noop", "default", 0, at, 0, 3, "created", 1, at),
            (job_id, json.dumps({"number": number})),
            (job_id, at, "created", "bench", None, None, "queued", None),
        )


def _chunks(count: int) -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
    rows = _rows(count)
    for start in range(0, count, _COMMIT_EVERY):
        chunk = [next(rows) for _ in range(min(_COMMIT_EVERY, count - start))]
        yield [row[0] for row in chunk], [row[1] for row in chunk], [row[2] for row in chunk]


def _event(job_id: str, at: str, attempt: int, before: str, after: str, cause: str) -> tuple[Any, ...]:
    return job_id, at, "status", "bench", attempt, before, after, f'{{"cause": "{cause}"}}'


def _insert_sqlite(
    connection: sqlite3.Connection, jobs: list[Any], bodies: list[Any], events: list[Any]
) -> None:
    connection.executemany(_into("job", _JOB, "?", prefix=""), jobs)
    connection.executemany(_into("job_body", "job_id, payload", "?", prefix=""), bodies)
    connection.executemany(_into("event", _EVENT, "?", prefix=""), events)


def _insert_postgresql(
    connection: psycopg.Connection[Any], job: tuple[Any, ...], body: tuple[Any, ...], event: tuple[Any, ...]
) -> None:
    with connection.transaction(), connection.pipeline():
        connection.execute(_into("job", _JOB, "%s"), job)
        connection.execute(_into("job_body", "job_id, payload", "%s"), body)
        connection.execute(_into("event", _EVENT, "%s"), event)


def _one(url: str, sql: str) -> Any:
    if _is_sqlite(url):
        with _sqlite(url) as connection:
            return connection.execute(sql.format(event="event", worker="worker")).fetchone()
    with psycopg.connect(url) as server:
        named = sql.format(event="jobctl.event", worker="jobctl.worker")
        return server.execute(named.encode()).fetchone()


def _into(table: str, names: str, mark: str, *, prefix: str = "jobctl.") -> str:
    return f"INSERT INTO {prefix}{table} ({names}) VALUES ({', '.join([mark] * len(names.split(', ')))})"


def _sqlite(url: str) -> _Closing:
    return _Closing(url)


class _Closing:
    """An SQLite connection with the store's own durability, closed at the end of the block."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url, isolation_level=None, timeout=30)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA cache_size = -16384")

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _is_sqlite(url: str) -> bool:
    return not url.startswith("postgresql")


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
