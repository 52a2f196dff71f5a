"""The hot paths of a worker: claim, settle, beat, report, on one connection that it holds.

Fixed SQL, side by side for the two databases. Everything else of a worker is in ``store.workers``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from jobctl.model.attempts import AttemptId, Lease, Peer, ProgressReport, Settlement, Turn
from jobctl.model.job import Executor
from jobctl.model.status import Cause
from jobctl.store.engine import Store

CLAIM_DETAIL = json.dumps({"cause": Cause.CLAIM.value})


class Holder(NamedTuple):
    """The worker on whose behalf leases are taken, and the queues it serves, the most urgent first."""

    worker_id: str
    executor: Executor
    queues: tuple[str, ...]

    @property
    def actor(self) -> str:
        """How it is named in histories."""
        return f"worker {self.worker_id}"


class Leases(Protocol):
    """A worker's connection. Every method raises ``StoreUnreachable`` where the database does not answer.

    Nothing is known then of what was being written; all of it may be written again.
    """

    def take_turn(
        self,
        settlements: Sequence[Settlement],
        want: int,
        kinds: Collection[str] = (),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Turn:
        """End attempts and take at most ``want`` due jobs of these kinds, in one transaction.

        A settlement whose attempt is no longer the job's current one changes nothing. ``meanwhile`` uses
        the time in which a server is at work; it is to return when ``wake_fd`` can be read.
        """

    def beat(self, counters: Mapping[str, float], state: str) -> bool:
        """Renew all leases at once; ``False`` where the worker was given up and its jobs were taken."""

    def report(self, reports: Sequence[ProgressReport]) -> frozenset[AttemptId]:
        """Keep progress, with a sign of life; the attempts that are no longer current."""

    def show_life(self) -> None:
        """Renew the heartbeat in the record of every job this worker runs."""

    def expect_store(self) -> None:
        """Make sure that this is still the store that was opened. Raises as ``Store.expect_same`` does."""

    def held(self) -> list[Lease]:
        """The leases of this worker."""

    def peers(self) -> list[Peer]:
        """Every worker that is not known to have ended, this one included."""

    def wake_fd(self) -> int | None:
        """What becomes readable when there may be work; ``None`` where one has to look."""

    @property
    def look_every_s(self) -> float | None:
        """How often ``was_woken`` has to be asked: nothing calls, or it calls too early; else ``None``."""

    def was_woken(self) -> bool:
        """Whether somebody changed something since the last call."""

    def close(self) -> None:
        """Let go of the connection."""


def open_leases(store: Store, holder: Holder) -> Leases:
    """Open a worker's connection. Raises ``StoreUnreachable``."""
    if store.dialect.name == "sqlite":
        from jobctl.store.leases_sqlite import SQLiteLeases  # noqa: PLC0415 - one of the two is needed

        return SQLiteLeases(store, holder)
    from jobctl.store.leases_postgresql import PostgreSQLLeases  # noqa: PLC0415

    return PostgreSQLLeases(store, holder)


def event_detail(settlement: Settlement) -> str:
    """What the history keeps of how an attempt ended."""
    known: dict[str, Any] = {}
    if settlement.error_code is not None:
        known["error_code"] = settlement.error_code
    if settlement.delay_s is not None:
        known["retry_after_s"] = round(settlement.delay_s, 3)
    known.update(settlement.detail or {})
    if not known:
        return _plain_detail(settlement.cause, settlement.error)
    return json.dumps({**_cause(settlement.cause, settlement.error), **known})


@lru_cache(maxsize=64)
def _plain_detail(cause: Cause, error: str | None) -> str:
    """What is kept of nearly every end: most are like the one before."""
    return json.dumps(_cause(cause, error))


def _cause(cause: Cause, error: str | None) -> dict[str, str]:
    return {"cause": cause.value, **({} if error is None else {"error": error})}
