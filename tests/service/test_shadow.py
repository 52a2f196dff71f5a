"""A service changes over: it writes its dict and the store, and loses nothing while one of them is away."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import jobctl
from cli.calling import call
from jobctl import clock
from jobctl.errors import IllegalTransition, UsageError
from jobctl.ops.shadow_journal import read_journals
from jobctl.service import jobdict_shadow
from jobctl.store.engine import Store
from service.jobs_of_a_service import PresentationJob
from service.outages import away, bring_back, hold

Jobs = jobctl.JobDict[PresentationJob]
Held = dict[str, PresentationJob]
Opens = Callable[..., Jobs]
HERE = Path(__file__).parent


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "shadow"


@pytest.fixture
def opened(store_url: str, journal: Path) -> Iterator[Opens]:
    """Open the jobs with a dict beside them, comparing only when asked to."""
    with ExitStack() as stack:

        def opens(held: Held, **options: Any) -> Jobs:
            settings: dict[str, Any] = {"compare_every": 0, "shadow_journal": str(journal), **options}
            return stack.enter_context(jobctl.JobDict(PresentationJob, store_url, shadow=held, **settings))

        yield opens


@pytest.fixture
def recorded(store_url: str) -> Iterator[Jobs]:
    """What is in the store."""
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        yield jobs


def doctor(store_url: str, journal: Path) -> dict[str, Any]:
    """What ``jobctl doctor --migration`` says."""
    env = {"JOBCTL_SHADOW_JOURNAL": str(journal)}
    result = call("doctor", "--migration", "--only", "migration", "--json", database=store_url, env=env)
    assert result.exit_code == 0
    (item,) = json.loads(result.stdout)["data"]["items"]
    found: dict[str, Any] = item
    return found


def until(is_so: Callable[[], bool]) -> None:
    deadline = clock.monotonic() + 60
    tick = Event()
    while not is_so():
        assert clock.monotonic() < deadline, "it never came to that"
        tick.wait(0.02)


def test_both_are_written_and_the_dict_is_read(opened: Opens, recorded: Jobs) -> None:
    held: Held = {}
    jobs = opened(held)
    jobs["a"] = job = PresentationJob("a")
    job.status = "processing"
    job.created_files.append("a.mp4")
    with jobs.edit("a") as edited:
        edited.progress = 40
    assert held == {"a": job}
    assert jobs["a"] is held["a"] is job
    assert recorded["a"] == job
    recorded["b"] = PresentationJob("b")
    assert (list(jobs), len(jobs), "b" in jobs, jobs.get("b")) == (["a"], 1, False, None)
    del jobs["a"]
    assert (held, "a" in recorded) == ({}, False)
    with pytest.raises(KeyError):
        del jobs["b"]
    assert "b" in recorded


def test_a_loud_line_says_what_is_read_and_whether_it_persists(
    opened: Opens, store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    opened({})
    assert "read from the dict in memory, WHICH DOES NOT PERSIST" in caplog.text
    opened({}, reads="store")
    assert "read from the store" in caplog.text
    assert "WHICH PERSISTS" in caplog.text
    with away(store_url):
        opened({}, reads="store")
    assert "THE STORE IS AWAY" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING, logging.ERROR}


def test_what_the_dict_holds_already_is_recorded_at_the_start(opened: Opens, recorded: Jobs) -> None:
    held = {"a": PresentationJob("a", "processing", 30), "b": PresentationJob("b", "completed")}
    opened(held)
    held["a"].progress = 31
    assert {job_id: (job.status, job.progress) for job_id, job in recorded.items()} == {
        "a": ("processing", 31),
        "b": ("completed", 0),
    }


@pytest.mark.parametrize("reads", ["shadow", "store"])
def test_while_the_store_is_away_the_dict_goes_on_and_is_replayed(
    opened: Opens, recorded: Jobs, store_url: str, journal: Path, reads: str
) -> None:
    held: Held = {}
    jobs = opened(held, reads=reads)
    for job_id in "abc":
        jobs[job_id] = PresentationJob(job_id)
    with away(store_url):
        jobs["a"].status = "processing"
        jobs["a"].progress = 60
        jobs["a"].created_files.append("a.png")
        jobs["new"] = PresentationJob("new")
        jobs["new"].status = "processing"
        with jobs.edit("b") as job:
            job.status, job.error = "failed", "why"
        del jobs["c"]
        assert sorted(jobs) == ["a", "b", "new"]
        assert jobs["a"].progress == 60
        (state,) = read_journals(str(journal))
        assert state.dirty == {"a", "b", "c", "new"}
        found = doctor(store_url, journal)
        assert (found["health"], "4 jobs" in found["said"]) == ("warn", True)
    compared = jobs.compare()
    assert compared.differing == []
    assert dict(recorded.items()) == held
    assert (recorded["a"].progress, recorded["new"].status, "c" in recorded) == (60, "processing", False)
    (state,) = read_journals(str(journal))
    assert state.dirty == set()
    assert doctor(store_url, journal)["health"] == "ok"


def test_an_error_in_an_edit_takes_back_nothing_that_the_store_has_still_to_learn(
    opened: Opens, recorded: Jobs, store_url: str
) -> None:
    jobs = opened({})
    jobs["a"] = job = PresentationJob("a")
    with away(store_url):
        job.error = "only the dict knows"
        job.created_files.append("a.png")
        jobs["new"] = PresentationJob("new", error="new")
        for job_id in ("a", "new"):
            with pytest.raises(ZeroDivisionError), jobs.edit(job_id) as edited:
                edited.error = "wrong"
                raise ZeroDivisionError
        assert (job.error, job.created_files) == ("only the dict knows", ["a.png"])
    jobs.compare()
    assert (recorded["a"].error, recorded["a"].created_files) == ("only the dict knows", ["a.png"])
    assert recorded["new"].error == "new"


def test_a_lock_that_somebody_keeps_stops_nobody(
    opened: Opens, recorded: Jobs, store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobdict_shadow, "_PATIENCE_S", 0.1)
    jobs = opened({})
    jobs["a"] = PresentationJob("a")
    with store.write() as connection:
        hold(connection, store_url)
        jobs["a"].error = "told"
        jobs["a"].created_files.append("a.png")
        assert jobs["a"].error == "told"
    assert recorded["a"].error is None
    jobs.compare()
    assert (recorded["a"].error, recorded["a"].created_files) == ("told", ["a.png"])


def test_it_is_replayed_without_being_asked(opened: Opens, recorded: Jobs, store_url: str) -> None:
    jobs = opened({}, compare_every=300)
    with away(store_url):
        jobs["a"] = PresentationJob("a")
    until(lambda: "a" in recorded)


def test_an_outage_at_the_start_stops_nobody(opened: Opens, recorded: Jobs, store_url: str) -> None:
    held = {"old": PresentationJob("old")}
    with away(store_url):
        jobs = opened(held)
        jobs["new"] = PresentationJob("new")
    jobs.compare()
    assert sorted(recorded) == ["new", "old"]


def test_what_the_store_refuses_the_dict_takes_and_it_is_counted(
    opened: Opens, recorded: Jobs, store_url: str, journal: Path
) -> None:
    jobs = opened({})
    jobs["a"] = job = PresentationJob("a", "completed")
    job.status = "processing"
    assert (jobs["a"].status, recorded["a"].status) == ("processing", "completed")
    (differing,) = jobs.compare().differing
    assert (differing.job_id, "not allowed" in differing.why) == ("a", True)
    found = doctor(store_url, journal)
    assert (found["health"], "a (" in found["said"]) == ("warn", True)
    # What it refused is told even where both say the same again.
    job.status = "completed"
    assert jobs.compare().differing == []
    (state,) = read_journals(str(journal))
    assert state.refused == 1
    found = doctor(store_url, journal)
    assert (found["health"], "refused" in found["said"]) == ("warn", True)


def test_where_the_store_is_read_it_is_right_to_refuse(opened: Opens) -> None:
    jobs = opened({}, reads="store")
    jobs["a"] = job = PresentationJob("a", "completed")
    with pytest.raises(IllegalTransition):
        job.status = "processing"
    assert job.status == "completed"


def test_what_changed_on_both_sides_is_listed_and_left_alone(
    opened: Opens, recorded: Jobs, store_url: str
) -> None:
    jobs = opened({})
    jobs["a"] = PresentationJob("a", "processing")
    recorded["a"].progress = 70
    with away(store_url):
        jobs["a"].progress = 50
    (differing,) = jobs.compare().differing
    assert (differing.job_id, "progress" in differing.why) == ("a", True)
    assert (jobs["a"].progress, recorded["a"].progress) == (50, 70)
    # The dict's word counts once it is given anew.
    jobs["a"] = copy.copy(jobs["a"])
    assert (jobs.compare().differing, recorded["a"].progress) == ([], 50)


def test_a_difference_is_logged_once_and_again_when_it_is_another_one(
    opened: Opens, recorded: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = opened({})
    jobs["a"] = PresentationJob("a", "processing")
    told = []
    for change in (
        lambda: setattr(recorded["a"], "error", "operator"),
        lambda: None,
        lambda: setattr(recorded["a"], "progress", 70),
    ):
        change()
        caplog.clear()
        jobs.compare()
        told.append("job a differs" in caplog.text)
    assert told == [True, False, True]


def test_what_another_writer_changed_in_the_store_is_told(opened: Opens, recorded: Jobs) -> None:
    jobs = opened({})
    jobs["a"] = PresentationJob("a", "processing")
    recorded["a"].error = "operator"
    (differing,) = jobs.compare().differing
    assert differing.why.startswith("error")
    assert "changed in the store" in differing.why
    del recorded["a"]
    (differing,) = jobs.compare().differing
    assert "deleted in the store" in differing.why


def test_once_the_store_is_read_another_writers_change_is_no_difference(
    opened: Opens, recorded: Jobs
) -> None:
    jobs = opened({}, reads="store")
    jobs["a"] = PresentationJob("a", "processing")
    recorded["a"].error = "operator"
    assert jobs.compare().differing == []
    assert jobs["a"].error == "operator"


def test_once_the_store_is_read_a_restart_loses_nothing(opened: Opens) -> None:
    opened({})["a"] = PresentationJob("a", "completed")
    held: Held = {}
    jobs = opened(held, reads="store")
    assert jobs["a"].status == "completed"
    assert (list(jobs), held) == (["a"], {})


def test_async_code_reads_and_writes_both(opened: Opens, recorded: Jobs, store_url: str) -> None:
    held: Held = {}
    jobs = opened(held)
    jobs["a"] = PresentationJob("a")

    async def handler() -> None:
        handle = await jobs.update("a", status="processing", progress=5)
        assert (handle.status, held["a"].progress) == ("processing", 5)
        with away(store_url):
            await jobs.update("a", progress=6)
            found = await jobs.fetch("a")
            assert found is not None
            assert found.progress == 6
        assert await jobs.fetch("b") is None

    asyncio.run(handler())
    jobs.compare()
    assert recorded["a"].progress == 6


SERVICE = """
import sys
import jobctl
from service.jobs_of_a_service import PresentationJob
from service.outages import away
url, journal = sys.argv[1:]
jobs = jobctl.JobDict(PresentationJob, url, shadow={}, shadow_journal=journal, compare_every=0)
jobs["safe"] = PresentationJob("safe")
with away(url):
    jobs["lost-1"] = PresentationJob("lost-1")
    jobs["safe"].progress = 10
    print("dirty", flush=True)
    sys.stdin.readline()
sys.exit()
"""


def test_what_was_dirty_when_a_process_died_is_told_as_lost(
    opened: Opens, store_url: str, journal: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(SERVICE)
    with subprocess.Popen(
        [sys.executable, str(script), store_url, str(journal)],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "dirty\n"
        (state,) = read_journals(str(journal))
        assert not state.is_lost
        service.send_signal(signal.SIGKILL)
    found = doctor(store_url, journal)
    assert found["health"] == "fail"
    bring_back(store_url)
    jobs = opened({})
    assert "LOST: lost-1, safe" in caplog.text
    found = doctor(store_url, journal)
    assert (found["health"], "lost-1, safe" in found["said"]) == ("fail", True)
    subprocess.run(found["command"], shell=True, check=True)
    jobs.compare()
    assert doctor(store_url, journal)["health"] == "ok"


def test_a_journal_that_cannot_be_written_stops_nobody(
    opened: Opens, recorded: Jobs, store_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    jobs = opened({}, shadow_journal=str(tmp_path / "file" / "below"))
    assert "no journal" in caplog.text
    with away(store_url):
        jobs["a"] = PresentationJob("a")
    jobs.compare()
    assert "a" in recorded


def test_a_line_of_the_journal_that_was_cut_short_is_none(opened: Opens, journal: Path) -> None:
    opened({})
    (file,) = journal.iterdir()
    with file.open("ab") as end:
        end.write(b'{"dirty": ["whole"]}\nno JSON\n{"dirty": ["ha')
    (state,) = read_journals(str(journal))
    assert state.dirty == {"whole"}


def test_a_service_that_ends_well_leaves_no_journal(opened: Opens, journal: Path) -> None:
    opened({}).close()
    assert list(journal.iterdir()) == []


def test_without_a_journal_the_doctor_says_where_it_looked(store_url: str, journal: Path) -> None:
    found = doctor(store_url, journal)
    assert (found["health"], str(journal) in found["said"]) == ("unknown", True)


def test_there_is_nothing_to_compare_without_a_dict(recorded: Jobs) -> None:
    with pytest.raises(UsageError, match="no dict"):
        recorded.compare()
