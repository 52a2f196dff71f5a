"""The hot paths of a worker on PostgreSQL: one statement each, autocommit, no session state but LISTEN.

A claim and the settlements before it travel in one pipeline, which is one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from jobctl.core.settling import if_cancelled
from jobctl.model.attempts import AttemptId, Claim, Lease, Peer, ProgressReport, Settlement, Turn
from jobctl.model.job import Executor
from jobctl.store.bell import CHANNEL
from jobctl.store.engine import Store, explained
from jobctl.store.leases import CLAIM_DETAIL, Holder, event_detail
from jobctl.store.prepared import has_own_session

# One index range for each task and each priority that is queued, the highest first: jobs of tasks that the
# worker does not know, and those that are due only later, are never read past. Rows that another worker
# is just taking are skipped, not waited for.
_LEVELS = """
level AS (
    SELECT q.queue, q.rank, k.kind, highest.priority
    FROM unnest(%(queues)s::text[]) WITH ORDINALITY AS q (queue, rank)
    CROSS JOIN unnest(%(kinds)s::text[]) AS k (kind)
    CROSS JOIN LATERAL (
        SELECT j.priority FROM jobctl.job AS j
        WHERE j.status = 'queued' AND j.queue = q.queue AND j.kind = k.kind
        ORDER BY j.priority DESC LIMIT 1
    ) AS highest
    UNION ALL
    SELECT level.queue, level.rank, level.kind, lower.priority
    FROM level CROSS JOIN LATERAL (
        SELECT j.priority FROM jobctl.job AS j
        WHERE j.status = 'queued' AND j.queue = level.queue AND j.kind = level.kind
            AND j.priority < level.priority
        ORDER BY j.priority DESC LIMIT 1
    ) AS lower
)
"""
_DUE_AT = "coalesce(j.run_at, '-infinity'::timestamptz)"


def _range(kind: str, *bounds: str, locks: bool = True) -> str:
    """The due jobs of one task and priority, those first that were due first."""
    return f"""
    SELECT j.job_id, {_DUE_AT} AS due, j.created_at FROM jobctl.job AS j
    WHERE {" AND ".join(("j.status = 'queued' AND j.queue = levels.queue AND j.kind = " + kind, *bounds))}
        AND j.priority = levels.priority AND {_DUE_AT} <= now()
    ORDER BY {_DUE_AT}, j.job_id LIMIT %(want)s {"FOR UPDATE SKIP LOCKED" if locks else ""}
    """  # noqa: S608 - parts of our own


_OF_ONE = f"""
due AS MATERIALIZED (
    SELECT levels.rank, levels.priority, taken.*
    FROM (SELECT * FROM level ORDER BY rank, priority DESC) AS levels
    CROSS JOIN LATERAL ({_range("levels.kind")}) AS taken
    LIMIT %(want)s
)
"""  # noqa: S608 - parts of our own
# ``cut`` is where the first jobs of all the tasks end, in the order they were due: those up to there are
# taken first, those after it only where others were quicker. So no more rows are locked than are taken.
_OF_SEVERAL = f"""
due AS MATERIALIZED (
    SELECT levels.rank, levels.priority, taken.*
    FROM (
        SELECT queue, rank, priority, array_agg(kind) AS kinds FROM level
        GROUP BY queue, rank, priority ORDER BY rank, priority DESC
    ) AS levels
    CROSS JOIN LATERAL (
        SELECT first.due, first.job_id FROM (
            SELECT j.due, j.job_id FROM unnest(levels.kinds) AS of (kind)
            CROSS JOIN LATERAL ({_range("of.kind", locks=False)}) AS j
            ORDER BY j.due, j.job_id LIMIT %(want)s
        ) AS first
        ORDER BY first.due DESC, first.job_id DESC LIMIT 1
    ) AS cut
    CROSS JOIN LATERAL (
        SELECT j.* FROM unnest(levels.kinds) AS of (kind)
        CROSS JOIN LATERAL ({_range("of.kind", f"({_DUE_AT}, j.job_id) <= (cut.due, cut.job_id)")}) AS j
        UNION ALL
        SELECT j.* FROM unnest(levels.kinds) AS of (kind)
        CROSS JOIN LATERAL ({_range("of.kind", f"({_DUE_AT}, j.job_id) > (cut.due, cut.job_id)")}) AS j
    ) AS taken
    LIMIT %(want)s
)
"""  # noqa: S608 - parts of our own
# Jobs of known ids are found by their ids alone: ``status || ''`` is the guard that no partial index
# answers. Statistics lag behind a queue, and a planner that takes thousands of queued jobs for five
# would go through all of them.
_TAKE = """
claimed AS (
    UPDATE jobctl.job AS j SET status = 'processing', attempt = j.attempt + 1, version = j.version + 1,
        executor = %(executor)s::jsonb, progress = NULL, max_progress = NULL, error = NULL, error_code = NULL,
        started_at = now(), last_heartbeat = now(), updated_at = now()
    WHERE j.job_id = ANY (ARRAY(SELECT job_id FROM due)) AND j.status || '' = 'queued'
    RETURNING j.job_id, j.attempt, j.spared, j.max_attempts, j.kind
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
    greatest(0, extract(
        epoch FROM now() - CASE WHEN isfinite(due.due) THEN due.due ELSE coalesce(due.created_at, now()) END
    ))::double precision
FROM claimed JOIN due ON due.job_id = claimed.job_id
LEFT JOIN jobctl.job_body AS body ON body.job_id = claimed.job_id
ORDER BY due.rank, due.priority DESC, due.due, due.job_id
"""
_CLAIM_OF_ONE = f"WITH RECURSIVE {_LEVELS}, {_OF_ONE}, {_TAKE}"
_CLAIM_OF_SEVERAL = f"WITH RECURSIVE {_LEVELS}, {_OF_SEVERAL}, {_TAKE}"

# The lease is released first: that waits for whoever is just asking to cancel, and sees that he asked.
# A planner that expects few of ``meant`` would look each up by its own id and by the list of all ids at
# once, which sorts the list anew for every one of them: so nothing filters it.
_SETTLE = """
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(settlements)s::json) AS a (
        job_id text, attempt int, status text, result text, error text, error_code text, detail text,
        delay_s float8, spared int, cancel_error text, cancel_detail text
    )
),
released AS (
    DELETE FROM jobctl.lease AS l USING asked AS a WHERE l.job_id = a.job_id AND l.attempt = a.attempt
        AND l.job_id = ANY (ARRAY(SELECT job_id FROM asked))
    RETURNING l.job_id, l.attempt, l.cancel_at
),
known AS MATERIALIZED (
    SELECT a.*, r.cancel_at IS NOT NULL AND a.cancel_error IS NOT NULL AS is_cancelled
    FROM asked AS a LEFT JOIN released AS r ON r.job_id = a.job_id AND r.attempt = a.attempt
),
meant AS MATERIALIZED (
    SELECT job_id, attempt, is_cancelled,
        CASE WHEN is_cancelled THEN 'cancelled' ELSE status END AS status,
        CASE WHEN is_cancelled THEN NULL ELSE result END AS result,
        CASE WHEN is_cancelled THEN cancel_error ELSE error END AS error,
        CASE WHEN is_cancelled THEN NULL ELSE error_code END AS error_code,
        CASE WHEN is_cancelled THEN cancel_detail ELSE detail END AS detail,
        CASE WHEN is_cancelled THEN NULL ELSE delay_s END AS delay_s,
        CASE WHEN is_cancelled THEN 0 ELSE spared END AS spared
    FROM known
),
settled AS (
    UPDATE jobctl.job AS j SET status = a.status, version = j.version + 1, updated_at = now(),
        error = a.error, error_code = a.error_code,
        completed_at = CASE WHEN a.status = 'completed' THEN now() ELSE j.completed_at END,
        progress = CASE WHEN a.status = 'completed' THEN 100.0 ELSE j.progress END,
        executor = CASE WHEN a.status = 'queued' THEN NULL ELSE j.executor END,
        run_at = CASE WHEN a.status = 'queued' THEN now() + a.delay_s * interval '1 second' ELSE j.run_at END,
        spared = j.spared + a.spared
    FROM meant AS a
    WHERE j.job_id = a.job_id AND j.attempt = a.attempt AND j.status || '' = 'processing'
        AND j.job_id = ANY (ARRAY(SELECT job_id FROM asked))
    RETURNING j.job_id, j.attempt, a.status, a.result, a.detail, a.is_cancelled
),
told AS (
    INSERT INTO jobctl.event (job_id, at, kind, actor, attempt, from_status, to_status, detail)
    SELECT job_id, now(), 'status', %(actor)s, attempt, 'processing', status, detail::jsonb FROM settled
),
kept AS (
    INSERT INTO jobctl.job_body (job_id, result)
    SELECT job_id, result::jsonb FROM settled WHERE result IS NOT NULL
    ON CONFLICT (job_id) DO UPDATE SET result = excluded.result
)
SELECT job_id, attempt, is_cancelled FROM settled
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
    AND j.status || '' = 'processing'
"""
_BEAT = """
UPDATE jobctl.worker SET beat = beat + 1, seen_at = now(), state = %(state)s, counters = %(counters)s::jsonb
WHERE worker_id = %(worker)s AND ended_at IS NULL
"""
_HELD = "SELECT job_id, attempt, worker, cancel_at IS NOT NULL FROM jobctl.lease WHERE worker = %(worker)s"
_PEERS = "SELECT worker_id, executor, lease_s, beat FROM jobctl.worker WHERE ended_at IS NULL"


# What is planned once must be right for any size of a table: each statement here is led by an index.
_PLANS_ONCE = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off"


class PostgreSQLLeases:
    """See ``Leases``."""

    def __init__(self, store: Store, holder: Holder) -> None:
        self._store = store
        self._holder = holder
        self._woken = True
        with explained(store.dialect, psycopg.Error):
            self._connection = store.engine.connect()
            self._driver: psycopg.Connection[Any] = self._connection.connection.driver_connection  # type: ignore[assignment]
            self._is_own = has_own_session(self._driver)
            if self._is_own:
                self._driver.execute(_PLANS_ONCE)
            self._driver.execute(f"LISTEN {CHANNEL}")
            self._driver.add_notify_handler(lambda notice: self._hear(notice.payload))

    def take_turn(
        self,
        settlements: Sequence[Settlement],
        want: int,
        kinds: Collection[str] = (),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Turn:
        ended: list[tuple[str, int, bool]] = []
        claims: list[Claim] = []
        with explained(self._store.dialect, psycopg.Error):
            if settlements and want:
                with self._driver.pipeline():
                    settling = self._run(_SETTLE, self._settling(settlements))
                    claiming = self._run(_claim(kinds), self._claiming(want, kinds))
                    # They are answered only when asked to be, or with the commit, which ends the block.
                    self._driver.pgconn.send_flush_request()
                    self._driver.pgconn.flush()
                    meanwhile()
                ended, claims = settling.fetchall(), _claims(claiming)
            elif settlements:
                ended = self._run(_SETTLE, self._settling(settlements)).fetchall()
            elif want:
                claims = _claims(self._run(_claim(kinds), self._claiming(want, kinds)))
        settled = frozenset(AttemptId(job_id, attempt) for job_id, attempt, _ in ended)
        cancelled = frozenset(AttemptId(job_id, attempt) for job_id, attempt, instead in ended if instead)
        return Turn(settled, claims, cancelled)

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

    def expect_store(self) -> None:
        with explained(self._store.dialect):
            self._store.expect_same(self._connection)

    def held(self) -> list[Lease]:
        return [Lease._make(row) for row in self._execute(_HELD, {}).fetchall()]

    def peers(self) -> list[Peer]:
        rows = self._execute(_PEERS, {}).fetchall()
        return [Peer(name, Executor(**executor), lease_s, beat) for name, executor, lease_s, beat in rows]

    def wake_fd(self) -> int | None:
        return None if self._driver.closed else self._driver.fileno()

    @property
    def look_every_s(self) -> None:
        return None

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
            return self._run(sql, {"worker": self._holder.worker_id, **values})

    def _run(self, sql: str, values: Mapping[str, Any]) -> psycopg.Cursor[Any]:
        return self._driver.execute(sql, values, prepare=self._is_own)

    def _settling(self, settlements: Sequence[Settlement]) -> Mapping[str, Any]:
        # As one text: the driver writes a list of texts element by element, by rules of its own.
        return {"actor": self._holder.actor, "settlements": json.dumps(list(map(_settled, settlements)))}

    def _claiming(self, want: int, kinds: Collection[str]) -> Mapping[str, Any]:
        holder = self._holder
        return {
            "queues": list(holder.queues),
            "kinds": list(kinds),
            "want": want,
            "executor": json.dumps(holder.executor._asdict()),
            "worker": holder.worker_id,
            "actor": holder.actor,
            "detail": CLAIM_DETAIL,
        }


def _claim(kinds: Collection[str]) -> str:
    """The statement that claims: that for a single task is planned in half the time."""
    return _CLAIM_OF_SEVERAL if len(kinds) > 1 else _CLAIM_OF_ONE


def _settled(each: Settlement) -> Mapping[str, Any]:
    """What is to be written of it, also if its job was asked to be cancelled; what is unset is left out."""
    written: dict[str, Any] = {
        "job_id": each.job_id,
        "attempt": each.attempt,
        "status": each.to.value,
        "detail": event_detail(each),
        "spared": int(each.is_spared),
    }
    for name in ("result", "error", "error_code", "delay_s"):
        value = getattr(each, name)
        if value is not None:
            written[name] = value
    instead = if_cancelled(each)
    if instead is not None:
        written["cancel_error"] = instead.error
        written["cancel_detail"] = event_detail(instead)
    return written


def _attempts(cursor: psycopg.Cursor[Any]) -> frozenset[AttemptId]:
    return frozenset(map(AttemptId._make, cursor.fetchall()))


def _claims(cursor: psycopg.Cursor[Any]) -> list[Claim]:
    return [Claim._make(row) for row in cursor.fetchall()]
