"""The runner as a whole: real workers, real children, real signals, on both databases."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import jobctl
from cli.calling import answer
from jobctl import clock
from jobctl.model.status import Status
from jobctl.ops.init import initialise
from jobctl.settings import load_settings
from jobctl.store import workers
from runner.working import Crewed


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_job_is_run_and_its_result_kept(crew: Crewed, queue: jobctl.Queue, isolation: str) -> None:
    made = queue.enqueue("greet", "you", job_id="g1")
    assert crew.run("--isolation", isolation) == 0
    job = crew.job(made.job_id)
    assert (job.status, job.attempt) == (Status.COMPLETED, 1)
    assert crew.statuses("g1") == ["queued", "processing", "completed"]
    # Its worker ended long before it would have beaten again.
    with crew.store.read() as connection:
        (worker,) = workers.list_workers(connection, every=True)
    assert (worker.state, worker.counters["completed"]) == ("stopped", 1)


def test_a_failure_is_tried_again_and_each_attempt_keeps_its_traceback(
    crew: Crewed, queue: jobctl.Queue
) -> None:
    queue.enqueue("fail", job_id="f1", max_attempts=2)
    crew.start()
    job = crew.until_ended("f1")
    assert (job.status, job.attempt) == (Status.FAILED, 2)
    traces = [
        event.detail["traceback"] for event in crew.history("f1") if (event.detail or {}).get("traceback")
    ]
    assert len(traces) == 2
    assert "ValueError: no" in traces[0]


def test_the_last_thing_a_handler_tells_is_shown_also_where_it_tells_much_at_once(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("hasty", str(tmp_path / "go"), job_id="h1")
    crew.start()
    crew.until(lambda: crew.job("h1").progress == 75)
    crew.until(lambda: "stalled" in str(crew.shown("h1")))
    (tmp_path / "go").touch()
    assert crew.until_ended("h1").status == Status.COMPLETED


def test_a_module_that_does_not_import_is_told_with_the_jobs_it_should_have_run(
    crew: Crewed, queue: jobctl.Queue
) -> None:
    queue.enqueue("greet", job_id="g1", max_attempts=1)
    crew.start(tasks="no_such_module")
    trouble = "no_such_module does not import: ModuleNotFoundError"
    crew.until(lambda: trouble in (crew.shown("g1")["lack"] or ""))
    assert "no worker knows the task greet" in crew.shown("g1")["lack"]
    crew.until(lambda: "1 job (greet) has been due" in crew.said())
    assert crew.statuses("g1") == ["queued"]
    assert trouble in " ".join(answer("workers", database=crew.url)["warnings"])


def test_two_services_share_a_queue_and_each_runs_its_own_jobs(crew: Crewed, queue: jobctl.Queue) -> None:
    queue.enqueue("greet", job_id="g1", max_attempts=1)
    queue.enqueue("fine", job_id="f1", max_attempts=1)
    crew.start(tasks="handlers", slots=1)
    crew.start(tasks="tempers", slots=1)
    ended = [crew.until_ended(job_id) for job_id in ("g1", "f1")]
    assert [(job.status, job.attempt) for job in ended] == [(Status.COMPLETED, 1)] * 2
    named = answer("enqueue", "fail", database=crew.url)
    assert named["warnings"] == []
    assert crew.job(named["data"]["job_id"]).max_attempts == 2, "as its decorator says"


def test_a_running_job_is_asked_to_stop_and_cancelled(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("wait", str(tmp_path), job_id="w1")
    crew.start()
    crew.until((tmp_path / "w1.1").exists)
    queue.cancel("w1")
    assert crew.until_ended("w1").status is Status.CANCELLED


def test_a_job_that_is_cancelled_while_its_time_is_over_is_not_tried_again(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("overdue", str(tmp_path), job_id="o1")
    crew.start()
    crew.until((tmp_path / "o1.1").exists)
    queue.cancel("o1")
    job = crew.until_ended("o1")
    assert (job.status, job.attempt) == (Status.CANCELLED, 1)


def test_what_was_taken_ahead_and_handed_back_says_so(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue_many(jobctl.Request("greet", "you") for _ in range(40))
    queue.enqueue("wait", str(tmp_path), job_id="w1")
    queue.enqueue_many(jobctl.Request("greet", "you", job_id=f"g{number}") for number in range(3))
    crew.start("--burst", slots=1)
    said = "it was taken ahead, and would have waited for a longer one"
    # It may be taken ahead again.
    crew.until(lambda: any((event.detail or {}).get("reason") == said for event in crew.history("g0")))
    (tmp_path / "go").touch()
    assert crew.until_ended("g0").status is Status.COMPLETED


def test_a_killed_workers_job_runs_again_on_another_and_nothing_is_lost(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("wait", str(tmp_path), job_id="w1")
    first = crew.start()
    crew.until((tmp_path / "w1.1").exists)
    first.kill()
    first.wait()
    assert [one["state"] for one in answer("workers", database=crew.url)["data"]["items"]] == ["lost"]
    crew.start()
    crew.until((tmp_path / "w1.2").exists)
    (tmp_path / "go").touch()
    assert crew.until_ended("w1").attempt == 2
    assert crew.statuses("w1") == ["queued", "processing", "queued", "processing", "completed"]


def test_a_paused_worker_loses_its_job_and_changes_nothing_when_it_comes_back(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("wait", str(tmp_path), job_id="w1")
    first = crew.start()
    crew.until((tmp_path / "w1.1").exists)
    crew.pause(first)
    crew.start()
    crew.until((tmp_path / "w1.2").exists)
    first.send_signal(signal.SIGCONT)
    crew.until(lambda: len(_states(crew, "running")) == 2)
    (tmp_path / "go").touch()
    job = crew.until_ended("w1")
    assert (job.status, job.attempt) == (Status.COMPLETED, 2)
    assert crew.statuses("w1").count("completed") == 1
    assert len(_states(crew, "lost")) == 1


def test_a_worker_that_is_asked_to_stop_hands_back_what_does_not_finish(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("wait", str(tmp_path), job_id="w1", max_attempts=1)
    first = crew.start("--grace", "1s")
    crew.until((tmp_path / "w1.1").exists)
    first.terminate()
    assert first.wait(timeout=120) == 0
    job = crew.job("w1")
    # The handler saw that it was asked, and returned: that is a job done.
    assert job.status is Status.COMPLETED
    queue.enqueue("stubborn", job_id="s1", max_attempts=1)
    second = crew.start("--grace", "1s")
    crew.until(lambda: crew.job("s1").status is Status.PROCESSING)
    second.terminate()
    second.terminate()
    assert second.wait(timeout=120) == 0
    assert crew.job("s1").status in {Status.QUEUED, Status.FAILED}


def test_what_an_earlier_attempt_published_is_moved_aside_by_the_next(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    root = _root(crew, tmp_path)
    queue.enqueue("film", {"root": str(root), "then": "raise"}, job_id="film-1")
    crew.start()
    job = crew.until_ended("film-1")
    assert (job.status, job.attempt) == (Status.COMPLETED, 2)
    assert len(list(root.glob(".jobctl/quarantine/*/1"))) == 1
    assert job.video_url == "/presentations/film-1/video"


def test_a_video_that_was_published_before_the_crash_completes_its_job(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    root = _root(crew, tmp_path)
    queue.enqueue("film", {"root": str(root), "then": "wait"}, job_id="film-1")
    first = crew.start()
    crew.until((root / "published").exists)
    first.kill()
    first.wait()
    crew.start()
    job = crew.until_ended("film-1")
    assert (job.status, job.attempt) == (Status.COMPLETED, 1)


def test_two_hundred_jobs_in_threads_each_run_once(crew: Crewed, queue: jobctl.Queue) -> None:
    count = queue.enqueue_many(jobctl.Request("greet", number, job_id=f"j{number}") for number in range(200))
    assert count == 200
    assert crew.run("--isolation", "thread", slots=4) == 0
    assert {crew.job(f"j{number}").status for number in range(200)} == {Status.COMPLETED}
    assert {crew.job(f"j{number}").attempt for number in range(200)} == {1}


def test_a_time_limit_in_threads_costs_that_job_alone_and_the_worker_goes_on(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    endless = queue.enqueue("endless", max_attempts=1)
    other = queue.enqueue("wait", str(tmp_path))
    crew.start("--isolation", "thread", slots=2)
    assert crew.until_ended(endless.job_id).error_code == "timeout"
    (tmp_path / "go").touch()
    assert crew.until_ended(other.job_id).status is Status.COMPLETED
    assert "queued" in crew.statuses(other.job_id)[1:], "it was handed back, and begun anew"


def _states(crew: Crewed, state: str) -> list[str]:
    with crew.store.read() as connection:
        found = workers.list_workers(connection, every=True)
    return [row.worker_id for row in found if row.state == state]


def _root(crew: Crewed, tmp_path: Path) -> Path:
    root = tmp_path / "outputs"
    root.mkdir()
    settings = load_settings(database=crew.url, environ={})
    initialise(settings, roots=[str(root)], layout="presentations", host_local=False, now=clock.now())
    return root
