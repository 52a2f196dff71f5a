"""Schedules: enqueue a job at each tick of ``[schedule]``, once over all workers and hosts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

from jobctl.model.job import Job
from jobctl.model.timestamps import format_timestamp
from jobctl.store import jobs, ticks
from jobctl.store.engine import Store
from jobctl.work import DEFAULT_RETRIES, ScheduleSpec


@dataclass(frozen=True, slots=True)
class Schedules:
    """The schedules of one installation. An entry seen for the first time begins now."""

    store: Store
    specs: tuple[ScheduleSpec, ...]
    actor: str

    def enqueue_due(self) -> list[Job]:
        """Enqueue what is due. Of ticks that passed while no worker ran, only the last is made up for."""
        if not self.specs:
            return []
        with self.store.read() as connection:
            now = self.store.now(connection)
            last = ticks.last_ticks(connection)
        due = [(spec, tick_before(spec, now)) for spec in self.specs]
        made = [
            self._enqueue(spec, tick) for spec, tick in due if spec.name not in last or last[spec.name] < tick
        ]
        return [job for job in made if job is not None]

    def _enqueue(self, spec: ScheduleSpec, tick: datetime) -> Job | None:
        """In one transaction: whoever moves the tick on enqueues the job."""
        with self.store.write() as connection:
            if not ticks.advance(connection, spec.name, tick):
                return None
            new = Job(
                job_id=str(uuid.uuid4()),
                kind=spec.task,
                queue=spec.queue,
                priority=spec.priority,
                max_attempts=1 + DEFAULT_RETRIES,
            )
            job = jobs.create_job(
                connection, new, actor=self.actor, at=self.store.now(connection), payload=spec.payload
            )
            detail = {"schedule": spec.name, "tick": format_timestamp(tick)}
            jobs.record_event(connection, job.job_id, tick, "scheduled", self.actor, detail=detail)
            return job


def tick_before(spec: ScheduleSpec, now: datetime) -> datetime:
    """The last moment, up to now, at which a schedule was due; days of 23 and 25 hours included."""
    local = now.astimezone(ZoneInfo(spec.timezone))
    return next(CronSim(spec.cron, local, reverse=True)).astimezone(now.tzinfo)
