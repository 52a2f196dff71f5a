"""The last tick of each schedule."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobctl.store.engine import Connection
from jobctl.store.schema import tick


def last_ticks(connection: Connection) -> dict[str, datetime]:
    """When each schedule was last enqueued, or first seen."""
    return {row.name: row.at for row in connection.execute(select(tick))}


def set_back(connection: Connection, name: str, known: datetime, to: datetime) -> None:
    """Move a schedule back to a tick, unless somebody else has moved it from the known one."""
    connection.execute(update(tick).where(and_(tick.c.name == name, tick.c.at == known)).values(at=to))


def advance(connection: Connection, name: str, to: datetime) -> bool:
    """Move a schedule on to a tick; ``False`` where somebody else has, or it is seen for the first time."""
    earlier = and_(tick.c.name == name, tick.c.at < to)
    if connection.execute(update(tick).where(earlier).values(at=to)).rowcount:
        return True
    try:
        with connection.begin_nested():
            connection.execute(insert(tick), {"name": name, "at": to})
    except IntegrityError:
        return False
    return False
