"""What users of other queues complain of most cannot happen here: a test for each complaint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import jobctl
from jobctl import clock
from jobctl.ops.rescue import Rescued, Rescuer
from jobctl.ops.site import open_site
from jobctl.runner.neighbours import Neighbours
from jobctl.settings import load_settings
from jobctl.store import workers
from jobctl.store.engine import create_store
from jobctl.store.leases import Holder, open_leases
from runner.working import Crewed, crewed


def test_a_job_is_not_stuck_in_processing_after_a_deploy(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    """The old worker is killed for not ending in time; the new one runs its job."""
    queue.enqueue("wait", str(tmp_path), job_id="w1", max_attempts=2)
    old = crew.start()
    crew.until((tmp_path / "w1.1").exists)
    old.send_signal(signal.SIGSTOP)
    old.terminate()
    old.kill()
    old.wait()
    crew.start()
    crew.until((tmp_path / "w1.2").exists)
    (tmp_path / "go").touch()
    assert crew.until_ended("w1").status == "completed"


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_long_job_is_not_run_twice_while_its_worker_lives(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path, isolation: str
) -> None:
    """It burns every processor and never lets go of the interpreter; another watches for a lease.

    That is known by a third one, of which nothing is but its record: it is given up meanwhile.
    """
    queue.enqueue("hold-everything", {"place": str(tmp_path)}, job_id="h1", max_attempts=3)
    crew.start("--isolation", isolation, tasks="greedy", slots=1)
    crew.until((tmp_path / "1").exists)
    with open_site(load_settings(database=crew.url, environ={})) as site:
        register(crew.store, "silent", site.executor._replace(host="elsewhere"), lease_s=2.0)
    crew.start("--isolation", isolation, tasks="greedy", slots=1)
    crew.until(lambda: "worker silent is lost: no heartbeat for 2 s" in crew.said())
    (tmp_path / "go").touch()
    job = crew.until_ended("h1")
    assert (job.status, job.attempt) == ("completed", 1)
    assert sorted(path.name for path in tmp_path.glob("[0-9]")) == ["1"]
    assert crew.said().count("is lost") == 1


def test_a_worker_lives_on_while_it_looks_through_a_lost_ones_videos(crew: Crewed, tmp_path: Path) -> None:
    with open_site(load_settings(database=crew.url, environ={})) as site:
        register(site.store, "gone", site.executor._replace(boot_id="an earlier one"))
        holder = Holder("living", site.executor, ("default",))
        may_end, seen = threading.Event(), list[Rescued]()
        neighbours = Neighbours(site, holder, lease_s=2.0, say=lambda _: None)

        class Slow(Rescuer):
            def is_needed(self) -> bool:
                return True

            def rescue(self) -> list[Rescued]:
                may_end.wait(60)
                return [Rescued("j1", 1, "queued", "gone")]  # type: ignore[arg-type]

        neighbours._rescuer = Slow(site, actor="test", warn=print)
        leases = open_leases(site.store, holder)
        line = Visits(leases)
        for _ in range(3):
            seen += neighbours.look_after(line, clock.monotonic())  # type: ignore[arg-type]
        assert (seen, neighbours.is_rescuing) == ([], True)
        may_end.set()
        crew.until(lambda: bool(neighbours.look_after(line, clock.monotonic())))  # type: ignore[arg-type]
        assert not neighbours.is_rescuing
        leases.close()


class Visits:
    """A line to the store that never breaks."""

    def __init__(self, leases: object) -> None:
        self.leases = leases

    def visit(self, what: object) -> object:
        return what(self.leases)  # type: ignore[operator]


def test_a_stale_workers_result_does_not_win(crew: Crewed, queue: jobctl.Queue, tmp_path: Path) -> None:
    """It finishes its attempt after the job was given to another, whose result it does not replace."""
    queue.enqueue("number", str(tmp_path), job_id="n1")
    stale = crew.start(tasks="greedy")
    crew.until((tmp_path / "1").exists)
    crew.pause(stale)
    crew.start(tasks="greedy")
    crew.until((tmp_path / "2").exists)
    # The attempt of the stopped worker returns now, and its worker wakes up to that.
    (tmp_path / "go-1").touch()
    stale.send_signal(signal.SIGCONT)
    crew.until(lambda: "was given up by the others; it starts over" in crew.said())
    (tmp_path / "go-2").touch()
    assert crew.until_ended("n1").attempt == 2
    assert crew.result("n1") == 2
    assert crew.statuses("n1").count("completed") == 1


def test_a_job_is_not_lost_by_kill_9_while_it_has_retries(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    """First its process is killed, then its worker: each time it runs again."""
    queue.enqueue("number", str(tmp_path), job_id="n1", max_attempts=3)
    worker = crew.start(tasks="greedy")
    crew.until((tmp_path / "1").exists)
    os.kill(int((tmp_path / "1").read_text().split()[0]), signal.SIGKILL)
    crew.until((tmp_path / "2").exists)
    worker.kill()
    worker.wait()
    crew.start(tasks="greedy")
    (tmp_path / "go-3").touch()
    job = crew.until_ended("n1")
    assert (job.status, job.attempt) == ("completed", 3)


def test_a_poison_job_that_kills_its_worker_each_time_ends_failed(crew: Crewed, queue: jobctl.Queue) -> None:
    queue.enqueue("kills-its-worker", job_id="poison", max_attempts=1)
    first = crew.start(tasks="tempers")
    assert first.wait(timeout=120) == -signal.SIGKILL
    crew.start(tasks="tempers")
    job = crew.until_ended("poison")
    assert (job.status, job.error_code, job.attempt) == ("failed", "lease-lapsed", 1)
    assert (job.error or "").endswith("died or was cut off in attempt 1 of 1")


WRITER = """
import sys, jobctl
with jobctl.Queue(sys.argv[1]) as queue:
    for number in range(int(sys.argv[3])):
        queue.enqueue("fine", number, job_id=f"{sys.argv[2]}-{number}")
"""


def test_nobody_is_told_that_the_database_is_locked(tmp_path: Path) -> None:
    url, each, writers = str(tmp_path / "jobs.db"), 25, 4
    create_store(url, now=clock.now(), version="test")[0].close()
    with crewed(url) as crew:
        worker = crew.start("--isolation", "thread", tasks="tempers", slots=2)
        command = [sys.executable, "-c", WRITER, url]
        started = [subprocess.Popen([*command, str(n), str(each)]) for n in range(writers)]
        assert [process.wait() for process in started] == [0] * writers
        last = [f"{n}-{number}" for n in range(writers) for number in range(each)]
        crew.until(lambda: all(crew.job(job_id).status == "completed" for job_id in last))
        assert worker.poll() is None
        assert "locked" not in crew.said()


def test_a_workers_identity_is_not_taken_for_anothers_after_a_boot(crew: Crewed, queue: jobctl.Queue) -> None:
    """Its process id is some living process's now; what it held is rescued at once all the same."""
    with open_site(load_settings(database=crew.url, environ={})) as site:
        executor = site.executor._replace(boot_id="an earlier one")
    register(crew.store, "w1", executor)
    queue.enqueue("fine", job_id="f1", max_attempts=2)
    leases = open_leases(crew.store, Holder("w1", executor, ("default",)))
    assert [claim.job_id for claim in leases.take_turn([], 1, ["fine"]).claims] == ["f1"]
    leases.close()
    crew.start("--lease", "10m", tasks="tempers")
    job = crew.until_ended("f1")
    assert (job.status, job.attempt) == ("completed", 2)
    assert "worker w1 is lost: its process is gone" in crew.said()
    with crew.store.read() as connection:
        names = [row.worker_id for row in workers.list_workers(connection, every=True)]
    assert len(set(names)) == len(names) == 2


def register(store: object, name: str, executor: object, *, lease_s: float = 600.0) -> None:
    with store.write() as connection:  # type: ignore[attr-defined]
        workers.register(
            connection,
            Holder(name, executor, ("default",)),  # type: ignore[arg-type]
            tasks=["fine"],
            slots=1,
            isolation="process",
            lease_s=lease_s,
            at=clock.now(),
        )
