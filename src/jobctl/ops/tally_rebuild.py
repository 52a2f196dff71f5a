"""The tally made anew from the history, while everybody reads the old one and adds to it."""

from __future__ import annotations

from typing import NamedTuple

from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.store import editions, tallies

_AT_ONCE = 20_000
_ROWS_AT_ONCE = 20_000


class Rebuilt(NamedTuple):
    """What became of it: how many events were added up, and how many rows of the old tally removed.

    ``is_resumed``: somebody had begun it, and it was gone on with.
    """

    events: int
    removed: int
    is_resumed: bool


def rebuild(site: Site, progress: ProgressSink | None = None) -> Rebuilt:
    """Add the whole history up again and read that from then on; what a kill cut short is gone on with.

    In steps of some thousands of events, each a transaction of its own. Several may do it at once:
    they do it together.
    """
    removed = _clean_up(site)
    edition = editions.begin(site.store)
    if edition is None:
        # Nothing was added up yet, so what is added up now is new.
        return Rebuilt(_fold(site, None, progress), removed, is_resumed=False)
    with site.store.read() as connection:
        is_resumed = tallies.position_of(connection, edition).position > 0
    events = 0
    while not editions.take_over(site.store, edition):
        events += _fold(site, edition, progress)
    return Rebuilt(events, removed + _clean_up(site), is_resumed)


def _fold(site: Site, edition: int | None, progress: ProgressSink | None) -> int:
    """Add up as far as it goes at this moment; the first of two calls may only find out how far."""
    done = 0
    while True:
        moved = tallies.fold(site.store, at_most=_AT_ONCE, edition=edition)
        moved = moved or tallies.fold(site.store, at_most=_AT_ONCE, edition=edition)
        if not moved:
            return done
        done += moved
        if progress is not None:
            with site.store.read() as connection:
                position = tallies.position_of(connection, edition)
            progress(Progress("add up", position.position, position.last))


def _clean_up(site: Site) -> int:
    removed = 0
    while some := editions.clean_up(site.store, at_most=_ROWS_AT_ONCE):
        removed += some
    return removed
