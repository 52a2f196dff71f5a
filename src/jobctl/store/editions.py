"""The tally made anew, beside the one that is read: begun, gone on with, taken over, cleaned up after.

Every step is one transaction of bounded size and can be taken again, by anybody, after a kill.
"""

from __future__ import annotations

from sqlalchemy import Table, and_, delete, func, insert, select, tuple_
from sqlalchemy.exc import IntegrityError

from jobctl.store.engine import Connection, Store
from jobctl.store.schema import tally_flow, tally_owners, tally_position, tally_share, tally_span
from jobctl.store.tallies import edition_of, position_of

_TABLES = (tally_flow, tally_span, tally_share, tally_owners)


def begin(store: Store) -> int | None:
    """The edition in the making, begun where there is none; ``None`` where nothing was added up yet."""
    try:
        with store.write() as connection:
            last = connection.execute(select(func.max(tally_position.c.edition))).scalar_one()
            if last is None or last > edition_of(connection):
                return int(last) if last is not None else None
            connection.execute(insert(tally_position), {"edition": last + 1, "position": 0})
            return int(last) + 1
    except IntegrityError:  # somebody else has just begun it
        return begin(store)


def take_over(store: Store, edition: int) -> bool:
    """Let ``edition`` be read from now on, if it goes as far as the one that is; whether it is read."""
    with store.write() as connection:
        served = edition_of(connection)
        if served == edition:
            return True
        position = position_of(connection, edition).position
        # Who folds into it meanwhile has moved it on, and this takes nothing away.
        old = and_(tally_position.c.edition == served, tally_position.c.position <= position)
        return bool(connection.execute(delete(tally_position).where(old)).rowcount)


def clean_up(store: Store, *, at_most: int) -> int:
    """Remove rows of editions that are read no more, ``at_most`` of a table; how many they were."""
    with store.write() as connection:
        served = edition_of(connection)
        return sum(_remove(connection, table, served, at_most) for table in _TABLES)


def _remove(connection: Connection, table: Table, served: int, at_most: int) -> int:
    key = list(table.primary_key)
    older = table.c.edition < served
    last = connection.execute(
        select(*key).where(older).order_by(*key).offset(at_most - 1).limit(1)
    ).one_or_none()
    rows = older if last is None else and_(older, tuple_(*key) <= tuple_(*last))
    return connection.execute(delete(table).where(rows)).rowcount
