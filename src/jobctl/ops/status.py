"""Status: how many jobs stand where, and how what cron runs ended last."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from jobctl.model.runs import LastRun
from jobctl.model.status import Status
from jobctl.ops.site import Site
from jobctl.store import jobs, lastruns, runs


@dataclass(slots=True)
class StatusReport:
    """One look at a store. ``unfinished``: runs that were interrupted, or are at work, oldest first."""

    now: datetime
    jobs: dict[Status, int]
    last_runs: list[LastRun] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[LastRun]:
        """The commands that did not end well the last time."""
        return [run for run in self.last_runs if run.exit_code]


def look(site: Site) -> StatusReport:
    """Read it all at one moment."""
    with site.store.read() as connection:
        return StatusReport(
            now=site.store.now(connection),
            jobs=jobs.count_by_status(connection),
            last_runs=lastruns.last_runs(connection),
            unfinished=[row.run_id for row in runs.unfinished_runs(connection)],
        )
