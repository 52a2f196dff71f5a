"""Which jobs retention looks at: ended and open ones by the time of their last change, and how many live."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select, tuple_

from jobctl.model.records import Ended
from jobctl.model.status import Status
from jobctl.store.engine import Connection
from jobctl.store.schema import job
from jobctl.store.statuses import held_by_index

_PAGE = 500


def ended_before(connection: Connection, status: str, before: datetime | None) -> Iterator[list[Ended]]:
    """The jobs of an ended status last changed before a moment, oldest first, some at a time."""
    columns = [job.c[name] for name in Ended._fields]
    wanted = held_by_index(Status(status))
    if before is not None:
        wanted.append(job.c.updated_at < before)
    order = (job.c.updated_at, job.c.job_id)
    last: Ended | None = None
    while True:
        further = [] if last is None else [tuple_(*order) > (last.updated_at, last.job_id)]
        rows = connection.execute(select(*columns).where(*wanted, *further).order_by(*order).limit(_PAGE))
        page = [Ended._make(row) for row in rows]
        if not page:
            return
        yield page
        last = page[-1]


def unfinished_ids(connection: Connection, status: Status, *, before: datetime | None = None) -> list[str]:
    """The ids of the jobs that are queued or processing, perhaps only those last changed before a moment."""
    wanted = held_by_index(status)
    if before is not None:
        wanted.append(job.c.updated_at < before)
    return list(connection.execute(select(job.c.job_id).where(*wanted)).scalars())


def count_live_by_root(connection: Connection) -> dict[str, int]:
    """How many jobs that have not expired name each root; those that name none under an empty id."""
    counted = select(job.c.root_id, func.count()).where(job.c.status != Status.EXPIRED.value)
    return {root_id or "": count for root_id, count in connection.execute(counted.group_by(job.c.root_id))}
