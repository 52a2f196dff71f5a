"""Crews whose worker has no file left to open, or that ended while jobs were taken: nothing is charged."""

from __future__ import annotations

import os
import resource
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobctl import clock
from jobctl.core.settling import NotBegun
from jobctl.model.attempts import Claim
from jobctl.runner.crew import Ended, Setup
from jobctl.runner.crews import Crews
from jobctl.work import Work

CLAIM = Claim("j1", 1, 0, 3, "greet", None, 0.0)


def test_without_a_file_to_open_an_attempt_is_handed_back_and_a_crew_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with ready_crews("process", tmp_path, monkeypatch, said) as crews:
        with no_file_to_open():
            crew = crews.start([CLAIM])
        assert crews.reports() == [
            Ended(CLAIM.id, NotBegun("no channel could be made for it: Too many open files", 5.0))
        ]
        crew.kill()
        with no_file_to_open():
            assert not crews.keep(clock.monotonic(), needed=[], begins=True)
        assert (
            said[-1] == "the process that runs handlers cannot be started: Too many open files; tried again"
        )
        assert crews.keep(crews.next_start_at, needed=[], begins=True)


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_what_was_taken_while_its_crew_ended_is_handed_back(
    isolation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ready_crews(isolation, tmp_path, monkeypatch, []) as crews:
        crews.start([]).kill()
        crews.start([CLAIM])
        (report,) = crews.reports()
        assert report.of == CLAIM.id
        assert isinstance(report, Ended)
        assert isinstance(report.ending, NotBegun)


@contextmanager
def ready_crews(
    isolation: str, place: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> Iterator[Crews]:
    """Crews whose handlers are imported."""
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent)]))
    with selectors.DefaultSelector() as selector:
        crews = Crews(isolation, selector, said.append)
        try:
            crews.begin(Setup(("handlers",), Work(), 1, str(place)))
            while not crews.is_ready:
                selector.select()
                crews.reports()
            yield crews
        finally:
            crews.end()


@contextmanager
def no_file_to_open() -> Iterator[None]:
    """A limit that is reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
