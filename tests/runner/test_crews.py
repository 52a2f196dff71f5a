"""A crew whose worker has no file left to open: nothing is charged for it, and it is tried again."""

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
from jobctl.model.attempts import AttemptId, Claim
from jobctl.runner.crew import Ended, Setup
from jobctl.runner.crews import Crews
from jobctl.work import Work


def test_without_a_file_to_open_an_attempt_is_handed_back_and_a_crew_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    )
    said: list[str] = []
    with selectors.DefaultSelector() as selector:
        crews = Crews("process", selector, said.append)
        try:
            crews.begin(Setup(("handlers",), Work(), 1, str(tmp_path)))
            while not crews.is_ready:
                selector.select()
                crews.reports()
            with no_file_to_open():
                crew = crews.start([Claim("j1", 1, 0, 3, "greet", None, 0.0)])
            assert crews.reports() == [
                Ended(
                    AttemptId("j1", 1), NotBegun("no channel could be made for it: Too many open files", 5.0)
                )
            ]
            crew.kill()
            with no_file_to_open():
                assert not crews.keep(clock.monotonic(), needed=[], begins=True)
            assert (
                said[-1]
                == "the process that runs handlers cannot be started: Too many open files; tried again"
            )
            assert crews.keep(crews.next_start_at, needed=[], begins=True)
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
