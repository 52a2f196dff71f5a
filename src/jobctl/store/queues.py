"""Queues, counted job by job: exact, and so the longer the more is queued. ``store.standing`` is quick."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import case, func, select, true

from jobctl.model.attempts import QueueState
from jobctl.model.status import Status
from jobctl.store.engine import Connection
from jobctl.store.schema import job
from jobctl.store.statuses import is_status


def queue_states(connection: Connection, now: datetime) -> list[QueueState]:
    """The queued jobs of each queue that has any, at ``now`` by the store's clock."""
    since = func.coalesce(job.c.run_at, job.c.created_at)
    is_due = func.coalesce(job.c.run_at <= now, true())
    rows = connection.execute(
        select(
            job.c.queue,
            func.count(),
            func.sum(case((is_due, 1), else_=0)),
            func.min(case((is_due, since)), type_=job.c.created_at.type),
        )
        .where(is_status(Status.QUEUED))
        .group_by(job.c.queue)
        .order_by(job.c.queue)
    )
    return [
        QueueState(queue, count, due, max(0.0, (now - first).total_seconds()) if first else 0.0)
        for queue, count, due, first in rows
    ]
