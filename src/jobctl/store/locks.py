"""Locks: one row each, with a fence that rises with every holder.

No session or advisory locks: those break behind a proxy that pools transactions. A
holder proves its fence inside every transaction, so that one that was stopped and wakes
after another took over changes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, select, update

from jobctl.core.ages import shown_moment
from jobctl.errors import Locked, LockLost
from jobctl.model.job import Executor
from jobctl.store.engine import Connection, Store
from jobctl.store.schema import lock
from jobctl.store.statements import upsert


class Fence(NamedTuple):
    """The right to hold a lock, until a higher fence is given out."""

    name: str
    number: int
    holder: str


class HeldLock(NamedTuple):
    """A lock that somebody holds, dead or alive."""

    name: str
    command: str
    executor: Executor
    heartbeat: datetime


FREE = dict.fromkeys(("holder", "command", *Executor._fields, "acquired_at", "heartbeat"))
"""What the row of a lock says that nobody holds."""


def acquire(
    store: Store,
    name: str,
    *,
    holder: Executor,
    holder_id: str,
    command: str,
    stale_after_s: float,
    holder_is_dead: Callable[[Executor], bool],
) -> Fence:
    """Take a lock that is free, or whose holder is dead or gave no sign of life for ``stale_after_s``.

    Raises ``Locked``, naming the holder.
    """
    with store.write() as connection:
        now = store.now(connection)
        _make_row(connection, name)
        held = connection.execute(select(lock).where(lock.c.name == name).with_for_update()).one()
        if held.holder is not None and not holder_is_dead(_executor(held)):
            silent_s = (now - held.heartbeat).total_seconds()
            # A beat from the future comes from a clock that was set back: no sign of death.
            if silent_s < stale_after_s:
                raise _locked(held, stale_after_s - max(silent_s, 0.0))
        fence = Fence(name, held.fence + 1, holder_id)
        connection.execute(update(lock).where(lock.c.name == name).values(_row(fence, holder, command, now)))
    return fence


def renew(connection: Connection, fence: Fence, *, at: datetime) -> None:
    """Prove in a transaction that the lock is still held, and show a sign of life. Raises ``LockLost``."""
    renewed = connection.execute(update(lock).where(_is(fence)).values(heartbeat=at))
    if renewed.rowcount != 1:
        raise LockLost(
            "another run took this run's lock over while it gave no sign of life; nothing more was changed",
            hint="run the same command again",
        )


def release(connection: Connection, fence: Fence) -> None:
    """Give a lock back; without effect where another has taken it over."""
    connection.execute(update(lock).where(_is(fence)).values(FREE))


def held_locks(connection: Connection) -> list[HeldLock]:
    """The locks that somebody holds, by name."""
    rows = connection.execute(select(lock).where(lock.c.holder.is_not(None)).order_by(lock.c.name))
    return [HeldLock(row.name, row.command, _executor(row), row.heartbeat) for row in rows]


def _is(fence: Fence) -> Any:
    return (lock.c.name == fence.name) & (lock.c.fence == fence.number) & (lock.c.holder == fence.holder)


def _make_row(connection: Connection, name: str) -> None:
    connection.execute(upsert(connection, lock).values(name=name, fence=0).on_conflict_do_nothing())


def _row(fence: Fence, holder: Executor, command: str, now: datetime) -> dict[str, Any]:
    return {
        "fence": fence.number,
        "holder": fence.holder,
        "command": command,
        **holder._asdict(),
        "acquired_at": now,
        "heartbeat": now,
    }


def _executor(held: Row[Any]) -> Executor:
    return Executor(*(held._mapping[name] for name in Executor._fields))


def _locked(held: Row[Any], remaining_s: float) -> Locked:
    return Locked(
        f"'jobctl {held.command}' (pid {held.pid} on host {held.host}) has held the lock {held.name} "
        f"since {shown_moment(held.acquired_at)}; nothing was changed",
        hint=f"wait for it with --wait; if it gives no sign of life it is taken over in {remaining_s:.0f} s",
    )
