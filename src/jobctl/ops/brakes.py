"""Brakes: what a plan takes away is held against what there is and what is usual."""

from __future__ import annotations

from collections.abc import Mapping

from jobctl.core.brakes import Limits, Stock, by_category, why_held
from jobctl.model.plan import Held
from jobctl.ops.plan import PlanWriter
from jobctl.ops.site import Site
from jobctl.store import retention, runs

_PAST_RUNS = 20


def brake(site: Site, writer: PlanWriter, limits: Limits, *, files_of: Mapping[str, int]) -> list[Held]:
    """Say what of a plan is held back. ``files_of``: how many files there are below each root."""
    held: list[Held] = []
    if not writer.tallies:
        return held
    with site.store.read() as connection:
        live = retention.count_live_by_root(connection)
        in_all = by_category(writer.tallies)
        for pool, tally in sorted(writer.tallies.items()):
            category, root_id = pool
            stock = Stock(live.get(root_id, 0), files_of.get(root_id, 0))
            past = runs.done_in_like_runs(connection, writer.header.command, category, runs=_PAST_RUNS)
            found = why_held(pool, tally, stock, past, limits, in_all=in_all[category])
            if found is not None:
                held.append(found)
    return held
