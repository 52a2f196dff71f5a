"""Queues: read job by job where few are queued, and no further than ``store.standing`` where many are."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import case, func, select, true

from jobctl.core.tally import Tally, label_of
from jobctl.model.attempts import QueueState
from jobctl.model.standing import QueueDepth
from jobctl.model.status import Status
from jobctl.store.engine import Connection
from jobctl.store.schema import job
from jobctl.store.standing import MOST_COUNTED, jobs_for_later, queue_depths
from jobctl.store.statuses import is_status


def queue_states(connection: Connection, now: datetime, tally: Tally) -> list[QueueState]:
    """The queued jobs of each queue that has any, at ``now`` by the store's clock.

    However many are queued, 20,000 of each queue are read at most: what there is beyond is what the whole
    history, in ``tally``, says of that queue.
    """
    by_history = tally.queued()
    # Where the history is wrong, what is read is bounded all the same.
    few = _read(connection, now) if by_history.total() <= MOST_COUNTED else None
    return few or [
        _state_of_many(connection, depth, now, by_history[label_of(depth.queue)])
        for depth in queue_depths(connection, now)
    ]


def _read(connection: Connection, now: datetime) -> list[QueueState] | None:
    """Every queued job read; ``None`` where there are too many."""
    some = (
        select(job.c.queue, job.c.run_at, job.c.created_at)
        .where(is_status(Status.QUEUED))
        .limit(MOST_COUNTED + 1)
        .subquery()
    )
    since = func.coalesce(some.c.run_at, some.c.created_at)
    is_due = func.coalesce(some.c.run_at <= now, true())
    rows = connection.execute(
        select(
            some.c.queue,
            func.count(),
            func.sum(case((is_due, 1), else_=0)),
            func.min(case((is_due, since)), type_=job.c.created_at.type),
        )
        .group_by(some.c.queue)
        .order_by(some.c.queue)
    ).all()
    if sum(count for _, count, _, _ in rows) > MOST_COUNTED:
        return None
    return [QueueState(queue, count, due, _age_s(now, first)) for queue, count, due, first in rows]


def _state_of_many(connection: Connection, depth: QueueDepth, now: datetime, by_history: int) -> QueueState:
    queued, due = depth.queued, depth.due
    if depth.is_at_least:
        queued = max(queued, by_history)
        later = jobs_for_later(connection, depth.queue, now)
        due = max(due, queued - later) if later < MOST_COUNTED else due
    return QueueState(depth.queue, queued, due, _age_s(now, depth.due_since))


def _age_s(now: datetime, since: datetime | None) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0
