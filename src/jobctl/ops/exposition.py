"""The state of a store and its whole history, read for those who collect metrics."""

from __future__ import annotations

from datetime import timedelta

from jobctl.core.tally import Grain
from jobctl.core.window import Piece, floor, period_name
from jobctl.ops.site import Site
from jobctl.ops.tallies import catch_up
from jobctl.report.runner_metrics import Measures, Named
from jobctl.store import figures, lastruns, owner_sums, queues, tallies, workers
from jobctl.store.engine import made_at


def look(site: Site, *, most: int) -> Measures:
    """Read it all at one moment; ``most`` kinds, error codes, queues and owners have names of their own."""
    catch_up(site)
    with site.store.read() as connection:
        now = site.store.now(connection)
        tally = tallies.read(connection, site.store.dialect, Grain.ALL)
        today = floor(now, Grain.DAY)
        day = Piece(
            Grain.DAY, period_name(today, Grain.DAY), period_name(today + timedelta(days=1), Grain.DAY)
        )
        changes = tallies.pending(connection, site.store.dialect)
        recent = [change for change in changes if day.since <= change.at < (day.until or "")]
        owners = owner_sums.owners(connection, [day], recent, most)
        others = owners.total
        for part in owners.parts.values():
            others = others.without(part)
        kinds = frozenset(flow.job_kind for flow in tally.flows)
        codes = frozenset(flow.error_code for flow in tally.flows)
        if len(kinds) > most:
            kinds = figures.first_seen(connection, "job_kind", changes, most)
        if len(codes) > most:
            codes = figures.first_seen(connection, "error_code", changes, most)
        return Measures(
            now=now,
            since=made_at(connection),
            jobs=tally.by_status(),
            last_runs=lastruns.last_runs(connection),
            tally=tally,
            queues=queues.queue_states(connection, now, tally),
            workers=workers.list_workers(connection, every=True),
            busy=workers.count_leases(connection),
            named=Named(kinds, codes, most),
            owners=owners.parts,
            other_owners=others,
        )
