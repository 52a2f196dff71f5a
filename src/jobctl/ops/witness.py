"""Is a job's own executor dead? Only proof counts: see it gone here, or see no beat for long enough.

What one server's restart says nothing about: the jobs of the others. An executor on
another host is unknown until its heartbeat stood still for a full stale-after by this
host's monotonic clock, across scans of one boot.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from jobctl import clock
from jobctl.core.ages import shown_moment
from jobctl.core.case import UNKNOWN_EXECUTOR, Liveness
from jobctl.durations import age_said, spoken_duration
from jobctl.evidence.executor import liveness, this_boot_id
from jobctl.model.job import Executor
from jobctl.model.records import Record, Watch
from jobctl.model.status import Status
from jobctl.ops.site import Site


@dataclass(slots=True)
class Witness:
    """Judges executors, and remembers which heartbeats it has watched since when."""

    site: Site
    stale_after_s: float
    boot_id: str = field(default_factory=this_boot_id)
    watched: list[Watch] = field(default_factory=list)

    def judge(self, record: Record, watches: Sequence[Watch]) -> Liveness:
        """Say what is known of a processing job's executor."""
        if record.status != Status.PROCESSING:
            return UNKNOWN_EXECUTOR
        here = self._look(record)
        if here.state != "unknown":
            return here
        watch = self._watch(record, watches)
        silent_s = clock.monotonic() - watch.since
        if silent_s >= self.stale_after_s:
            stood_still = f"its heartbeat stood still for {age_said(silent_s)}"
            return Liveness("dead", f"{stood_still} by this host's own clock")
        return here._replace(reason=f"{here.reason}; {self._since_when(silent_s)}")

    def _since_when(self, silent_s: float) -> str:
        """Since when a heartbeat is watched from here, and for how long it will be."""
        stale_after = spoken_duration(timedelta(seconds=int(self.stale_after_s)))
        dead_after = f"it counts as dead once that stood still for {stale_after}"
        if silent_s < 1:
            return f"its heartbeat is watched from here from now on; {dead_after}"
        began = shown_moment(clock.now() - timedelta(seconds=silent_s))
        return f"its heartbeat is watched from here since {began}; {dead_after}"

    def _look(self, record: Record) -> Liveness:
        if not record.executor:
            return UNKNOWN_EXECUTOR
        executor = Executor(**json.loads(record.executor))
        state = liveness(executor, host=self.site.host)
        who = f"pid {executor.pid} on host {executor.host}"
        said = {
            "alive": f"{who} runs",
            "dead": f"{who} is gone",
            "unknown": f"{who} cannot be seen from here",
        }
        return Liveness(state, said[state])

    def _watch(self, record: Record, watches: Sequence[Watch]) -> Watch:
        """The watch on this very heartbeat: the one kept from an earlier scan, or a new one."""
        beat = (self.boot_id, record.attempt, record.last_heartbeat)
        for watch in watches:
            if (watch.boot_id, watch.attempt, watch.last_heartbeat) == beat:
                return watch
        watch = Watch(record.job_id, *beat, since=clock.monotonic())
        self.watched.append(watch)
        return watch
