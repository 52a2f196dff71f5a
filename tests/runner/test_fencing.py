"""An attempt that was stopped between its permission to publish and the rename changes nothing afterwards."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import jobctl
from jobctl import clock
from jobctl.model.status import Status
from jobctl.ops.init import initialise
from jobctl.settings import load_settings
from jobctl.store import jobs
from runner.working import crewed


def test_a_file_that_a_stopped_attempt_names_late_is_moved_aside_and_never_counts(
    store_url: str, tmp_path: Path
) -> None:
    root = tmp_path / "outputs"
    root.mkdir()
    settings = load_settings(database=store_url, environ={})
    initialise(settings, roots=[str(root)], layout="presentations", host_local=False, now=clock.now())
    final = root / "presentation_film-1.mp4"
    with jobctl.Queue(store_url) as queue, crewed(store_url) as crew:
        queue.enqueue("film", str(root), job_id="film-1", max_attempts=4)
        first = crew.start(tasks="stopping")
        crew.until((root / "stopping").exists)
        crew.pause(first)
        second = crew.start(tasks="stopping")
        job = crew.until_ended("film-1")
        assert (job.status, job.attempt) == (Status.COMPLETED, 2)
        accepted = hashlib.sha256(final.read_bytes()).hexdigest()
        os.kill(int((root / "stopping").read_text()), signal.SIGCONT)
        first.send_signal(signal.SIGCONT)
        crew.until(lambda: second.poll() is None and _is_over(int((root / "stopping").read_text())))
        assert hashlib.sha256(final.read_bytes()).hexdigest() == accepted
        with crew.store.read() as connection:
            (artifact,) = jobs.artifacts_of(connection, "film-1")
        assert (artifact.sha256, artifact.state) == (accepted, "present")
        assert artifact.media is not None
        assert artifact.media["duration_s"] > 0
        assert crew.statuses("film-1") == ["queued", "processing", "queued", "processing", "completed"]


def _is_over(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
