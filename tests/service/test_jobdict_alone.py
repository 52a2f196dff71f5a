"""What nobody else has changed is written in one go: with the same result as what others write at as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import jobctl
from jobctl.errors import StaleJob
from jobctl.outputs import effects
from jobctl.store import jobs as records
from jobctl.store.engine import Store
from service.jobs_of_a_service import PresentationJob
from service.outages import away
from store.records import show_life

Jobs = jobctl.JobDict[PresentationJob]


@dataclass
class Plain:
    job_id: str
    status: str = "queued"
    progress: float = 0.0
    task: Any = None


@dataclass
class Further(Plain):
    chapter: int = 0


@pytest.fixture
def commits() -> Iterator[list[str]]:
    """What this process has committed."""
    done: list[str] = []
    effects.observe(after=lambda name, _: done.append(name))
    yield done
    effects.observe()


def begun(jobs: Jobs, store: Store) -> PresentationJob:
    """A job that a worker reports of: what it says changes without a new version of the record."""
    jobs["a"] = job = PresentationJob("a", "processing")
    with store.write() as connection:
        at = store.now(connection)
        show_life(connection, "a", progress=50.0, at=at)
    return job


def test_the_highest_progress_stays_whatever_is_reported_after_it(jobs: Jobs, store: Store) -> None:
    jobs["a"] = job = PresentationJob("a", "processing", 5.0)
    shown = []
    for reported in (40.0, 20.0, 125.0, 60.0):
        job.progress = reported
        with store.read() as connection:
            found = records.get_job(connection, "a")
        shown.append((found.progress, found.shown_progress))
    assert shown == [(40.0, 40.0), (20.0, 40.0), (125.0, 100.0), (60.0, 100.0)]


def test_what_a_worker_reported_meanwhile_is_told_with_the_next_change(jobs: Jobs, store: Store) -> None:
    job = begun(jobs, store)
    job.error = "slow"
    assert (job.error, job.progress) == ("slow", 50.0)


def test_what_a_worker_reported_meanwhile_is_not_overwritten(jobs: Jobs, store: Store) -> None:
    job = begun(jobs, store)
    with pytest.raises(StaleJob, match="another writer changed its progress"):
        job.progress = 40.0
    assert job.progress == 50.0


def test_lists_of_two_who_add_to_them_are_joined(jobs: Jobs, elsewhere: Jobs) -> None:
    jobs["a"] = mine = PresentationJob("a", created_files=["0"])
    elsewhere["a"].created_files.append("theirs")
    mine.created_files.append("mine")
    assert mine.created_files == ["0", "theirs", "mine"]


def test_a_job_that_was_begun_anew_under_its_id_is_another_one(jobs: Jobs, elsewhere: Jobs) -> None:
    jobs["a"] = old = PresentationJob("a", slides=[{"n": 1}])
    del elsewhere["a"]
    elsewhere["a"] = PresentationJob("a", slides=[{"n": 2}])
    old.progress = 5.0
    assert old.slides == [{"n": 2}]


def test_a_tombstone_is_closed_by_who_begins_the_job_anew(jobs: Jobs, store: Store) -> None:
    jobs["a"] = PresentationJob("a")
    del jobs["a"]
    jobs["a"] = PresentationJob("a", slides=[{"n": 1}])
    table = store.dialect.table("tombstone")
    with store.read() as connection:
        is_open = connection.exec_driver_sql(f"SELECT closed_at IS NULL FROM {table}").scalar_one()
        history = [(event.kind, event.to_status) for event in records.history(connection, "a")]
    assert not is_open
    assert history == [("created", "queued"), ("deleted", None), ("created", "queued")]


def test_texts_that_no_database_holds_are_written_out_in_lists_as_well(jobs: Jobs, elsewhere: Jobs) -> None:
    jobs["a"] = job = PresentationJob("a", created_files=["a\x00"], slides=[{"b\x00": "c\ud800"}])
    job.created_files.append("d\x00")
    job.error = "e\x00"
    with jobs.edit("a"):
        job.status = "processing"
        job.created_files.append("f\x00")
    there = elsewhere["a"]
    assert (there.created_files, there.error) == (["a\\x00", "d\\x00", "f\\x00"], "e\\x00")
    assert there.slides == [{"b\\x00": "c\\ud800"}]


def test_what_is_kept_in_memory_only_asks_no_store(sqlite_url: str) -> None:
    with jobctl.JobDict(Plain, sqlite_url, skip=("task",)) as jobs:
        jobs["a"] = job = Plain("a")
        with away(sqlite_url):
            job.task = handle = [print]
            job.task.append(job.task)
            job._seen = True
        assert job.task is handle


def test_a_change_is_one_commit_also_of_a_class_that_inherits_from_one_that_is_followed(
    store_url: str, commits: list[str]
) -> None:
    with jobctl.JobDict(Plain, store_url) as jobs:
        jobs["a"] = Plain("a")
        jobs["b"] = job = Further("b")
        del commits[:]
        job.progress = 1.0
        assert commits == ["commit"]


@pytest.mark.parametrize(
    ("value", "why"),
    [([{1: "a", "1": "b"}], "two keys of a dict in it are one in JSON"), (None, "contains itself")],
    ids=["keys", "circle"],
)
def test_what_would_lose_something_on_its_way_is_refused_and_taken_back(
    jobs: Jobs, elsewhere: Jobs, value: Any, why: str
) -> None:
    jobs["a"] = job = PresentationJob("a", slides=[{"n": 1}])
    with pytest.raises(ValueError, match=f"slides cannot be kept, for .*{why}"):
        job.slides.extend(value or [job.slides])
    assert job.slides == [{"n": 1}]
    with pytest.raises(ValueError, match=why):
        job.slides = value or circle()
    with pytest.raises(ValueError, match=why), jobs.edit("a"):
        job.progress = 5.0
        job.slides[0]["n"] = value or job.slides
    assert (job.slides, job.progress) == ([{"n": 1}], 0.0)
    job.slides.append({"n": 2})
    assert elsewhere["a"].slides == [{"n": 1}, {"n": 2}]


def circle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


def test_a_job_that_contains_itself_is_not_recorded(jobs: Jobs) -> None:
    with pytest.raises(ValueError, match="slides cannot be kept"):
        jobs["a"] = PresentationJob("a", slides=circle())
    assert "a" not in jobs
