"""What a store holds, for a backup and for what putting one back would cost; and the time after that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import and_, delete, func, or_, select, update

from jobctl.model.backup import Contents, Lost
from jobctl.store.engine import HEAD, Connection
from jobctl.store.locks import FREE
from jobctl.store.schema import event, job, lock, loose, root, store, tally_position


def contents_of(connection: Connection) -> Contents:
    """What is in an opened store of this program's schema."""
    counted = connection.execute(select(job.c.status, func.count()).group_by(job.c.status))
    newest = func.max(event.c.at, type_=event.c.at.type)
    events, last, at = connection.execute(select(func.count(), func.max(event.c.event_id), newest)).one()
    return Contents(
        store_id=connection.execute(select(store.c.store_id)).scalar_one(),
        schema=HEAD,
        jobs={status: count for status, count in counted},  # noqa: C416 - rows are no pairs to mypy
        events=events,
        last_event=last or 0,
        newest_at=at,
    )


def lost_to(connection: Connection, backup: Contents) -> Lost:
    """What a store knows that a backup of it does not.

    By number and by time: after an earlier restore, numbers are given out a second time.
    """
    newer = event.c.event_id > backup.last_event
    if backup.newest_at is not None:
        newer = or_(newer, event.c.at > backup.newest_at)
    known = select(event.c.event_id).where(and_(event.c.job_id == job.c.job_id, ~newer)).exists()
    jobs = connection.execute(select(func.count()).select_from(job).where(~known)).scalar_one()
    younger = select(event.c.event_id).where(and_(event.c.job_id == job.c.job_id, newer)).exists()
    changed = connection.execute(select(func.count()).select_from(job).where(known, younger)).scalar_one()
    events = connection.execute(select(func.count()).select_from(event).where(newer)).scalar_one()
    return Lost(jobs, changed, events)


def generations_of(connection: Connection) -> dict[str, int]:
    """The generation of each root."""
    return {
        row.root_id: row.generation for row in connection.execute(select(root.c.root_id, root.c.generation))
    }


def begin_anew(connection: Connection, generations: Mapping[str, int], *, at: datetime) -> None:
    """Make the records of an earlier time safe to go on with.

    Nothing of any root is called missing until a complete recover was applied; ``generations`` are
    above every marker, so that the store is no older than its roots. Locks were held by runs that
    are over, and what was seen without a reference then may have one by now.
    """
    connection.execute(update(root).values(negatives_suspended_at=at))
    for root_id, generation in generations.items():
        connection.execute(update(root).where(root.c.root_id == root_id).values(generation=generation))
    connection.execute(update(lock).values(FREE))
    connection.execute(delete(loose))
    # It counts transactions of the server that it was written on.
    connection.execute(update(tally_position).values(mark=None, horizon=None))
