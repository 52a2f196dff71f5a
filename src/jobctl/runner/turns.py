"""One visit of a worker to the store: write what ended, and take what is due, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from jobctl.errors import StoreUnreachable
from jobctl.model.attempts import AttemptId, Settlement, Turn
from jobctl.model.status import Cause, Status
from jobctl.store.leases import Leases


def take_turn(
    leases: Leases,
    settlements: Sequence[Settlement],
    want: int,
    kinds: Collection[str],
    meanwhile: Callable[[], None] = lambda: None,
) -> Turn:
    """End attempts and take at most ``want`` due jobs of these kinds. Raises ``StoreUnreachable``.

    A settlement that no database takes becomes a failed attempt; it keeps none of the others
    from being written.
    """
    try:
        return leases.take_turn(settlements, want, kinds, meanwhile)
    except StoreUnreachable:
        raise
    except Exception:
        if not settlements:
            raise
        alone = [_settle_alone(leases, each) for each in settlements]
        none = frozenset[AttemptId]()
        settled = none.union(*(turn.settled for turn in alone))
        return Turn(settled, [], none.union(*(turn.cancelled for turn in alone)))


def _settle_alone(leases: Leases, settlement: Settlement) -> Turn:
    try:
        return leases.take_turn([settlement], 0)
    except StoreUnreachable:
        raise
    # Whatever it is that the database will not have.
    except Exception as error:  # noqa: BLE001
        said = f"how it ended could not be stored: {error}"
        plain = Settlement(*settlement.id, Status.FAILED, Cause.EXECUTOR, error=said, error_code="bad-result")
        return leases.take_turn([plain], 0)
