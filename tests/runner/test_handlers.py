"""What handlers and commands are given, and where they are found."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jobctl
from runner.working import Crewed

ODD = '-n $(touch "$HOME"/hit) `id` {payload} "\n'
PROGRAM = """
import json, os, sys
name, attempt, payload, scratch = sys.argv[1:]
with open(payload) as file:
    told = [name, attempt, json.load(file), os.environ["JOBCTL_JOB_ID"], os.environ["JOBCTL_ATTEMPT"]]
print(json.dumps([*told, os.path.dirname(payload) == scratch]))
"""


def test_a_command_is_told_of_its_job_word_by_word_however_odd_its_id_is(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    program = tmp_path / "tells.py"
    program.write_text(PROGRAM)
    words = [sys.executable, str(program), "{job_id}", "attempt-{attempt}", "{payload}", "{scratch}"]
    (tmp_path / "jobctl.toml").write_text(f"[tasks.tells]\ncommand = {json.dumps(words)}\n")
    queue.enqueue("tells", {"slides": 3}, job_id=ODD)
    assert crew.run("--config", str(tmp_path / "jobctl.toml"), HOME=str(tmp_path)) == 0
    assert crew.result(ODD) == [ODD, "attempt-1", {"slides": 3}, ODD, "1", True]
    assert not (tmp_path / "hit").exists()


def test_a_handler_is_found_by_an_entry_point_and_its_log_names_the_job(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    installed = tmp_path / "acme_films-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-films\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[jobctl.tasks]\nfilms = equipped\n")
    queue.enqueue("logs", job_id="l1")
    assert crew.run(PYTHONPATH=str(tmp_path)) == 0
    assert crew.job("l1").status == "completed"
    assert "job l1 attempt 1: drawing slide 3" in crew.said()


def test_an_async_handler_is_cancelled_once_its_attempt_is_asked_to_stop(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("awaits", str(tmp_path), job_id="a1")
    crew.start(tasks="equipped")
    crew.until((tmp_path / "began").exists)
    queue.cancel("a1")
    assert crew.until_ended("a1").status == "cancelled"
    assert (tmp_path / "cancelled").exists()
