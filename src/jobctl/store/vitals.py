"""Facts about the health of a store that both databases tell alike."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select

from jobctl.model.job import Executor
from jobctl.model.status import Status
from jobctl.store.engine import Connection
from jobctl.store.schema import clock_watch, job, last_run, lease, run, worker


def unheld_jobs(connection: Connection) -> Counter[Executor | None]:
    """How many running jobs no lease belongs to, by their executor: a service runs them by itself."""
    is_held = select(lease.c.job_id).where(_is_held()).exists()
    running = select(job.c.executor).where(job.c.status == Status.PROCESSING.value, ~is_held)
    executors = connection.execute(running).scalars()
    return Counter(Executor(**executor) if executor else None for executor in executors)


def _is_held() -> ColumnElement[bool]:
    return and_(
        job.c.job_id == lease.c.job_id,
        job.c.attempt == lease.c.attempt,
        job.c.status == Status.PROCESSING.value,
    )


def worker_last_seen(connection: Connection) -> datetime | None:
    """When a worker of jobctl last gave a sign of life; ``None`` where none is known to have run."""
    newest = select(func.max(worker.c.seen_at, type_=worker.c.seen_at.type))
    found: datetime | None = connection.execute(newest).scalar_one()
    return found


def hosts_seen(connection: Connection) -> dict[str, datetime]:
    """Every host that is known to have used the store, and when it last did."""
    seen: dict[str, datetime] = {}

    def note(host: Any, at: datetime | None) -> None:
        if isinstance(host, str) and host and at is not None:
            seen[host] = max(at, seen.get(host, at))

    for at in (run.c.started_at, last_run.c.finished_at, clock_watch.c.at):
        host = at.table.c.host
        for named, moment in connection.execute(select(host, func.max(at, type_=at.type)).group_by(host)):
            note(named, moment)
    for executor, moment in connection.execute(select(worker.c.executor, worker.c.seen_at)):
        note((executor or {}).get("host"), moment)
    return seen


def successes(connection: Connection) -> dict[str, datetime | None]:
    """When each command that is remembered last ended well on any host; ``None``: it never did."""
    at = last_run.c.succeeded_at
    newest = select(last_run.c.command, func.max(at, type_=at.type)).group_by(last_run.c.command)
    return {row[0]: row[1] for row in connection.execute(newest)}
