"""Clocks: read the store's clock, and notice where it cannot have run evenly since the last time."""

from __future__ import annotations

from jobctl import clock
from jobctl.core.ages import Ages, Reading, why_jumped
from jobctl.evidence.executor import this_boot_id
from jobctl.ops.site import Site
from jobctl.store import clocks


def read_clock(site: Site) -> tuple[Ages, str | None]:
    """The ages to go by from now on, and why the clock is found to have jumped, if it is."""
    with site.store.write() as connection:
        now = site.store.now(connection)
        reading = Reading(site.host, this_boot_id(), clock.monotonic(), now)
        jumped = why_jumped(reading, clocks.last_reading(connection, site.host))
        known = clocks.trusted_from(connection)
        # A clock that was set back may stand before the jump that is remembered.
        trusted = now if jumped or (known is not None and known > now) else known
        clocks.record_reading(connection, reading, trusted_from=trusted)
    return Ages(now, trusted), jumped
