"""What a worker does beside its own jobs, for all who share the store."""

from __future__ import annotations

from jobctl.ops.site import Site
from jobctl.ops.tallies import close_periods
from jobctl.runner.counters import Counters
from jobctl.runner.line import Line
from jobctl.runner.neighbours import Neighbours
from jobctl.runner.options import Say, WorkerOptions
from jobctl.runner.schedules import Schedules
from jobctl.runner.timers import Every
from jobctl.runner.unserved import LOOK_EVERY_S, Unserved
from jobctl.store import tallies
from jobctl.store.leases import Holder
from jobctl.work import Work

TALLY_EVERY_S = 10.0
TALLY_AT_ONCE = 4_000
_PERIODS_EVERY_S, _PERIODS_WITHIN_S = 300.0, 0.2


class Upkeep:
    """Other workers' jobs, schedules, sums, and the jobs that nobody serves: each at its time.

    ``now`` is a monotonic clock, in seconds.
    """

    def __init__(
        self, site: Site, line: Line, options: WorkerOptions, *, counters: Counters, say: Say
    ) -> None:
        self._site = site
        self._line = line
        self._lease_s = options.lease_s
        self._counters = counters
        self._say = say
        self._unserved = Unserved(site, options.queues, say)
        self._vigil = Every(options.lease_s / 5)
        self._tally = Every(TALLY_EVERY_S)
        self._periods = Every(_PERIODS_EVERY_S)
        self._look = Every(LOOK_EVERY_S)

    def begin(self, holder: Holder) -> None:
        """Under this name from now on, which is new: whom it watched before, it watches anew."""
        self._actor = holder.actor
        self.neighbours = Neighbours(self._site, holder, lease_s=self._lease_s, say=self._say)

    @property
    def next_at(self) -> float:
        """When it has something to do that may bring jobs."""
        return self._vigil.at

    def note_tasks(self) -> None:
        """Its tasks are told: look at once which others nobody knows."""
        self._look.at = 0.0

    def keep(self, work: Work, now: float, *, is_introduced: bool) -> bool:
        """Do what is due; whether there may be more jobs to take than before."""
        line, store = self._line, self._site.store
        brings_jobs = self._vigil.is_due(now) and self._keep_vigil(work, now)
        if is_introduced and self._look.is_due(now):
            line.visit(lambda _: self._unserved.look())
        if self._tally.is_due(now):
            line.visit(lambda _: tallies.fold(store, at_most=TALLY_AT_ONCE))
        if is_introduced and self._periods.is_due(now):
            line.visit(lambda _: close_periods(self._site, within_s=_PERIODS_WITHIN_S))
        return brings_jobs

    def _keep_vigil(self, work: Work, now: float) -> bool:
        rescued = self.neighbours.look_after(self._line, now)
        self._counters.rescued += len(rescued)
        made = self._line.visit(lambda _: Schedules(self._site.store, work, self._actor).enqueue_due())
        return bool(rescued or made)
