"""One visit of a worker to the store: write what ended, and take what is due, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from jobctl.errors import StoreUnreachable
from jobctl.model.attempts import AttemptId, Settlement, Turn
from jobctl.model.status import Cause, Status
from jobctl.model.storable import storable_text
from jobctl.store.leases import Leases


def take_turn(
    leases: Leases,
    settlements: Sequence[Settlement],
    want: int,
    kinds: Collection[str],
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[Sequence[Settlement], Turn]:
    """End attempts and take at most ``want`` due jobs of these kinds. Raises ``StoreUnreachable``.

    Gives back what was written of each attempt, in the same order: a settlement that no database takes
    becomes a failed attempt, and keeps none of the others from being written.
    """
    try:
        return settlements, leases.take_turn(settlements, want, kinds, meanwhile)
    except StoreUnreachable:
        raise
    except Exception:
        if not settlements:
            raise
        alone = [_settle_alone(leases, each) for each in settlements]
        none = frozenset[AttemptId]()
        settled = none.union(*(turn.settled for _, turn in alone))
        cancelled = none.union(*(turn.cancelled for _, turn in alone))
        return [written for written, _ in alone], Turn(settled, [], cancelled)


def _settle_alone(leases: Leases, settlement: Settlement) -> tuple[Settlement, Turn]:
    try:
        return settlement, leases.take_turn([settlement], 0)
    except StoreUnreachable:
        raise
    # Whatever it is that the database will not have.
    except Exception as error:  # noqa: BLE001
        said = storable_text(f"how it ended could not be stored: {error}")
        plain = Settlement(*settlement.id, Status.FAILED, Cause.EXECUTOR, error=said, error_code="bad-result")
        return plain, leases.take_turn([plain], 0)
