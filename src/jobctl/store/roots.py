"""Registered roots and their generations."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, insert, select, update

from jobctl.model.names import from_stored, to_stored
from jobctl.store.engine import Connection
from jobctl.store.schema import loose, root


class RootRow(NamedTuple):
    """A registered root. ``host`` is ``None`` where all hosts share it."""

    root_id: str
    path: str
    layout: str
    host: str | None
    generation: int
    negatives_suspended_at: datetime | None
    registered_at: datetime


def get_roots(connection: Connection) -> list[RootRow]:
    """All registered roots, in the order they were registered."""
    rows = connection.execute(
        select(*(root.c[name] for name in RootRow._fields)).order_by(root.c.registered_at)
    )
    return [RootRow._make(row)._replace(path=from_stored(row.path)) for row in rows]


def add_root(
    connection: Connection, *, root_id: str, path: str, layout: str, host: str | None, at: datetime
) -> None:
    """Register a root, at generation 0."""
    values = {
        "root_id": root_id,
        "path": to_stored(path),
        "layout": layout,
        "host": host,
        "registered_at": at,
    }
    connection.execute(insert(root), {**values, "generation": 0})


def move_root(connection: Connection, root_id: str, *, path: str) -> None:
    """Record that a root is found at another path now."""
    connection.execute(update(root).where(root.c.root_id == root_id).values(path=to_stored(path)))


def advance_generation(connection: Connection, root_id: str) -> int:
    """Count one more changing run; its number is returned."""
    changed = update(root).where(root.c.root_id == root_id).values(generation=root.c.generation + 1)
    return int(connection.execute(changed.returning(root.c.generation)).scalar_one())


def set_generation(connection: Connection, root_id: str, generation: int) -> None:
    """Accept the generation that a root's marker bears."""
    connection.execute(update(root).where(root.c.root_id == root_id).values(generation=generation))


def suspend_negatives(connection: Connection, root_id: str, *, at: datetime) -> None:
    """Call nothing of this root missing, or free, until a complete recover was applied.

    Whatever was found to be free until now may have got a reference since: its age begins anew.
    """
    connection.execute(update(root).where(root.c.root_id == root_id).values(negatives_suspended_at=at))
    connection.execute(delete(loose).where(loose.c.root_id == root_id))


def resume_negatives(connection: Connection, root_id: str, *, suspended_by: datetime) -> None:
    """Trust the absence of files again, unless that was suspended later than ``suspended_by``."""
    earlier = root.c.negatives_suspended_at <= suspended_by
    connection.execute(
        update(root).where(root.c.root_id == root_id, earlier).values(negatives_suspended_at=None)
    )
