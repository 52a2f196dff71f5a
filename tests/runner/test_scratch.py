"""Scratch places: a killed worker's are cleared away by the next one, a living one's never."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

import jobctl
from jobctl import clock
from jobctl.runner.scratch import clear_left_behind, scratch_place
from runner.working import Crewed


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is TMPDIR for this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(place: Path, *, age_s: float = 120) -> Path:
    """A place with something in it, untouched for so long."""
    place.mkdir()
    (place / "frames.bin").write_bytes(b"frames")
    grow_old(place, age_s)
    return place


def grow_old(place: Path, age_s: float) -> None:
    then = clock.now().timestamp() - age_s
    os.utime(place, (then, then))


def test_what_a_killed_worker_left_is_cleared_away(temporary: Path) -> None:
    gone = [left(temporary / f"jobctl-scratch-{number}") for number in range(2)]
    assert clear_left_behind() == 2
    assert [place.exists() for place in gone] == [False, False]
    assert clear_left_behind() == 0


def test_a_living_workers_place_stays_and_goes_with_it(temporary: Path) -> None:
    with scratch_place() as place:
        grow_old(Path(place), 120)
        assert clear_left_behind() == 0
        assert os.path.isdir(place)
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("deep_place")
def test_a_place_goes_with_all_that_is_in_it_however_deep(temporary: Path) -> None:
    with scratch_place() as place:
        deep = f"{place}/deep"
        for _ in range(1_200):
            os.mkdir(deep)
            deep += "/d"
    assert list(temporary.iterdir()) == []


def test_what_is_young_or_no_place_of_a_worker_stays(temporary: Path) -> None:
    left(temporary / "jobctl-scratch-young", age_s=0)
    left(temporary / "somebody-elses")
    (temporary / "jobctl-scratch-file").write_bytes(b"")
    grow_old(temporary / "jobctl-scratch-file", 120)
    (temporary / "jobctl-scratch-link").symlink_to(temporary / "somebody-elses")
    before = sorted(temporary.iterdir())
    assert clear_left_behind() == 0
    assert sorted(temporary.iterdir()) == before
    assert (temporary / "somebody-elses" / "frames.bin").exists()


def test_a_worker_clears_away_what_a_killed_one_left(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    places, signs = tmp_path / "temporary", tmp_path / "signs"
    places.mkdir()
    signs.mkdir()
    queue.enqueue("wait", str(signs), job_id="first")
    killed = crew.start(TMPDIR=str(places))
    crew.until((signs / "first.1").exists)
    (place,) = places.glob("jobctl-scratch-*")
    killed.kill()
    killed.wait()
    grow_old(place, 120)
    crew.start(TMPDIR=str(places))
    crew.until(lambda: not place.exists())
    (signs / "go").touch()
    assert crew.until_ended("first").status == "completed"
