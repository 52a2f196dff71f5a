"""Whether work goes on: locks, leases, runs, what cron runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from jobctl.durations import age_said
from jobctl.model.amounts import counted
from jobctl.model.health import Diagnosis, fail, ok, together, warn

_MOST_PERIODS = 3
_SHORTEST_LATE = timedelta(hours=1)
_NEEDED = ("recover", "expire", "cleanup")
_LATEST_FIRST_S = 3 * 86_400.0
_BACKUP_OLD_S = 2 * 86_400.0
_BACKUP_TOO_OLD_S = 8 * 86_400.0


class HeldLock(NamedTuple):
    """A lock that is held. ``life``: ``alive``, ``dead`` or ``unknown``, as seen from here."""

    name: str
    command: str
    host: str
    pid: int
    life: str
    silent_s: float


class Busy(NamedTuple):
    """Who runs jobs. ``is_lost``: it will not go on with them; ``worker``: ``None`` for a service of its own.

    ``is_here``: it runs on this host.
    """

    host: str
    pid: int | None
    worker: str | None
    jobs: int
    is_here: bool
    is_lost: bool = False


class LastSuccess(NamedTuple):
    """A command that cron is to run: how often, and how long ago it last ended well, if it did."""

    command: str
    every: timedelta
    ago_s: float | None


def judge_lock(lock: HeldLock, stale_after_s: float) -> Diagnosis:
    """Whether a lock is held by somebody who works."""
    who = f"'jobctl {lock.command}' (pid {lock.pid} on {lock.host})"
    if lock.life == "dead":
        return warn(
            f"{who} holds the lock {lock.name} and is dead",
            "the next run takes it over",
            _taking_over(lock.name),
        )
    if lock.silent_s < stale_after_s:
        return ok(f"{who} is at work")
    said = f"{who} holds the lock {lock.name} and gave no sign of life for {age_said(lock.silent_s)}"
    if lock.life == "alive":
        # Killed, it is dead: the next run goes on where it stopped.
        return fail(said, f"see what pid {lock.pid} waits for, or end it", f"kill -KILL {lock.pid}")
    return warn(said, "see whether it runs on its host; the next run takes it over", _taking_over(lock.name))


def _taking_over(name: str) -> str:
    """A run that takes the lock of a root, changes nothing, and gives it back."""
    kind, _, root_id = name.partition(":")
    return f"jobctl recover --dry-run --root {root_id}" if kind == "root" else ""


def judge_leases(busy: Sequence[Busy]) -> Diagnosis:
    """Whether jobs are held by workers that are lost."""
    ill = [
        fail(
            f"{counted(each.jobs, 'job')} of worker {each.worker} on {each.host}, which is lost, "
            f"{'waits' if each.jobs == 1 else 'wait'} to be rescued",
            "start a worker, or give them back to the queue",
            "jobctl expire --yes",
        )
        for each in busy
        if each.is_lost
    ]
    jobs = sum(each.jobs for each in busy)
    return together(ill, well=f"{counted(jobs, 'job')} held by living workers" if jobs else "no job is held")


def judge_runs(unfinished: Mapping[str, str], mends: Mapping[str, str], at_work: int) -> Diagnosis:
    """Whether a run broke off. ``unfinished``: run to what is said of it; ``mends``: what goes on with it."""
    ill = [fail(f"run {run_id}: {why}", "go on with it", mends[run_id]) for run_id, why in unfinished.items()]
    well = (
        f"{counted(at_work, 'run')} at work, none broken off"
        if at_work
        else "no run is at work or broken off"
    )
    return together(ill, well=well)


def judge_schedule(ran: Sequence[LastSuccess], *, installed_s: float | None) -> Diagnosis:
    """Whether the commands that look after the outputs run by themselves. ``ran``: those that ever did.

    ``installed_s``: for how long this machine has had a schedule; ``None``: it has none. Then nothing but
    that they ran says that they will again.
    """
    if installed_s is not None and not ran:
        return _of_nothing_run(installed_s)
    ill = [found for each in ran if (found := _late(each))]
    known = {each.command for each in ran}
    lacking = [command for command in _NEEDED if command not in known]
    if installed_s is None and lacking:
        ill.insert(0, _unscheduled(lacking, [each for each in ran if each.ago_s is not None]))
    return together(ill, well=_when(ran))


def _of_nothing_run(installed_s: float) -> Diagnosis:
    if installed_s < _LATEST_FIRST_S:
        return ok("installed; nothing was due yet")
    return warn(
        f"a schedule was installed {age_said(installed_s)} ago, and none of its commands has run",
        "see whether cron or systemd runs it",
    )


def _unscheduled(lacking: Sequence[str], ran: Sequence[LastSuccess]) -> Diagnosis:
    *some, last = lacking
    listed = f"{', '.join(some)} and {last}" if some else last
    return warn(
        "; ".join(filter(None, [f"nothing runs {listed} by itself", _when(ran)])),
        "let cron or systemd do it",
        "jobctl schedule --install --yes",
    )


def _when(ran: Sequence[LastSuccess]) -> str:
    return ", ".join(f"{each.command} {age_said(each.ago_s or 0.0)} ago" for each in ran)


def _late(each: LastSuccess) -> Diagnosis | None:
    fix = "see how it ended last", "jobctl status"
    if each.ago_s is None:
        return warn(f"{each.command} never ended well", *fix)
    late = max(_SHORTEST_LATE, _MOST_PERIODS * each.every).total_seconds()
    if each.ago_s <= late:
        return None
    return warn(f"{each.command} last ended well {age_said(each.ago_s)} ago", *fix)


def judge_backup(ago_s: float | None) -> Diagnosis:
    """Whether there is a copy of the records that is not old."""
    if ago_s is None:
        return warn("no backup is known", "make one, and let cron make the next ones", "jobctl backup")
    if ago_s < _BACKUP_OLD_S:
        return ok(f"the newest is {age_said(ago_s)} old")
    ill = fail if ago_s >= _BACKUP_TOO_OLD_S else warn
    said = f"the newest backup is {age_said(ago_s)} old"
    return ill(said, "make one, and see why there is none younger: jobctl status", "jobctl backup")


def judge_running(busy: Sequence[Busy]) -> Diagnosis:
    """Whether a deploy would interrupt jobs."""
    jobs = sum(each.jobs for each in busy)
    if not jobs:
        return ok("no job is running")
    where = ", ".join(f"{each.jobs:,} on {_named(each)}" for each in busy)
    they = "it" if jobs == 1 else "they"
    said = f"{counted(jobs, 'job')} running: drain first, or {they} will be interrupted; {where}"
    ours = [each for each in busy if each.worker is not None]
    here = [str(each.pid) for each in ours if each.is_here and each.pid]
    ways = []
    if ours:
        ways.append("send SIGTERM to the workers, which finish or hand back what they run, and ask again")
    elsewhere = [each for each in ours if not each.is_here and each.pid]
    ways += [f"on {each.host}: kill -TERM {each.pid}" for each in elsewhere]
    if len(ours) < len(busy):
        ways.append("let the service take no new jobs, and wait until it has ended these")
    return fail(said, "; ".join(ways), f"kill -TERM {' '.join(here)}" if here else "")


def _named(each: Busy) -> str:
    if each.worker is not None:
        return f"{each.host} (worker pid {each.pid})"
    return f"{each.host} (a service)" if each.host else "an unknown host (a service)"
