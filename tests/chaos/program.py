"""jobctl with a wall clock that jumps, and where asked with one of its safeguards taken out."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jobctl import clock
from jobctl.store import leases_postgresql as postgresql
from jobctl.store import leases_sqlite as sqlite
from jobctl.store.leases import CLAIM_DETAIL

_now = clock.now
_CLAIM_BLINDLY = """
SELECT j.job_id, j.attempt + 1, j.spared, j.max_attempts, j.kind, CAST(b.payload AS TEXT), j.run_at
FROM job AS j LEFT JOIN job_body AS b ON b.job_id = j.job_id
WHERE j.status = 'queued' AND coalesce(j.run_at, '') <= ? ORDER BY j.job_id LIMIT ?
"""


def jump() -> None:
    """Have the clock show what a file says it is off by, in seconds."""
    place = Path(os.environ["CHAOS_CLOCK"])

    def shifted() -> datetime:
        off = 0.0
        with suppress(OSError, ValueError):
            off = float(place.read_text())
        return _now() + timedelta(seconds=off)

    clock.now = shifted


def without_fence() -> None:
    """An attempt ends its job whichever attempt holds it now."""
    sqlite._ENDING = _instead(sqlite._ENDING, " AND j.attempt = asked.value ->> 1", "")
    sqlite._ENDING = _instead(
        sqlite._ENDING, "j.job_id, j.attempt, l", "asked.value ->> 0, asked.value ->> 1, l"
    )
    sqlite._SETTLE = _instead(sqlite._SETTLE, "attempt = ?8", "?8 = ?8")
    postgresql._SETTLE = _instead(postgresql._SETTLE, " AND j.attempt = a.attempt", "")
    postgresql._SETTLE = _instead(postgresql._SETTLE, "j.job_id, j.attempt,", "j.job_id, a.attempt,")


def without_lock() -> None:
    """A worker takes what was due when it looked, whoever has taken it since."""
    guarded = "WHERE j.job_id = ANY (ARRAY(SELECT job_id FROM due)) AND j.status || '' = 'queued'"
    blindly = guarded.removesuffix(" AND j.status || '' = 'queued'")
    for name in ("_CLAIM_OF_ONE", "_CLAIM_OF_SEVERAL"):
        claim = _instead(getattr(postgresql, name), "FOR UPDATE SKIP LOCKED", "")
        setattr(postgresql, name, _instead(claim, guarded, blindly))
    sqlite.SQLiteLeases.take_turn = _take_turn_blindly  # type: ignore[method-assign]


def _take_turn_blindly(self: Any, settlements: Any, want: int, kinds: Any = (), meanwhile: Any = None) -> Any:
    seen = self._driver.execute(_CLAIM_BLINDLY, (sqlite.format_timestamp(clock.now()), want)).fetchall()
    with self._write() as (execute, now):
        settled, cancelled = self._settle(execute, settlements, now)
        at, actor = sqlite.format_timestamp(now), self._holder.actor
        claim = sqlite._CLAIM.replace(" AND status = 'queued'", "")
        execute.executemany(claim, [(self._executor, at, at, at, row[0]) for row in seen])
        execute.executemany(sqlite._LEASE, [(row[0], row[1], self._holder.worker_id) for row in seen])
        events = [(row[0], at, actor, row[1], "queued", "processing", CLAIM_DETAIL) for row in seen]
        execute.executemany(sqlite._EVENT, events)
    return sqlite.Turn(settled, [sqlite.Claim(*row[:-1], 0.0) for row in seen], cancelled)


def _instead(sql: str, what: str, by: str) -> str:
    if what not in sql:
        raise AssertionError(f"{what!r} is not in the statement any more: this variant tests nothing")
    return sql.replace(what, by)


if __name__ == "__main__":
    jump()
    variant = os.environ.get("CHAOS_WITHOUT")
    if variant:
        {"fence": without_fence, "lock": without_lock}[variant]()
    from jobctl.cli import main

    main()
