"""How tasks are declared: what workers tell of those they know, for jobs that only name one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from jobctl.model.storable import storable_json, storable_text
from jobctl.store.engine import Connection
from jobctl.store.schema import task, worker
from jobctl.store.statements import upsert


def tell_tasks(
    connection: Connection,
    worker_id: str,
    specs: Mapping[str, dict[str, Any]],
    *,
    troubles: Sequence[str],
    since: datetime,
) -> None:
    """Record which tasks a worker knows, how they are declared, and what it could not import.

    ``since``: when it began, or read its handlers anew. For jobs that only name a task, the worker
    that did so last is right: one of an older version that is still there changes nothing of that.
    """
    told = {"tasks": sorted(specs), "specs": storable_json(specs), "troubles": storable_json(list(troubles))}
    connection.execute(update(worker).where(worker.c.worker_id == worker_id).values(told))
    if not specs:
        return
    words = upsert(connection, task)
    renewed = {name: words.excluded[name] for name in ("spec", "worker", "at")}
    words = words.on_conflict_do_update(
        index_elements=["name"], set_=renewed, where=task.c.at <= words.excluded.at
    )
    # In one order, so that workers that begin together do not wait for each other.
    rows = [
        {"name": storable_text(name), "spec": storable_json(spec), "worker": worker_id, "at": since}
        for name, spec in sorted(specs.items())
    ]
    connection.execute(words, rows)


def task_names(connection: Connection) -> frozenset[str]:
    """The tasks that a worker is known to have known."""
    return frozenset(connection.execute(select(task.c.name)).scalars())


def declared(connection: Connection, name: str) -> dict[str, Any]:
    """How a task is declared by the worker that began last; nothing, where none is known to have known it."""
    found = select(task.c.spec).where(task.c.name == storable_text(name))
    return dict(connection.execute(found).scalar_one_or_none() or {})
