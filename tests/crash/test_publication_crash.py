"""Killed, or failed by the disk, at any step of publishing anew: one whole video, the earlier one kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cli.calling import answer
from crash.faults import ASKS_FOR_ALL
from crash.program import Ended, Program
from jobctl import clock
from jobctl.model.enqueued import New
from jobctl.model.job import Job
from jobctl.model.status import Status
from jobctl.ops.init import initialise
from jobctl.settings import load_settings
from jobctl.store import jobs
from jobctl.store.engine import open_store
from jobctl.store.enqueue import enqueue
from media import encode

pytestmark = pytest.mark.crash

KILLED = [("before", "SIGKILL")]
ERRORS = [("after", "EIO"), ("before", "ENOSPC")]
EVERY = [(when, how) for how in ("SIGKILL", "EIO", "ENOSPC") for when in ("before", "after")]


def faults_of(number: int) -> list[tuple[str, str]]:
    """Killed before each effect, which is after the one before, and an error now and then; or all of them."""
    if ASKS_FOR_ALL:
        return EVERY
    return KILLED + (ERRORS if number % 4 == 1 else [])


class Stage:
    """A root, a store, and job after job that published once, failed after it, and is due again."""

    def __init__(self, url: str, place: Path, program: Program) -> None:
        self.url, self.program = url, program
        self.root = place / "outputs"
        self.root.mkdir()
        settings = load_settings(database=url, environ={})
        initialise(
            settings, roots=[str(self.root)], layout="presentations", host_local=False, now=clock.now()
        )
        self.store = open_store(url)
        self.films = [encode(place / f"film{seed}.mp4", seed=seed) for seed in range(3)]
        self.number = 0
        self.aside: dict[Path, bytes] = {}

    @property
    def job_id(self) -> str:
        return f"job-{self.number}"

    @property
    def final(self) -> Path:
        return self.root / f"presentation_{self.job_id}.mp4"

    def live(self, film: int, *how: str, fault: dict[str, Any] | None = None) -> Ended:
        return self.program.run(self.url, str(self.films[film]), str(self.final), *how, fault=fault)

    def prepare(self) -> bytes:
        """The next job, in its second attempt; what its first one published."""
        self.number += 1
        with self.store.write() as connection:
            job = Job(job_id=self.job_id, kind="film", max_attempts=9)
            enqueue(connection, New(job), actor="test", at=clock.now())
        assert self.live(0, "fails").returncode == 3
        return self.final.read_bytes()

    def expect_one_whole_video(self, earlier: bytes, told: str) -> None:
        """The job is completed, once, by the file that has its name; the earlier one is in quarantine."""
        with self.store.read() as connection:
            job = jobs.get_job(connection, self.job_id)
            artifacts = jobs.artifacts_of(connection, self.job_id)
            ended = [event.to_status for event in jobs.history(connection, self.job_id)]
        assert (job.status, ended.count(Status.COMPLETED)) == (Status.COMPLETED, 1), told
        (present,) = (each for each in artifacts if each.state == "present")
        assert self.final.exists(), f"{told}: no video has the name"
        assert present.sha256 == hashlib.sha256(self.final.read_bytes()).hexdigest(), told
        assert present.verdict == "whole", told
        places = self.root.glob(".jobctl/quarantine/*/[0-9]*")
        self.aside |= {path: path.read_bytes() for path in places if path not in self.aside}
        assert earlier in self.aside.values(), f"{told}: the earlier video is gone"

    def left_beside(self) -> list[str]:
        return [path.name for path in self.root.iterdir() if path.name.startswith(f".{self.job_id}.")]


@pytest.fixture
def stage(store_url: str, tmp_path: Path) -> Iterator[Stage]:
    with Program(tmp_path, "publication_launcher.py") as program:
        made = Stage(store_url, tmp_path, program)
        yield made
        made.store.close()


def expect_that_any_fault_heals(stage: Stage, *how: str) -> int:
    """Replace each effect of publishing anew by each fault, let a second worker live, and look."""
    for number in count(1):
        for when, fault in faults_of(number):
            earlier = stage.prepare()
            failed = stage.live(1, *how, fault={"number": number, "when": when, "how": fault})
            if number > len(failed.effects):
                stage.expect_one_whole_video(earlier, "no fault at all")
                return number - 1
            name = failed.effects[number - 1]
            told = f"{fault} {when} effect {number} ({name})"
            if (name, when, failed.returncode) == ("rename", "after", 0):
                # The first one fails by itself, since the name is taken: nothing comes after it.
                stage.expect_one_whole_video(earlier, told)
                continue
            assert failed.returncode == (-9 if fault == "SIGKILL" else 3), f"{told}\n{failed.stderr}"
            if fault != "SIGKILL":
                assert stage.left_beside() == [], told
            again = stage.live(2, *how)
            assert again.returncode == 0, f"{told}\n{again.stderr}"
            stage.expect_one_whole_video(earlier, told)
    raise AssertionError("it never ends")


def test_publishing_anew_heals_after_any_fault(stage: Stage) -> None:
    assert expect_that_any_fault_heals(stage) > 15
    assert answer("verify", database=stage.url)["data"]["items"] == []


def test_the_suite_catches_a_name_that_is_freed_without_a_journal(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="the earlier video is gone"):
        expect_that_any_fault_heals(stage, "careless")
