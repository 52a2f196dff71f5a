"""Schedules: enqueue a job at each tick of ``[schedule]``, once over all workers and hosts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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
        due = [(spec, tick_before(spec, now)) for spec in self.work.schedules]
        made = [
            self._enqueue(spec, tick) for spec, tick in due if spec.name not in last or last[spec.name] < tick
        ]
        return [job for job in made if job is not None]

    def _enqueue(self, spec: ScheduleSpec, tick: datetime) -> Job | None:
        """In one transaction: whoever moves the tick on enqueues the job."""
        with self.store.write() as connection:
            if not ticks.advance(connection, spec.name, tick):
                return None
            task = self.work.spec_by_name(spec.task, declared(connection, spec.task))
            new = New(new_job(task, queue=spec.queue, priority=spec.priority), spec.payload)
            job = enqueue(connection, new, actor=self.actor, at=self.store.now(connection)).job
            detail = {"schedule": spec.name, "tick": format_timestamp(tick)}
            jobs.record_event(connection, job.job_id, tick, "scheduled", self.actor, detail=detail)
            return job


def tick_before(spec: ScheduleSpec, now: datetime) -> datetime:
    """The last moment, up to now, at which a schedule was due; days of 23 and 25 hours included."""
    local = now.astimezone(ZoneInfo(spec.timezone))
    return next(CronSim(spec.cron, local, reverse=True)).astimezone(now.tzinfo)
