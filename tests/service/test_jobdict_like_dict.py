"""Whatever a program does to a dict of jobs, a ``JobDict`` comes to the same."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jobctl
from jobctl.errors import IllegalTransition, JobExists
from service.conftest import empty
from service.jobs_of_a_service import PresentationJob
from service.outages import away

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
IDS = ["a", "b", "c"]
Jobs = MutableMapping[str, PresentationJob]
_FILLED_IN = ("created_at", "completed_at", "last_heartbeat")

ids = st.sampled_from(IDS)
statuses = st.sampled_from(["queued", "processing", "completed", "failed", "cancelled"])
texts = st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5))
json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text("ab", max_size=2)),
    lambda parts: st.one_of(st.lists(parts, max_size=2), st.dictionaries(st.text("xy", max_size=1), parts)),
    max_leaves=3,
)
made = st.builds(
    PresentationJob,
    st.just("?"),
    progress=st.integers(-10, 130),
    error=texts,
    created_at=st.just(NOON),
    created_files=st.lists(st.text("ab", max_size=2), max_size=2),
    slides=st.lists(st.dictionaries(st.text("xy", max_size=1), json, max_size=2), max_size=2),
)
operations = st.one_of(
    st.tuples(st.just("assign"), ids, made),
    st.tuples(st.just("set"), ids, st.tuples(st.just("status"), statuses)),
    st.tuples(st.just("set"), ids, st.tuples(st.just("progress"), st.floats(0, 100))),
    st.tuples(st.just("set"), ids, st.tuples(st.sampled_from(["error", "video_url"]), texts)),
    st.tuples(st.just("files"), ids, st.text("abc", max_size=2)),
    st.tuples(st.just("slide"), ids, json),
    st.tuples(st.just("edit"), ids, st.tuples(st.floats(0, 100), texts)),
    st.tuples(st.just("delete"), ids, st.none()),
    st.tuples(st.just("setdefault"), ids, made),
    st.tuples(st.just("pop"), ids, st.none()),
)


def carry_out(jobs: Jobs, what: str, job_id: str, value: Any) -> Any:
    """One thing a program does; what it gets for it."""
    if what in {"assign", "setdefault"}:
        job = dataclasses.replace(copy.deepcopy(value), job_id=job_id)
        if what == "setdefault":
            return jobs.setdefault(job_id, job) is job
        jobs[job_id] = job
    elif what == "delete":
        del jobs[job_id]
    elif what == "pop":
        return jobs.pop(job_id, None)
    elif what == "set":
        setattr(jobs[job_id], *value)
    elif what == "files":
        files = jobs[job_id].created_files
        files.remove(value) if value in files else files.append(value)
    elif what == "slide":
        slides = jobs[job_id].slides
        slides.append({"new": value})
        slides[0]["more"] = [value]
        slides[0]["more"].append(1)
    elif what == "edit":
        job = jobs[job_id]
        if isinstance(jobs, jobctl.JobDict):
            with jobs.edit(job_id) as edited:
                edited.progress, edited.error = value
        else:
            job.progress, job.error = value
    return None


def shown(jobs: Jobs) -> dict[str, dict[str, Any]]:
    """What a dict holds, but for moments that a store fills in."""
    return {
        job_id: {name: value for name, value in dataclasses.asdict(job).items() if name not in _FILLED_IN}
        for job_id, job in sorted(jobs.items())
    }


@pytest.mark.parametrize("restarts", [False, True])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(doing=st.lists(operations, max_size=12))
def test_the_same_operations_come_to_the_same(
    store_url: str, restarts: bool, doing: list[tuple[str, str, Any]]
) -> None:
    empty(store_url)
    plain: dict[str, PresentationJob] = {}
    jobs = jobctl.JobDict(PresentationJob, store_url)
    for what, job_id, value in doing:
        before = copy.deepcopy(plain)
        expected: Any
        try:
            expected = carry_out(plain, what, job_id, value)
        except KeyError:
            expected = KeyError
        found: Any
        try:
            found = carry_out(jobs, what, job_id, value)
        except KeyError:
            found = KeyError
        except IllegalTransition:
            # A dict takes any status; then this one is as if it had not been asked.
            plain = before
            continue
        if what != "pop":
            assert found == expected
        if restarts:
            jobs.close()
            jobs = jobctl.JobDict(PresentationJob, store_url)
    with jobctl.JobDict(PresentationJob, store_url) as next_one:
        assert shown(jobs) == shown(next_one) == shown(plain)
        assert list(next_one) == sorted(plain)
        assert len(next_one) == len(plain)
        assert [job_id in next_one for job_id in IDS] == [job_id in plain for job_id in IDS]
    jobs.close()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(before=st.lists(operations, max_size=6), during=st.lists(operations, max_size=8))
def test_whatever_is_done_while_the_store_is_away_it_says_the_same_afterwards(
    store_url: str, before: list[tuple[str, str, Any]], during: list[tuple[str, str, Any]]
) -> None:
    empty(store_url)
    held: dict[str, PresentationJob] = {}
    with TemporaryDirectory() as journal:
        jobs = jobctl.JobDict(
            PresentationJob, store_url, shadow=held, shadow_journal=journal, compare_every=0
        )
        for each in before:
            with suppress(KeyError):
                carry_out(jobs, *each)
        with away(store_url):
            for each in during:
                with suppress(KeyError):
                    carry_out(jobs, *each)
        differing = {each.job_id for each in jobs.compare().differing}
        with jobctl.JobDict(PresentationJob, store_url) as recorded:
            found, expected = shown(recorded), shown(held)
        # What the table of transitions refuses is listed; all the rest is the same.
        assert {job_id: job for job_id, job in found.items() if job_id not in differing} == {
            job_id: job for job_id, job in expected.items() if job_id not in differing
        }
        assert differing <= {job_id for what, job_id, _ in [*before, *during] if what in {"set", "assign"}}
        jobs.close()


def test_what_setdefault_put_into_a_job_is_followed(store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["a"] = job = PresentationJob("a", slides=[{}])
        job.slides[0].setdefault("texts", []).append("hello")
        job.slides[0].setdefault("texts", []).append("again")
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        assert jobs["a"].slides == [{"texts": ["hello", "again"]}]


def test_a_copy_is_a_plain_dict_of_the_live_objects(store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        for job_id in IDS:
            jobs[job_id] = PresentationJob(job_id)
        copied = jobs.copy()
        assert (type(copied), list(copied)) == (dict, IDS)
        for job_id in copied:
            del jobs[job_id]
        assert (len(jobs), len(copied)) == (0, 3)


@pytest.mark.parametrize("key", ["", "a\0b", "\udcff", "é" * 501])
def test_an_id_that_no_database_holds_as_it_is_is_refused_and_never_found(store_url: str, key: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        with pytest.raises(ValueError, match="nothing was written"):
            jobs[key] = PresentationJob(key)
        assert (key in jobs, jobs.get(key), asyncio.run(jobs.fetch(key))) == (False, None, None)
        with pytest.raises(KeyError):
            asyncio.run(jobs.update(key, progress=1))
        with pytest.raises(KeyError):
            del jobs[key]


def test_a_dict_of_one_kind_takes_no_job_of_another_over(store_url: str) -> None:
    with (
        jobctl.JobDict(PresentationJob, store_url, kind="lesson") as lessons,
        jobctl.JobDict(PresentationJob, store_url, kind="film") as films,
    ):
        lessons["a"] = PresentationJob("a", error="mine")
        with pytest.raises(JobExists):
            films["a"] = PresentationJob("a", error="theirs")
        assert lessons["a"].error == "mine"
        assert "a" not in films
