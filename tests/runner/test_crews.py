"""Crews whose worker has no file left to open, or that ended while jobs were taken: nothing is charged."""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobctl import clock
from jobctl.core.settling import NotBegun, Returned
from jobctl.model.attempts import Claim
from jobctl.runner import limits, process_crew
from jobctl.runner.crew import Ended, Report, Setup
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
            assert not crews.keep(clock.monotonic(), needed=[])
        assert (
            said[-1] == "the process that runs handlers cannot be started: Too many open files; tried again"
        )
        assert crews.keep(crews.next_start_at, needed=[])


def test_once_nothing_is_to_begin_a_crew_that_ends_is_never_due_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that waits for its store as it ends would find it due each time, and never sleep."""
    with ready_crews("process", tmp_path, monkeypatch, []) as crews:
        crew = crews.start([])
        crews.begin_no_more("its worker was asked to stop")
        crew.kill()
        assert crews.next_start_at == float("inf")
        assert not crews.keep(clock.monotonic(), needed=[])


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


def test_what_waits_for_a_slot_and_is_to_be_killed_is_never_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As what was taken ahead by a worker that was given up: its job is somebody else's by then."""
    with ready_crews("process", tmp_path, monkeypatch, []) as crews:
        crew = crews.start([CLAIM._replace(job_id="runs", kind="endless"), CLAIM])
        crew.signal(CLAIM.id, signal.SIGKILL)
        assert crews.reports() == [Ended(CLAIM.id, NotBegun("it was asked to stop before it began"))]


def test_a_thread_that_is_asked_to_stop_before_it_begins_hears_of_it_as_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nothing but the end of its process would stop it, and of all that run there."""
    with ready_crews("thread", tmp_path, monkeypatch, []) as crews:
        first = CLAIM._replace(job_id="first", kind="wait", payload=json.dumps(str(tmp_path)))
        second = first._replace(job_id="second", payload=json.dumps(str(tmp_path / "nowhere")))
        (tmp_path / "nowhere").mkdir()
        crew = crews.start([first, second])
        crew.ask_to_stop(second.id)
        (tmp_path / "go").touch()
        ends = [report for report in heard(crews, 2) if isinstance(report, Ended)]
        assert ends == [
            Ended(first.id, Returned(json.dumps("went"))),
            Ended(second.id, Returned(json.dumps("stopped"))),
        ]


@pytest.mark.parametrize(
    ("isolation", "kind"), [("process", "digs"), ("process", "digs-and-dies"), ("thread", "digs")]
)
def test_scratch_is_gone_once_the_end_of_its_attempt_is_told_and_no_worker_had_to_remove_it(
    isolation: str, kind: str, deep_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To remove a hundred thousand files takes longer than a lease on some disks, and nobody would beat."""
    with ready_crews(isolation, deep_place, monkeypatch, []) as crews:
        monkeypatch.setattr("shutil.rmtree", None)
        crews.start([CLAIM._replace(kind=kind)])
        (ended,) = heard(crews, 1)
        assert isinstance(ended, Ended)
        assert list(deep_place.iterdir()) == []


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_process_that_does_not_end_as_it_is_killed_is_told_and_not_waited_for_without_end(
    isolation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker would not beat for as long as that waits for a disk, and lose all it runs."""
    said: list[str] = []
    with ready_crews(isolation, tmp_path, monkeypatch, said) as crews:
        crew = crews.start([])
        guards = Path(f"/proc/{crew.pid}/task/{crew.pid}/children").read_text().split()
        for pid in (*map(int, guards), crew.pid):
            os.kill(pid, signal.SIGSTOP)
        with monkeypatch.context() as hanging:
            hanging.setattr(limits, "kill", lambda _: None)
            hanging.setattr(subprocess.Popen, "kill", lambda _: None)
            hanging.setattr(limits, "_ENDS_WITHIN_S", 0.1)
            hanging.setattr(process_crew, "_END_WITHIN_S", 0.1)
            crew.kill()
            assert crews.keep(crews.next_start_at, needed=[])
        assert f"pid {crew.pid} was to be killed and does not end" in "".join(said)
        assert crews.start([]) is not crew
    assert crew.pid not in limits.strays()


def heard(crews: Crews, count: int) -> list[Report]:
    """So many reports."""
    found: list[Report] = []
    deadline = clock.monotonic() + 60.0
    while len(found) < count and clock.monotonic() < deadline:
        crews._selector.select(1.0)
        found += crews.reports()
    return found


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
            crews.begin(Setup(("handlers", "tempers"), Work(), 1, str(place)))
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
