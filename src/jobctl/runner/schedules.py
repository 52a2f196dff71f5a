"""Schedules: enqueue a job at each tick of ``[schedule]``, once over all workers and hosts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from jobctl.model.enqueued import New
from jobctl.model.job import Job
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.queue import new_job
from jobctl.store import jobs, ticks
from jobctl.store.declared import declared
from jobctl.store.engine import Store
from jobctl.store.enqueue import enqueue
from jobctl.work import ScheduleSpec, Work

_LONGEST_FOLD = timedelta(hours=3)
"""Longer than any stretch of local time that comes twice."""


@dataclass(frozen=True, slots=True)
class Schedules:
    """The schedules of one installation. An entry seen for the first time begins now."""

    store: Store
    work: Work
    actor: str

    def enqueue_due(self) -> list[Job]:
        """Enqueue what is due. Of ticks that passed while no worker ran, only the last is made up for."""
        if not self.work.schedules:
            return []
        with self.store.read() as connection:
            now = self.store.now(connection)
            last = ticks.last_ticks(connection)
        made = []
        for spec in self.work.schedules:
            tick, known = tick_before(spec, now), last.get(spec.name)
            if known is not None and known > now:
                # The clock was ahead, and is right again: nothing would be due until it gets there.
                self._set_back(spec, known, tick)
            elif known is None or known < tick:
                made.append(self._enqueue(spec, tick))
        return [job for job in made if job is not None]

    def _set_back(self, spec: ScheduleSpec, known: datetime, tick: datetime) -> None:
        with self.store.write() as connection:
            ticks.set_back(connection, spec.name, known, tick)

    def _enqueue(self, spec: ScheduleSpec, tick: datetime) -> Job | None:
        """In one transaction: whoever moves the tick on enqueues the job.

        Its key names the tick, so that there is one job for it even where the clock is set back over it.
        """
        stamp = format_timestamp(tick)
        with self.store.write() as connection:
            if not ticks.advance(connection, spec.name, tick):
                return None
            task = self.work.spec_by_name(spec.task, declared(connection, spec.task))
            key = f"{spec.name} {stamp}"
            new = New(new_job(task, queue=spec.queue, priority=spec.priority, key=key), spec.payload)
            made = enqueue(connection, new, actor=self.actor, at=self.store.now(connection))
            if made.existed:
                return None
            detail = {"schedule": spec.name, "tick": stamp}
            jobs.record_event(connection, made.job.job_id, tick, "scheduled", self.actor, detail=detail)
            return made.job


def tick_before(spec: ScheduleSpec, now: datetime) -> datetime:
    """The last moment, up to now, at which a schedule was due; days of 23 and 25 hours included."""
    local = now.astimezone(ZoneInfo(spec.timezone))
    if not local.fold:
        return _last(CronSim(spec.cron, local, reverse=True), now)
    # Looking back from the second pass of an hour that comes twice, what was due in the first is passed over.
    before = (now - _LONGEST_FOLD).astimezone(local.tzinfo)
    known = _last(CronSim(spec.cron, before, reverse=True), now)
    onwards = (tick.astimezone(now.tzinfo) for tick in CronSim(spec.cron, before))
    return max(takewhile(lambda tick: tick <= now, onwards), default=known)


def _last(ticks_back: CronSim, now: datetime) -> datetime:
    return next(ticks_back).astimezone(now.tzinfo)
