"""The five minutes of docs/runner.md, as they are written there."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from sqlalchemy import select

import jobctl
from cli.calling import installed
from jobctl.settings import load_settings
from jobctl.store.engine import open_store
from jobctl.store.schema import job

PAGE = (Path(__file__).parents[2] / "docs" / "runner.md").read_text()
COMPOSE = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from media import encode

def compose(payload, scratch):
    return encode(Path(scratch, "made.mp4"), frames=payload["slides"])
"""


def test_the_five_minutes_are_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    example, enqueueing = (text.replace("/srv/outputs", str(outputs)) for text in blocks("python"))
    tests = str(Path(__file__).parents[1])
    (tmp_path / "films.py").write_text(example + COMPOSE.format(tests=tests))
    surroundings = {"JOBCTL_DATABASE_URL": str(tmp_path / "jobs.db"), "PYTHONPATH": ""}
    commands = [line[2:] for line in blocks("console")[0].splitlines() if line.startswith("$ ")]
    assert len(commands) == 4
    for command in commands:
        words = shlex.split(command.replace("/srv/outputs", str(outputs)))[1:]
        # As it stands there it goes on until it is asked to stop.
        words += ["--burst"] if words[0] == "worker" else []
        said = installed(*words, env=surroundings, cwd=tmp_path)
        assert said.returncode == 0, f"{command}\n{said.stdout}{said.stderr}"
    monkeypatch.setenv("JOBCTL_DATABASE_URL", surroundings["JOBCTL_DATABASE_URL"])
    exec(enqueueing, {"jobctl": jobctl, "payloads": [{"slides": 1}, {"slides": 2}]})
    said = installed("worker", "--tasks", "films", "--burst", env=surroundings, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    # The key of the second request is the first one's: it is the same job.
    assert len(list(outputs.glob("presentation_*.mp4"))) == 3
    store = open_store(load_settings(environ=os.environ).database)
    with store.read() as connection:
        assert list(connection.execute(select(job.c.status)).scalars()) == ["completed"] * 3
    store.close()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
