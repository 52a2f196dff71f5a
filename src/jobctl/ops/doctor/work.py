"""Checks of work: locks, leases, runs, workers, what cron runs, backups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from jobctl.core.health.work import (
    Busy,
    HeldLock,
    LastSuccess,
    judge_backup,
    judge_leases,
    judge_lock,
    judge_running,
    judge_runs,
    judge_schedule,
)
from jobctl.core.health.workers import Expected, Known, judge_declared, judge_workers
from jobctl.core.schedule import TASKS
from jobctl.core.verify import interrupted
from jobctl.evidence.executor import liveness
from jobctl.model.amounts import counted
from jobctl.model.attempts import WorkerRow
from jobctl.model.health import Diagnosis, together
from jobctl.model.standing import QueueDepth
from jobctl.ops.doctor.check import HealthCheck, health_check
from jobctl.ops.doctor.patient import Patient
from jobctl.ops.hold import lock_names
from jobctl.ops.schedule_files import installed_for_s
from jobctl.ops.serving import is_lost, serving_now, waiting_in
from jobctl.ops.site import Site
from jobctl.store import claims, vitals, workers
from jobctl.store import locks as store_locks
from jobctl.store.engine import Connection
from jobctl.store.standing import queue_depths

THEME = "work"
BACKUP = "backup"
_MOST_NAMED = 100


@health_check("locks", THEME, "While somebody holds the lock of a root, no other run can work on it.")
def locks(patient: Patient) -> Diagnosis:
    """Each lock that is held, and by whom."""
    with patient.site.store.read() as connection:
        return examine_locks(patient.site, connection)


def examine_locks(site: Site, connection: Connection) -> Diagnosis:
    """Each lock that is held, and by whom."""
    held = held_locks(site, connection)
    stale_after_s = site.settings.lock_stale_after_s
    well = f"{counted(len(held), 'lock')} held, all by runs at work" if held else "no lock is held"
    return together([judge_lock(lock, stale_after_s) for lock in held], well=well)


@health_check(
    "leases", THEME, "Jobs of a worker that is lost wait until another worker or expire rescues them."
)
def leases(patient: Patient) -> Diagnosis:
    """The workers that hold running jobs."""
    with patient.site.store.read() as connection:
        return judge_leases(holding(patient.site, connection))


@health_check("runs", THEME, "A run that broke off left part of its plan undone; the same command goes on.")
def runs(patient: Patient) -> Diagnosis:
    """The runs that have not ended, beside the locks that are held."""
    with patient.site.store.read() as connection:
        return examine_runs(patient.site, connection)


def examine_runs(site: Site, connection: Connection) -> Diagnosis:
    """The runs that have not ended, beside the locks that are held."""
    stale_after_s = site.settings.lock_stale_after_s
    at_work = {
        lock.name
        for lock in held_locks(site, connection)
        if lock.life != "dead" and lock.silent_s < stale_after_s
    }
    open_ones = claims.open_runs(connection)
    broken = [run for run in open_ones if at_work.isdisjoint(lock_names(run.header["roots"]))]
    told = {
        run.run_id: interrupted(
            run.run_id,
            run.command,
            undo_of=run.undo_of,
            places=claims.left_to_release(connection, run.run_id, limit=_MOST_NAMED),
        )
        for run in broken
    }
    return judge_runs(
        {run_id: each.reason for run_id, each in told.items()},
        {run_id: f"{each.mend} --yes" for run_id, each in told.items()},
        len(open_ones) - len(broken),
    )


@health_check("workers", THEME, "A job waits for ever where no worker of its queue knows its task.")
def workers_(patient: Patient) -> Diagnosis:
    """The jobs that are due, beside the workers that run."""
    site = patient.site
    with site.store.read() as connection:
        queues = queue_depths(connection, site.store.now(connection))
        return examine_workers(site, connection, queues)


def examine_workers(site: Site, connection: Connection, queues: Sequence[QueueDepth]) -> Diagnosis:
    """The jobs in the queues, and the schedules of this configuration, beside the workers that run."""
    now, last_seen = site.store.now(connection), vitals.worker_last_seen(connection)
    later = [queue for queue in queues if queue.next_at is not None]
    firsts = [queue.next_at for queue in later if queue.next_at is not None]
    work = site.settings.work
    return judge_workers(
        [each for queue in queues for each in waiting_in(queue, now)],
        serving_now(site, connection),
        Known(
            None if last_seen is None else (now - last_seen).total_seconds(),
            has_tasks=bool(work.modules or work.commands),
        ),
        Expected(
            sum(queue.queued - queue.due for queue in later),
            (min(firsts) - now).total_seconds() if firsts else 0.0,
            [queue.queue for queue in later],
            [each.name for each in work.schedules],
        ),
    )


@health_check(
    "tasks", THEME, "Where workers declare a task differently, it is chance what jobs that name it get."
)
def tasks(patient: Patient) -> Diagnosis:
    """What the workers that run say of their tasks."""
    with patient.site.store.read() as connection:
        return judge_declared(serving_now(patient.site, connection))


@health_check(
    "schedule", THEME, "Outputs look after themselves only where something runs the commands that do it."
)
def schedule(patient: Patient) -> Diagnosis:
    """When each command of the schedule that ever ran last ended well, on any host."""
    ages = _success_ages(patient.site)
    every = {" ".join(task.words): task.when.every for task in TASKS}
    ran = [LastSuccess(command, every[command], ages[command]) for command in every if command in ages]
    return judge_schedule(ran, installed_s=installed_for_s())


@health_check(
    "backup", THEME, "Files bring back most of a lost store; its history and its queue only a backup."
)
def backup(patient: Patient) -> Diagnosis:
    """When a backup last ended well, on any host."""
    return judge_backup(_success_ages(patient.site).get(BACKUP))


@health_check(
    "running-jobs",
    THEME,
    "A deploy ends what runs; a worker that is asked first finishes it or hands it back.",
    is_asked_for=True,
)
def running_jobs(patient: Patient) -> Diagnosis:
    """Who runs jobs now; what the dead ran is another check's."""
    site = patient.site
    with site.store.read() as connection:
        ours = [busy for busy in holding(site, connection) if not busy.is_lost]
        services: Counter[str] = Counter()
        for executor, jobs in vitals.unheld_jobs(connection).items():
            if executor is None or liveness(executor, host=site.host) != "dead":
                services[executor.host if executor else ""] += jobs
    theirs = [Busy(host, None, None, jobs, host == site.host) for host, jobs in services.items()]
    return judge_running([*ours, *theirs])


def held_locks(site: Site, connection: Connection) -> list[HeldLock]:
    """The locks that are held, and whether their holders live."""
    now = site.store.now(connection)
    return [
        HeldLock(
            row.name,
            row.command,
            row.executor.host,
            row.executor.pid,
            liveness(row.executor, host=site.host),
            (now - row.heartbeat).total_seconds(),
        )
        for row in store_locks.held_locks(connection)
    ]


def holding(site: Site, connection: Connection) -> list[Busy]:
    """The workers that hold running jobs."""
    now = site.store.now(connection)
    return [
        Busy(
            row.executor.host,
            row.executor.pid,
            row.worker_id,
            row.jobs,
            is_here=row.executor.host == site.host,
            is_lost=row.is_ended or is_lost(site, row.executor, row.seen_at, row.lease_s, now),
        )
        for row in workers.holders(connection)
    ]


def living_workers(site: Site) -> list[WorkerRow]:
    """The workers that run on this host."""
    with site.store.read() as connection:
        rows = workers.list_workers(connection, every=False)
    return [row for row in rows if liveness(row.executor, host=site.host) == "alive"]


def _success_ages(site: Site) -> dict[str, float | None]:
    """How many seconds ago each command that is remembered ended well; ``None``: it never did."""
    with site.store.read() as connection:
        now, moments = site.store.now(connection), vitals.successes(connection)
    return {name: (now - at).total_seconds() if at else None for name, at in moments.items()}


CHECKS: tuple[HealthCheck, ...] = (locks, leases, runs, workers_, tasks, schedule, backup, running_jobs)
