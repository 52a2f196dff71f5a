"""The doctor on work: locks, leases, runs, workers, schedule, backups, and what a deploy would interrupt."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import jobctl
from jobctl.errors import ExitCode
from jobctl.evidence.executor import current_executor
from jobctl.model import health
from jobctl.model.health import Health
from jobctl.model.job import Executor
from jobctl.model.status import Status
from jobctl.ops import lastruns, schedule
from jobctl.ops.doctor import work
from jobctl.ops.hold import hold_roots
from jobctl.ops.show import show_job
from jobctl.ops.site import store_now
from jobctl.outputs import effects
from jobctl.store import vitals, workers
from jobctl.store.declared import tell_tasks
from jobctl.store.jobs import get_job
from jobctl.store.leases import Holder, open_leases
from jobctl.work import ScheduleSpec, Work
from ops.doctoring import diagnosis, diagnosis_of, mend
from ops.world import World, dead_executor
from runner.working import Crewed, crewed

# Python 3.12 warns of a fork beside the test runner's own thread; these children use none.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

FORK = multiprocessing.get_context("fork")


@dataclass
class ServiceJob:
    """A job as a service has it that runs its jobs itself."""

    job_id: str
    status: str = "queued"


def hold(world: World, is_held: Any) -> None:
    """Take the lock of the root, and keep it."""
    with world.site() as site, hold_roots(site, command="cleanup"):
        is_held.set()
        signal.pause()


def take_jobs(world: World, is_taken: Any) -> None:
    """Be a worker that has taken what is due, and runs it for ever."""
    with world.site() as site:
        holder = Holder("w1", site.executor, ("default",))
        with site.store.write() as connection:
            now = site.store.now(connection)
            workers.register(
                connection, holder, tasks=["wait"], slots=9, isolation="process", lease_s=60.0, at=now
            )
        open_leases(site.store, holder).take_turn([], 9, ["wait"])
        is_taken.set()
        signal.pause()


@contextmanager
def child(what: Callable[[World, Any], None], world: World) -> Iterator[multiprocessing.process.BaseProcess]:
    """A process that has done something, and stays."""
    is_done = FORK.Event()
    process = FORK.Process(target=what, args=(world, is_done))
    process.start()
    try:
        assert is_done.wait(60)
        yield process
    finally:
        process.kill()
        process.join()


def recover_until(world: World, number: int) -> None:
    """Recover, but die after the commit of that number."""
    commits = count(1)

    def die(name: str, _: int) -> None:
        if name == "commit" and next(commits) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    effects.observe(after=die)
    world.recover()


@contextmanager
def manned(world: World) -> Iterator[Crewed]:
    """Workers that call this host what the world calls it."""
    before = os.environ.get("JOBCTL_HOST_ID")
    os.environ["JOBCTL_HOST_ID"] = world.host
    try:
        with crewed(world.url) as crew:
            yield crew
    finally:
        del os.environ["JOBCTL_HOST_ID"]
        assert before is None


def enqueue_waiting(world: World, directory: Path, *job_ids: str) -> None:
    with jobctl.Queue(world.url) as queue:
        for job_id in job_ids:
            queue.enqueue("wait", str(directory), job_id=job_id)


def test_a_site_at_rest_is_well(world: World) -> None:
    found = {name: diagnosis(world, name).health for name in ("locks", "leases", "runs", "workers")}
    assert found == dict.fromkeys(found, Health.OK)
    assert diagnosis(world, "running-jobs").health is Health.OK


# --- locks ---------------------------------------------------------------------------------------


def test_the_lock_of_a_run_at_work_is_no_trouble(world: World) -> None:
    with child(hold, world):
        found = diagnosis(world, "locks")
        assert (found.health, "1 lock held") == (Health.OK, found.said.partition(",")[0])


def test_the_lock_of_a_dead_process_is_named_and_taken_over(world: World) -> None:
    with child(hold, world) as process:
        process.kill()
        process.join()
        found = diagnosis(world, "locks")
    assert found.health is Health.WARN
    assert f"'jobctl cleanup' (pid {process.pid} on host-a) holds the lock root:" in found.said
    mend(world, found)
    assert diagnosis(world, "locks").said == "no lock is held"


def test_a_stuck_process_that_holds_a_lock_is_named_ended_and_taken_over(world: World) -> None:
    world.changes["lock_stale_after_s"] = 0.001
    with child(hold, world) as process:
        os.kill(process.pid or 0, signal.SIGSTOP)
        found = diagnosis(world, "locks")
        assert (found.health, "gave no sign of life" in found.said) == (Health.FAIL, True)
        assert f"pid {process.pid}" in found.fix
        mend(world, found)
        process.join()
        dead = diagnosis(world, "locks")
        assert "is dead" in dead.said
    mend(world, dead)
    assert diagnosis(world, "locks").health is Health.OK


# --- runs ----------------------------------------------------------------------------------------


def test_a_run_that_broke_off_is_named_and_gone_on_with(world: World) -> None:
    for number in range(3):
        world.video(number)
    for number in range(1, 20):
        process = FORK.Process(target=recover_until, args=(world, number))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        found = diagnosis(world, "runs")
        if found.health is Health.FAIL:
            break
    assert "'jobctl recover' did not come to its end" in found.said
    mend(world, found)
    assert diagnosis(world, "runs").health is Health.OK
    assert len(world.job_ids()) == 3


# --- workers -------------------------------------------------------------------------------------


def test_jobs_that_nobody_takes_are_told_by_queue_and_task(world: World, tmp_path: Path) -> None:
    enqueue_waiting(world, tmp_path, "a", "b")
    found = diagnosis(world, "workers")
    assert found.health is Health.WARN
    said = r"2 jobs \(wait\) have been due for \d+ s, and no worker serves the queue default"
    assert re.fullmatch(said, found.said)


def test_a_task_that_no_worker_knows_is_told_and_later_fails(world: World) -> None:
    with child(take_jobs, world):
        with jobctl.Queue(world.url) as queue:
            queue.enqueue("dance", None, job_id="dance")
        found = diagnosis(world, "workers")
        assert (found.health, "no worker knows the task dance" in found.said) == (Health.WARN, True)
        with world.site() as site, site.store.write() as connection:
            long_ago = site.store.now(connection) - timedelta(hours=1)
            jobs = site.store.dialect.table("job")
            connection.exec_driver_sql(f"UPDATE {jobs} SET run_at = '{long_ago:%Y-%m-%dT%H:%M:%S.%f}Z'")
        found = diagnosis(world, "workers")
        assert (found.health, "1 job (dance) has been due for 1 h" in found.said) == (Health.FAIL, True)


def test_jobs_for_later_need_a_worker_that_runs_by_then(world: World) -> None:
    with jobctl.Queue(world.url) as queue:
        queue.enqueue("dance", None, delay="2h")
        queue.enqueue("dance", None, delay="1h30m", queue="video")
    found = diagnosis(world, "workers")
    said = r"2 jobs are queued for later, the first in 1 h (29|30) min, and no worker runs"
    assert re.fullmatch(said, found.said)
    assert (found.health, found.command) == (
        Health.WARN,
        "jobctl worker --tasks MODULE --queue default --queue video",
    )
    with child(take_jobs, world):
        assert diagnosis(world, "workers").said == "0 jobs due, 1 worker running"


def test_a_schedule_without_a_worker_is_told(world: World) -> None:
    spec = ScheduleSpec(name="nightly", task="report", cron="0 3 * * *")
    settings = replace(world.settings, work=Work(modules=("acme.tasks",), schedules=(spec,)))
    found = diagnosis_of(settings, "workers")
    assert found.said == "schedule nightly enqueues jobs, and no worker runs"
    assert (found.health, found.command) == (Health.WARN, "jobctl worker")
    with child(take_jobs, world):
        assert diagnosis_of(settings, "workers").health is Health.OK


def test_a_service_that_only_keeps_its_jobs_here_is_told_of_no_worker(world: World) -> None:
    with jobctl.JobDict(ServiceJob, world.url) as served:
        served["a"] = ServiceJob("a")
    assert diagnosis(world, "workers") == health.ok("0 jobs due, 0 workers running")
    with world.site() as site:
        assert show_job(site, "a").lack == ""
    # What is enqueued waits all the same, and so does what a worker once took.
    with jobctl.Queue(world.url) as queue:
        queue.enqueue("dance", None)
    assert "1 job (dance) has been due" in diagnosis(world, "workers").said
    with world.site() as site, site.store.write() as connection:
        now = site.store.now(connection)
        tell_tasks(connection, "w1", {"presentation": {}}, troubles=[], since=now)
    assert "2 jobs (dance, presentation) have been due" in diagnosis(world, "workers").said


def test_workers_that_declare_a_task_differently_are_told_until_they_are_of_one_version(world: World) -> None:
    with world.site() as site, site.store.write() as connection:
        now = site.store.now(connection)
        for worker, retries in (("w1", 2), ("w2", 5)):
            holder = Holder(worker, Executor("host-b", "boot", 1, 1), ("default",))
            workers.register(
                connection, holder, tasks=["render"], slots=1, isolation="thread", lease_s=60.0, at=now
            )
            specs = {"render": {"queue": "default", "retries": retries}}
            tell_tasks(connection, worker, specs, troubles=[], since=now)
    found = diagnosis(world, "tasks")
    assert found.health is Health.WARN
    assert "2 retries (worker w1)" in found.said
    assert "5 retries (worker w2)" in found.said
    with world.site() as site, site.store.write() as connection:
        tell_tasks(connection, "w1", specs, troubles=["films does not import: SyntaxError: x"], since=now)
    assert "films does not import" in diagnosis(world, "tasks").said
    with world.site() as site, site.store.write() as connection:
        tell_tasks(connection, "w1", specs, troubles=[], since=now)
    assert diagnosis(world, "tasks").health is Health.OK


def test_the_jobs_of_a_killed_worker_are_told_and_given_back(world: World, tmp_path: Path) -> None:
    enqueue_waiting(world, tmp_path, "a")
    with child(take_jobs, world):
        assert diagnosis(world, "leases").said == "1 job held by living workers"
    found = diagnosis(world, "leases")
    assert (found.health, "worker w1 on host-a, which is lost" in found.said) == (Health.FAIL, True)
    assert diagnosis(world, "running-jobs").health is Health.OK
    mend(world, found)
    assert diagnosis(world, "leases").health is Health.OK
    with world.site() as site, site.store.read() as connection:
        assert get_job(connection, "a").status is Status.QUEUED


def test_a_worker_that_ended_long_ago_is_remembered_while_its_jobs_wait(world: World, tmp_path: Path) -> None:
    enqueue_waiting(world, tmp_path, "a")
    with child(take_jobs, world):
        pass
    with world.site() as site, site.store.write() as connection:
        now = site.store.now(connection)
        workers.end_worker(connection, "w1", "lost", at=now)
        workers.forget_workers(connection, before=now + timedelta(seconds=1))
    found = diagnosis(world, "leases")
    assert (found.health, "worker w1 on host-a" in found.said) == (Health.FAIL, True)
    mend(world, found)
    assert diagnosis(world, "leases").health is Health.OK
    with world.site() as site, site.store.write() as connection:
        workers.forget_workers(connection, before=now + timedelta(seconds=1))
        assert vitals.worker_last_seen(connection) is None


# --- before a deploy -----------------------------------------------------------------------------


def test_before_a_deploy_running_jobs_are_told_with_host_and_pid_and_drained(
    world: World, tmp_path: Path
) -> None:
    enqueue_waiting(world, tmp_path, "a", "b")
    with manned(world) as crew:
        worker = crew.start("--grace", "1s")
        crew.until(lambda: all(crew.job(each).status is Status.PROCESSING for each in "ab"))
        found = diagnosis(world, "running-jobs")
        assert found.health is Health.FAIL
        assert found.said == (
            "2 jobs running: drain first, or they will be interrupted; "
            f"2 on {world.host} (worker pid {worker.pid})"
        )
        assert found.command == f"kill -TERM {worker.pid}"
        mend(world, found)
        worker.wait()
        assert diagnosis(world, "running-jobs").health is Health.OK
        assert Status.PROCESSING not in {crew.job(each).status for each in "ab"}


def test_before_a_deploy_another_hosts_workers_are_told_in_words(world: World, tmp_path: Path) -> None:
    enqueue_waiting(world, tmp_path, "a")
    with child(take_jobs, world) as worker:
        found = diagnosis(replace(world, host="host-b"), "running-jobs")
        assert (found.health, found.command) == (Health.FAIL, "")
        assert f"on host-a: kill -TERM {worker.pid}" in found.fix


def test_before_a_deploy_the_jobs_of_a_service_are_told_too_but_not_those_of_the_dead(world: World) -> None:
    world.start_job(0, executor=current_executor("host-a"))
    world.start_job(1)
    world.start_job(2, executor=dead_executor())
    found = diagnosis(world, "running-jobs")
    assert found.said.startswith("2 jobs running")
    assert "1 on host-a (a service)" in found.said
    assert "1 on an unknown host (a service)" in found.said
    assert "let the service take no new jobs" in found.fix


# --- what runs by itself -------------------------------------------------------------------------


@pytest.fixture
def uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No schedule of this machine's own."""
    monkeypatch.setattr(work, "installed_for_s", lambda: None)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule that is an hour old."""
    monkeypatch.setattr(work, "installed_for_s", lambda: 3_600.0)


def ended(world: World, command: str, *, ago: timedelta = timedelta(0)) -> None:
    """A command ended well."""
    with world.site() as site:
        lastruns.end(site, command, started=store_now(site), code=ExitCode.CLEAN, error=None)
        with site.store.write() as connection:
            at = site.store.now(connection) - ago
            table = site.store.dialect.table("last_run")
            connection.exec_driver_sql(
                f"UPDATE {table} SET succeeded_at = '{at:%Y-%m-%dT%H:%M:%S.%f}Z' WHERE command = '{command}'"
            )


@pytest.mark.usefixtures("uninstalled")
def test_where_nothing_runs_by_itself_the_command_that_installs_it_is_named(world: World) -> None:
    found = diagnosis(world, "schedule")
    assert (found.health, found.command) == (Health.WARN, "jobctl schedule --install --yes")
    for command in ("recover", "expire", "cleanup", "quarantine purge"):
        ended(world, command)
    assert diagnosis(world, "schedule").health is Health.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes the machine's schedule")
def test_the_command_that_is_named_installs_a_schedule(
    embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_CRON_PLACE", "_SYSTEM_PLACE"):
        monkeypatch.setattr(schedule, name, str(tmp_path / name))
    found = diagnosis(embedded, "schedule")
    assert found.health is Health.WARN
    mend(embedded, found)
    assert diagnosis(embedded, "schedule") == health.ok("installed; nothing was due yet")


def test_an_installed_schedule_may_not_have_been_due_yet(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "installed_for_s", lambda: 60.0)
    assert diagnosis(world, "schedule").health is Health.OK


@pytest.mark.usefixtures("installed")
def test_a_command_that_has_not_ended_well_for_long_is_told(world: World) -> None:
    # Cleanup was left out of the schedule on purpose.
    ended(world, "recover")
    ended(world, "expire", ago=timedelta(hours=5))
    found = diagnosis(world, "schedule")
    assert (found.health, found.said) == (Health.WARN, "expire last ended well 5 h ago")
    ended(world, "expire")
    assert re.fullmatch(r"recover \d+ s ago, expire \d+ s ago", diagnosis(world, "schedule").said)


@pytest.mark.usefixtures("installed")
def test_a_command_that_never_ended_well_is_told(world: World) -> None:
    with world.site() as site:
        lastruns.end(site, "cleanup", started=store_now(site), code=ExitCode.ROOT, error="away")
    found = diagnosis(world, "schedule")
    assert (found.health, found.said) == (Health.WARN, "cleanup never ended well")


@pytest.mark.usefixtures("_tools")
def test_where_no_backup_is_known_the_command_that_is_named_makes_one(world: World) -> None:
    found = diagnosis(world, "backup")
    assert (found.health, found.said) == (Health.WARN, "no backup is known")
    mend(world, found)
    assert diagnosis(world, "backup").health is Health.OK


@pytest.mark.parametrize(("days", "health"), [(0.5, Health.OK), (3, Health.WARN), (30, Health.FAIL)], ids=str)
def test_the_age_of_the_newest_backup_is_told(world: World, days: float, health: Health) -> None:
    assert diagnosis(world, "backup").said == "no backup is known"
    ended(world, "backup", ago=timedelta(days=days))
    assert diagnosis(world, "backup").health is health
