"""Where no worker runs, ``jobctl expire`` rescues the jobs of those that are lost."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import jobctl
from cli.calling import answer, call
from jobctl import clock
from jobctl.model.status import Status
from jobctl.ops.init import initialise
from jobctl.settings import load_settings
from jobctl.store import workers
from runner.working import Crewed


@pytest.fixture
def root(crew: Crewed, tmp_path: Path) -> Path:
    made = tmp_path / "outputs"
    made.mkdir()
    settings = load_settings(database=crew.url, environ={})
    initialise(settings, roots=[str(made)], layout="presentations", host_local=False, now=clock.now())
    return made


def lose(crew: Crewed, task: str, payload: object, sign: Path, how: signal.Signals) -> str:
    """Have a worker run a job until ``sign`` is there, and then be lost."""
    with jobctl.Queue(crew.url) as queue:
        job_id = queue.enqueue(task, payload).job_id
    worker = crew.start(slots=1)
    crew.until(lambda: any(sign.parent.glob(sign.name.format(job_id=job_id))))
    if how is signal.SIGKILL:
        worker.kill()
        worker.wait()
    else:
        crew.pause(worker)
    return job_id


def leases(crew: Crewed) -> int:
    with crew.store.read() as connection:
        return len(workers.leased_jobs(connection))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_workers_job_is_queued_again_and_its_lease_is_gone(
    crew: Crewed, root: Path, tmp_path: Path, how: signal.Signals
) -> None:
    job_id = lose(crew, "wait", str(tmp_path), tmp_path / "{job_id}.1", how)
    if how is signal.SIGSTOP:
        crew.until(
            lambda: call("expire", "--dry-run", database=crew.url).stderr.count("is lost (no heartbeat")
        )
    result = answer("expire", "--yes", database=crew.url)
    assert (crew.job(job_id).status, leases(crew)) == (Status.QUEUED, 0)
    assert "it held 1 job" in result["warnings"][0]
    assert answer("expire", "--yes", database=crew.url)["warnings"] == []


def test_a_video_that_was_published_before_the_death_completes_its_job(crew: Crewed, root: Path) -> None:
    payload = {"root": str(root), "then": "wait"}
    job_id = lose(crew, "film", payload, root / "published", signal.SIGKILL)
    assert call("expire", "--yes", database=crew.url).exit_code == 0
    job = crew.job(job_id)
    assert (job.status, job.attempt) == (Status.COMPLETED, 1)


def test_a_whole_file_that_the_lost_attempt_never_published_is_not_taken_for_its_video(
    crew: Crewed, root: Path, tmp_path: Path
) -> None:
    """Whose it is cannot be told from its name alone: an older attempt may have come back for it."""
    from media import encode  # noqa: PLC0415

    job_id = lose(crew, "wait", str(tmp_path), tmp_path / "{job_id}.1", signal.SIGKILL)
    encode(root / f"presentation_{job_id}.mp4", seed=7)
    recovered = answer("recover", "--yes", database=crew.url)
    assert (recovered["counts"]["done"], crew.job(job_id).status) == (0, Status.PROCESSING)
    call("expire", "--yes", database=crew.url)
    assert crew.job(job_id).status is Status.QUEUED


def test_a_living_workers_job_is_left_alone(crew: Crewed, root: Path, tmp_path: Path) -> None:
    with jobctl.Queue(crew.url) as queue:
        job_id = queue.enqueue("wait", str(tmp_path)).job_id
    crew.start(slots=1)
    crew.until((tmp_path / f"{job_id}.1").exists)
    assert answer("expire", "--yes", database=crew.url)["warnings"] == []
    assert crew.job(job_id).status is Status.PROCESSING


def test_without_a_yes_and_a_terminal_nothing_is_rescued(crew: Crewed, root: Path, tmp_path: Path) -> None:
    job_id = lose(crew, "wait", str(tmp_path), tmp_path / "{job_id}.1", signal.SIGKILL)
    refused = answer("expire", database=crew.url)
    assert refused["exit_code"] == 5
    assert refused["errors"][0]["hint"].startswith("rescue them: jobctl expire --yes")
    assert (crew.job(job_id).status, leases(crew)) == (Status.PROCESSING, 1)
