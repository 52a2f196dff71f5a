"""The hot paths of a worker on PostgreSQL: one statement each, autocommit, no session state but LISTEN.

A claim and the settlements before it travel in one pipeline, which is one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from jobctl.model.attempts import AttemptId, Claim, Lease, Peer, ProgressReport, Settlement, Turn
from jobctl.model.job import Executor
from jobctl.store.engine import Store, explained
from jobctl.store.leases import CHANNEL, CLAIM_DETAIL, Holder, event_detail

# One index range for each priority that is queued, the highest first: jobs that are due only
# later are never read past. Rows that another worker is just taking are skipped, not waited for.
_CLAIM = """
WITH RECURSIVE level AS (
    SELECT q.queue, q.rank, highest.priority
    FROM unnest(%(queues)s::text[]) WITH ORDINALITY AS q (queue, rank)
    CROSS JOIN LATERAL (
        SELECT j.priority FROM jobctl.job AS j WHERE j.status = 'queued' AND j.queue = q.queue
        ORDER BY j.priority DESC LIMIT 1
    ) AS highest
    UNION ALL
    SELECT level.queue, level.rank, lower.priority
    FROM level CROSS JOIN LATERAL (
        SELECT j.priority FROM jobctl.job AS j
        WHERE j.status = 'queued' AND j.queue = level.queue AND j.priority < level.priority
        ORDER BY j.priority DESC LIMIT 1
    ) AS lower
),
due AS MATERIALIZED (
    SELECT found.job_id, found.since, row_number() OVER () AS turn FROM (
    SELECT taken.job_id, taken.since
    FROM (SELECT * FROM level ORDER BY rank, priority DESC) AS levels
    CROSS JOIN LATERAL (
        SELECT j.job_id, coalesce(j.run_at, j.created_at) AS since FROM jobctl.job AS j
        WHERE j.status = 'queued' AND j.queue = levels.queue AND j.priority = levels.priority
            AND coalesce(j.run_at, '-infinity'::timestamptz) <= now()
        ORDER BY coalesce(j.run_at, '-infinity'::timestamptz), j.job_id
        LIMIT %(want)s FOR UPDATE SKIP LOCKED
    ) AS taken
    LIMIT %(want)s
    ) AS found
),
claimed AS (
    UPDATE jobctl.job AS j SET status = 'processing', attempt = j.attempt + 1, version = j.version + 1,
        executor = %(executor)s::jsonb, progress = NULL, max_progress = NULL, error = NULL, error_code = NULL,
        started_at = now(), last_heartbeat = now(), updated_at = now()
    WHERE j.job_id = ANY (ARRAY(SELECT job_id FROM due)) AND j.status = 'queued'
    RETURNING j.job_id, j.attempt, j.max_attempts, j.kind
),
leased AS (
    INSERT INTO jobctl.lease (job_id, attempt, worker)
    SELECT job_id, attempt, %(worker)s FROM claimed
    ON CONFLICT (job_id) DO UPDATE
    SET attempt = excluded.attempt, worker = excluded.worker, cancel_at = NULL, note = NULL
),
told AS (
    INSERT INTO jobctl.event (job_id, at, kind, actor, attempt, from_status, to_status, detail)
    SELECT job_id, now(), 'status', %(actor)s, attempt, 'queued', 'processing', %(detail)s::jsonb FROM claimed
)
SELECT claimed.*, body.payload::text,
    greatest(0, extract(epoch FROM now() - coalesce(due.since, now())))::double precision
FROM claimed JOIN due ON due.job_id = claimed.job_id
LEFT JOIN jobctl.job_body AS body ON body.job_id = claimed.job_id
ORDER BY due.turn
"""

_SETTLE = """
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(
        %(job_id)s::text[], %(attempt)s::int[], %(status)s::text[], %(result)s::text[], %(error)s::text[],
        %(error_code)s::text[], %(detail)s::text[], %(delay_s)s::float8[], %(extra)s::int[]
    ) AS a (job_id, attempt, status, result, error, error_code, detail, delay_s, extra)
),
settled AS (
    UPDATE jobctl.job AS j SET status = a.status, version = j.version + 1, updated_at = now(),
        error = a.error, error_code = a.error_code,
        completed_at = CASE WHEN a.status = 'completed' THEN now() ELSE j.completed_at END,
        progress = CASE WHEN a.status = 'completed' THEN 100.0 ELSE j.progress END,
        executor = CASE WHEN a.status = 'queued' THEN NULL ELSE j.executor END,
        run_at = CASE WHEN a.status = 'queued' THEN now() + a.delay_s * interval '1 second' ELSE j.run_at END,
        max_attempts = j.max_attempts + a.extra
    FROM asked AS a
    WHERE j.job_id = a.job_id AND j.attempt = a.attempt AND j.status = 'processing'
        AND j.job_id = ANY (%(job_id)s::text[])
    RETURNING j.job_id, j.attempt, a.status, a.result, a.detail
),
told AS (
    INSERT INTO jobctl.event (job_id, at, kind, actor, attempt, from_status, to_status, detail)
    SELECT job_id, now(), 'status', %(actor)s, attempt, 'processing', status, detail::jsonb FROM settled
),
kept AS (
    INSERT INTO jobctl.job_body (job_id, result)
    SELECT job_id, result::jsonb FROM settled WHERE result IS NOT NULL
    ON CONFLICT (job_id) DO UPDATE SET result = excluded.result
),
released AS (
    DELETE FROM jobctl.lease AS l USING asked AS a WHERE l.job_id = a.job_id AND l.attempt = a.attempt
        AND l.job_id = ANY (%(job_id)s::text[])
)
SELECT job_id, attempt FROM settled
"""

_REPORT = """
WITH told AS MATERIALIZED (
    SELECT * FROM unnest(%(job_id)s::text[], %(attempt)s::int[], %(percent)s::float8[], %(note)s::text[])
    AS t (job_id, attempt, percent, note)
),
noted AS (
    UPDATE jobctl.lease AS l SET note = t.note FROM told AS t
    WHERE l.job_id = t.job_id AND l.attempt = t.attempt AND l.note IS DISTINCT FROM t.note
)
UPDATE jobctl.job AS j SET progress = t.percent, last_heartbeat = now(),
    max_progress = greatest(coalesce(j.max_progress, 0.0), least(100.0, greatest(0.0, t.percent)))
FROM told AS t WHERE j.job_id = t.job_id AND j.attempt = t.attempt AND j.status = 'processing'
RETURNING j.job_id, j.attempt
"""
_LIFE = """
UPDATE jobctl.job AS j SET last_heartbeat = now()
WHERE j.job_id = ANY (ARRAY(SELECT job_id FROM jobctl.lease WHERE worker = %(worker)s))
    AND j.status = 'processing'
"""
_BEAT = """
UPDATE jobctl.worker SET beat = beat + 1, seen_at = now(), state = %(state)s, counters = %(counters)s::jsonb
WHERE worker_id = %(worker)s AND ended_at IS NULL
"""
_HELD = "SELECT job_id, attempt, worker, cancel_at IS NOT NULL FROM jobctl.lease WHERE worker = %(worker)s"
_PEERS = "SELECT worker_id, executor, lease_s, beat FROM jobctl.worker WHERE ended_at IS NULL"


class PostgreSQLLeases:
    """See ``Leases``."""

    def __init__(self, store: Store, holder: Holder) -> None:
        self._store = store
        self._holder = holder
        self._woken = True
        with explained(store.dialect, psycopg.Error):
            self._connection = store.engine.connect()
            self._driver: psycopg.Connection[Any] = self._connection.connection.driver_connection  # type: ignore[assignment]
            self._driver.execute(f"LISTEN {CHANNEL}")
            self._driver.add_notify_handler(lambda notice: self._hear(notice.payload))

    def take_turn(self, settlements: Sequence[Settlement], want: int) -> Turn:
        settled: frozenset[AttemptId] = frozenset()
        claims: list[Claim] = []
        with explained(self._store.dialect, psycopg.Error):
            if settlements and want:
                with self._driver.pipeline():
                    settling = self._driver.execute(_SETTLE, self._settling(settlements))
                    claiming = self._driver.execute(_CLAIM, self._claiming(want))
                settled, claims = _attempts(settling), _claims(claiming)
            elif settlements:
                settled = _attempts(self._driver.execute(_SETTLE, self._settling(settlements)))
            elif want:
                claims = _claims(self._driver.execute(_CLAIM, self._claiming(want)))
        return Turn(settled, claims)

    def beat(self, counters: Mapping[str, float], state: str) -> bool:
        values = {"counters": json.dumps(counters), "state": state}
        return bool(self._execute(_BEAT, values).rowcount)

    def report(self, reports: Sequence[ProgressReport]) -> frozenset[AttemptId]:
        values = {
            "job_id": [each.job_id for each in reports],
            "attempt": [each.attempt for each in reports],
            "percent": [each.percent for each in reports],
            "note": [each.note for each in reports],
        }
        asked = frozenset(AttemptId(each.job_id, each.attempt) for each in reports)
        return asked - _attempts(self._execute(_REPORT, values))

    def show_life(self) -> None:
        self._execute(_LIFE, {})

    def held(self) -> list[Lease]:
        return [Lease._make(row) for row in self._execute(_HELD, {}).fetchall()]

    def peers(self) -> list[Peer]:
        rows = self._execute(_PEERS, {}).fetchall()
        return [Peer(name, Executor(**executor), lease_s, beat) for name, executor, lease_s, beat in rows]

    def wake_fd(self) -> int | None:
        return None if self._driver.closed else self._driver.fileno()

    def was_woken(self) -> bool:
        with explained(self._store.dialect, psycopg.Error):
            connection = self._driver.pgconn
            connection.consume_input()
            while (notice := connection.notifies()) is not None:
                self._hear(notice.extra.decode())
        woken, self._woken = self._woken, False
        return woken

    def close(self) -> None:
        # The pool would try to reset a connection that is broken.
        with suppress(Exception):
            self._connection.invalidate()
        with suppress(Exception):
            self._connection.close()

    def _hear(self, queue: str) -> None:
        self._woken = self._woken or not queue or queue in self._holder.queues

    def _execute(self, sql: str, values: Mapping[str, Any]) -> psycopg.Cursor[Any]:
        with explained(self._store.dialect, psycopg.Error):
            return self._driver.execute(sql, {"worker": self._holder.worker_id, **values})

    def _settling(self, settlements: Sequence[Settlement]) -> Mapping[str, Any]:
        return {
            "actor": self._holder.actor,
            "job_id": [each.job_id for each in settlements],
            "attempt": [each.attempt for each in settlements],
            "status": [each.to.value for each in settlements],
            "result": [each.result for each in settlements],
            "error": [each.error for each in settlements],
            "error_code": [each.error_code for each in settlements],
            "detail": [event_detail(each) for each in settlements],
            "delay_s": [each.delay_s for each in settlements],
            "extra": [each.extra_attempts for each in settlements],
        }

    def _claiming(self, want: int) -> Mapping[str, Any]:
        holder = self._holder
        return {
            "queues": list(holder.queues),
            "want": want,
            "executor": json.dumps(holder.executor._asdict()),
            "worker": holder.worker_id,
            "actor": holder.actor,
            "detail": CLAIM_DETAIL,
        }


def _attempts(cursor: psycopg.Cursor[Any]) -> frozenset[AttemptId]:
    return frozenset(map(AttemptId._make, cursor.fetchall()))


def _claims(cursor: psycopg.Cursor[Any]) -> list[Claim]:
    return [Claim._make(row) for row in cursor.fetchall()]
