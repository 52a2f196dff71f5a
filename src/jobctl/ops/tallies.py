"""The tally of a store's history: brought up to date before it is read, so that reading is quick."""

from __future__ import annotations

from jobctl import clock
from jobctl.ops.site import Site, store_now
from jobctl.store import owner_rows, tallies

QUICK = 2_000
"""So many events are added up while one waits, without one noticing."""


def catch_up(site: Site, *, within_s: float | None = None, at_once: int | None = None) -> int:
    """Add up what is missing, but for a little, as far as it goes at this moment; what is missing still.

    ``within_s``: begin nothing further after so long. ``at_once``: so many events in one go.
    """
    began = clock.monotonic()
    while True:
        with site.store.read() as connection:
            missing = tallies.position_of(connection).missing
        is_late = within_s is not None and clock.monotonic() - began >= within_s
        if missing <= QUICK or is_late or not _goes_on(site, at_once):
            return missing


def close_periods(site: Site, *, within_s: float) -> None:
    """Keep the owners of days and months that are over in one row each, before anybody asks for them.

    ``within_s``: begin nothing further after so long; the next call goes on.
    """
    owner_rows.close_periods(site.store, owner_rows.EVERY_PERIOD, store_now(site), within_s=within_s)


def _goes_on(site: Site, at_once: int | None) -> bool:
    """Whether the tally moved on. The first of two calls may only find out how far it may go."""
    size = {} if at_once is None else {"at_most": at_once}
    return bool(tallies.fold(site.store, **size) or tallies.fold(site.store, **size))
