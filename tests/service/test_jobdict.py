"""A service's dict of jobs, over the store: what its code did to the dict is recorded."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import pickle
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import jobctl
from jobctl.errors import IllegalTransition, StaleJob, UsageError, WouldBlock
from jobctl.model.status import Cause, Status
from jobctl.store import job_streams
from jobctl.store import jobs as records
from jobctl.store.engine import Store
from jobctl.store.mirror import find_whole
from service.jobs_of_a_service import MODEL_FIELDS, STAGES, Options, PresentationJob, PresentationModel, Stage

Jobs = jobctl.JobDict[PresentationJob]


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Only what nothing refers to is gone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def running(jobs: Jobs, job_id: str = "a") -> PresentationJob:
    jobs[job_id] = job = PresentationJob(job_id)
    job.status = "processing"
    return job


def test_an_assigned_object_is_live_and_stays_the_same_object(jobs: Jobs, elsewhere: Jobs) -> None:
    job = PresentationJob("a")
    jobs["a"] = job
    job.status = "processing"
    job.progress = 40
    assert jobs["a"] is job
    assert jobs.get("a") is job
    there = elsewhere["a"]
    assert (there.status, there.progress) == ("processing", 40)
    job.status = "completed"
    job.progress = 100
    assert (elsewhere["a"].status, elsewhere["a"].progress) == ("completed", 100)


def test_the_record_is_one_of_the_stores_with_its_history(jobs: Jobs, store: Store) -> None:
    running(jobs).status = "completed"
    with store.read() as connection:
        job = records.get_job(connection, "a")
        history = [(event.from_status, event.to_status) for event in records.history(connection, "a")]
    assert (job.status, job.attempt, job.executor is not None) == (Status.COMPLETED, 1, True)
    assert history == [(None, "queued"), ("queued", "processing"), ("processing", "completed")]


@pytest.mark.parametrize("status", ["processing", "completed", "failed", "cancelled"])
def test_a_job_may_be_assigned_in_any_status(jobs: Jobs, elsewhere: Jobs, status: str) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    jobs["a"] = PresentationJob("a", status, 75.5, "why", "/v", created_at=at, completed_at=at)
    there = elsewhere["a"]
    assert (there.status, there.progress, there.error, there.video_url) == (status, 75.5, "why", "/v")
    assert (there.created_at, there.completed_at) == (at, at)


def test_a_job_that_is_said_to_be_completed_at_once_was_begun_by_who_says_so(
    jobs: Jobs, elsewhere: Jobs
) -> None:
    jobs["a"] = job = PresentationJob("a")
    job.status = "completed"
    assert elsewhere["a"].status == "completed"
    assert job.completed_at is not None


def test_changes_in_place_persist_at_any_depth(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)
    job.created_files.append("a.mp4")
    job.created_files += ["b.mp4"]
    job.slides.append({"texts": ["one"]})
    job.slides[0]["texts"].append("two")
    job.slides[0]["avatar"] = {"voice": {"speed": 1}}
    job.slides[0]["avatar"]["voice"]["speed"] = 2
    job.seen.add(7)
    job.seen |= {8}
    job.options.width = 640
    job.options.tags.insert(0, "new")
    jobs["a"].created_files.remove("a.mp4")
    assert elsewhere["a"] == job
    assert job.slides == [{"texts": ["one", "two"], "avatar": {"voice": {"speed": 2}}}]
    assert (job.seen, job.options.width, job.options.tags) == ({7, 8}, 640, ["new"])
    assert job.created_files == ["b.mp4"]


def test_a_list_outlives_whoever_let_go_of_its_job(store_url: str, elsewhere: Jobs) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["a"] = PresentationJob("a", slides=[{"texts": []}])
        files, texts = jobs["a"].created_files, jobs["a"].slides[0]["texts"]
        options, tags = jobs["a"].options, jobs["a"].options.tags
        jobs._lives._kept.clear()
        gc.collect()
        files.append("late.mp4")
        texts.append("one")
        options.width = 7
        tags.append("t")
    there = elsewhere["a"]
    assert (there.created_files, there.slides) == (["late.mp4"], [{"texts": ["one"]}])
    assert (there.options.width, there.options.tags) == (7, ["t"])


def test_what_is_in_a_value_outlives_whoever_let_go_of_all_the_rest(
    store_url: str, elsewhere: Jobs, without_collector: None
) -> None:
    """Several of one value know of each other, and a part of the value is written with the whole of it."""
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["a"] = PresentationJob("a", slides=[{"texts": ["one"], "n": [1]}, {"n": [2]}])
        jobs["a"].options.tags += ["t"]
        jobs["a"].layers = [Options(1), Options(2, ["x"])]  # type: ignore[attr-defined]
        texts, slide, tags = (
            jobs["a"].slides[0]["texts"],
            jobs["a"].slides[1],
            jobs["a"].options.tags,
        )
        jobs["a"].pair = ([1], [2])  # type: ignore[attr-defined]
        second = jobs["a"].pair[1]  # type: ignore[attr-defined]
        layer, names = jobs["a"].layers[0], jobs["a"].layers[1].tags  # type: ignore[attr-defined]
        jobs._lives._kept.clear()
        assert "a" not in jobs._lives._by_id
        texts.append("two")
        slide["n"].append(3)
        slide["more"] = True
        texts.append("three")
        tags.append("u")
        layer.width = 10
        layer.tags.append("y")
        names.append("z")
        second.append(3)
    there = elsewhere["a"]
    assert there.slides == [{"texts": ["one", "two", "three"], "n": [1]}, {"n": [2, 3], "more": True}]
    assert there.options == Options(tags=["t", "u"])
    assert there.layers == [  # type: ignore[attr-defined]
        {"width": 10, "tags": ["y"]},
        {"width": 2, "tags": ["x", "z"]},
    ]
    assert there.pair == [[1], [2, 3]]  # type: ignore[attr-defined]


def test_what_was_taken_out_of_a_value_writes_nothing_once_its_job_is_gone(
    store_url: str, elsewhere: Jobs
) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["a"] = job = PresentationJob("a", slides=[{"texts": ["one"]}])
        before = job.slides[0]["texts"]
        job.slides = [{"texts": ["new"]}]
        del job
        jobs._lives._kept.clear()
        before.append("two")
        assert before == ["one", "two"]
    assert elsewhere["a"].slides == [{"texts": ["new"]}]


def test_an_object_and_all_it_holds_wait_for_no_collector(jobs: Jobs, without_collector: None) -> None:
    jobs["a"] = job = PresentationJob("a", slides=[{"texts": [["one"]]}])
    job.layers = [Options(1), (Options(2), [3])]  # type: ignore[attr-defined]
    job.options.tags.append("t")
    job.slides[0]["texts"][0].append("two")
    held = [
        weakref.ref(each)
        for each in (
            job,
            job.slides,
            job.slides[0],
            job.slides[0]["texts"][0],
            job.options,
            job.options.tags,
            job.layers[0],  # type: ignore[attr-defined]
            job.layers[0].tags,  # type: ignore[attr-defined]
            job.layers[1][0].tags,  # type: ignore[attr-defined]
            job.layers[1][1],  # type: ignore[attr-defined]
        )
    ]
    del job
    jobs._lives._kept.clear()
    assert [reference() for reference in held] == [None] * len(held)


def test_attributes_the_class_does_not_declare_are_kept_too(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)
    job.request = {"voice": "anna"}  # type: ignore[attr-defined]
    assert elsewhere["a"].request == {"voice": "anna"}  # type: ignore[attr-defined]
    del job.request  # type: ignore[attr-defined]
    assert not hasattr(elsewhere["a"], "request")


def test_several_changes_are_one_in_an_edit(jobs: Jobs, store: Store) -> None:
    running(jobs)
    with store.read() as connection:
        before = records.get_job(connection, "a").version
    with jobs.edit("a") as job:
        job.status = "completed"
        job.progress = 100
        job.video_url = "/videos/a"
        job.created_files.append("a.mp4")
        with store.read() as connection:
            assert records.get_job(connection, "a").version == before
    with store.read() as connection:
        now = records.get_job(connection, "a")
    assert (now.version, now.status, now.video_url) == (before + 1, Status.COMPLETED, "/videos/a")
    assert now.created_files == ["a.mp4"]


def test_an_error_in_an_edit_takes_all_of_it_back(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)
    files = job.created_files
    with pytest.raises(ZeroDivisionError), jobs.edit("a"):
        job.progress = 50
        files.append("a.mp4")
        raise ZeroDivisionError
    assert (job.progress, job.created_files, elsewhere["a"].progress) == (0, [], 0)
    assert job.created_files is files


@dataclass
class Deque:
    job_id: str
    error: str | None = None
    last: deque[Any] = field(default_factory=deque)


def test_an_error_in_an_edit_takes_back_what_tells_nobody_too(store_url: str) -> None:
    with jobctl.JobDict(Deque, store_url) as jobs:
        jobs["a"] = job = Deque("a")
        with pytest.raises(ZeroDivisionError), jobs.edit("a"):
            job.last.append(1)
            raise ZeroDivisionError
        assert job.last == deque()


def test_what_cannot_be_kept_at_the_end_of_an_edit_is_taken_back_and_the_job_goes_on(store_url: str) -> None:
    with jobctl.JobDict(Deque, store_url) as jobs:
        jobs["a"] = job = Deque("a")
        with pytest.raises(ValueError, match="last cannot be kept"), jobs.edit("a"):
            job.error = "why"
            job.last.append(object())
        assert job == Deque("a")
        with jobs.edit("a"):
            job.last.append(1)
        assert jobs["a"].last == deque([1])


def test_an_error_in_an_inner_edit_takes_back_that_one_alone(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)
    with jobs.edit("a"):
        job.error = "outer"
        job.created_files.append("outer.png")
        with pytest.raises(ZeroDivisionError), jobs.edit("a"):
            job.progress = 50
            job.created_files.append("inner.png")
            raise ZeroDivisionError
        job.video_url = "/outer"
    for each in (job, elsewhere["a"]):
        assert (each.error, each.progress, each.video_url) == ("outer", 0, "/outer")
        assert each.created_files == ["outer.png"]


def test_an_edit_of_an_unknown_job_is_a_key_error(jobs: Jobs) -> None:
    with pytest.raises(KeyError), jobs.edit("nobody"):
        pass


def test_a_change_the_table_does_not_allow_is_refused_and_the_object_says_what_is_recorded(
    jobs: Jobs,
) -> None:
    job = running(jobs)
    job.status = "completed"
    with pytest.raises(IllegalTransition):
        job.status = "processing"
    assert (job.status, jobs["a"].status) == ("completed", "completed")


def test_what_another_server_ended_is_not_changed_by_who_knows_it_as_running(
    jobs: Jobs, elsewhere: Jobs
) -> None:
    job = running(jobs)
    there = elsewhere["a"]
    there.status = "completed"
    with pytest.raises(StaleJob):
        job.progress = 50
    assert (job.status, elsewhere["a"].progress) == ("completed", 0)


def test_only_one_of_two_servers_begins_a_job(jobs: Jobs, elsewhere: Jobs) -> None:
    jobs["a"] = job = PresentationJob("a")
    there = elsewhere["a"]
    job.status = "processing"
    with pytest.raises(StaleJob, match="attempt"):
        there.status = "processing"


def test_two_servers_change_different_things_and_lists_are_joined(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)
    there = elsewhere["a"]
    job.video_url = "/v"
    there.thumbnail_url = "/t"
    job.created_files.append("one")
    there.created_files.append("two")
    job.created_files.append("three")
    assert jobs["a"].created_files == elsewhere["a"].created_files == ["one", "two", "three"]
    assert (job.thumbnail_url, elsewhere["a"].video_url) == ("/t", "/v")


def test_the_same_thing_changed_by_two_is_refused_to_the_second(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)
    there = elsewhere["a"]
    job.progress = 10
    with pytest.raises(StaleJob, match="progress"):
        there.progress = 20
    there.progress = 20
    assert jobs["a"].progress == 20


def test_a_worker_that_lost_its_attempt_writes_nothing(jobs: Jobs, store: Store) -> None:
    job = running(jobs)
    now = datetime.now(UTC)
    with store.write() as connection:
        for to, cause in ((Status.QUEUED, Cause.RESCUE), (Status.PROCESSING, Cause.CLAIM)):
            expect = records.get_job(connection, "a").status
            records.change_status(connection, "a", to, expect=expect, cause=cause, actor="x", at=now)
    with pytest.raises(StaleJob, match="attempt 2"):
        job.status = "completed"


def test_a_job_that_was_deleted_elsewhere_is_told(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)
    del elsewhere["a"]
    with pytest.raises(StaleJob, match="deleted"):
        job.progress = 10
    assert "a" not in jobs


def test_deleting_leaves_a_tombstone_and_the_object_a_plain_one(jobs: Jobs, store: Store) -> None:
    job = running(jobs)
    del jobs["a"]
    job.progress = 99
    with store.read() as connection:
        assert [
            stone.job_id for stone in job_streams.stream_tombstones(connection, store.dialect, "", None)
        ] == ["a"]
    with pytest.raises(KeyError):
        del jobs["a"]
    jobs["a"] = PresentationJob("a")
    with store.read() as connection:
        assert not list(job_streams.stream_tombstones(connection, store.dialect, "", None))


def test_a_sign_of_life_comes_with_every_change_unless_the_service_shows_its_own(jobs: Jobs) -> None:
    job = running(jobs)
    first = job.last_heartbeat
    job.progress = 10
    assert first is not None
    assert job.last_heartbeat is not None
    assert job.last_heartbeat > first
    own = first + timedelta(hours=1)
    job.last_heartbeat = own
    job.progress = 20
    assert jobs["a"].last_heartbeat == own


def test_what_json_cannot_say_is_refused_and_taken_back(jobs: Jobs) -> None:
    job = running(jobs)
    with pytest.raises(ValueError, match="skip="):
        job.task = object()  # type: ignore[attr-defined]
    assert not hasattr(job, "task")
    with pytest.raises(ValueError, match="JSON"):
        job.slides.append({"x": object()})
    assert job.slides == []
    with pytest.raises(ValueError, match="'sleeping'"):
        job.status = "sleeping"
    assert job.status == "processing"


def test_the_class_stays_what_it_is(jobs: Jobs) -> None:
    job = running(jobs)
    job.created_files.append("a")
    job.slides.append({"n": [1]})
    assert type(job) is PresentationJob
    twin = copy.deepcopy(job)
    assert twin == job
    assert dataclasses.asdict(job)["slides"] == [{"n": [1]}]
    for other in (twin, copy.copy(job), pickle.loads(pickle.dumps(job)), dataclasses.replace(job)):
        other.progress = 77
        assert jobs["a"].progress == 0
    assert type(twin.created_files) is type(twin.slides) is list
    assert type(twin.slides[0]) is dict


def test_a_copy_that_is_assigned_takes_the_objects_place(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)
    jobs["a"] = other = dataclasses.replace(job, progress=60, video_url="/v")
    job.progress = 1
    assert jobs["a"] is other
    assert (elsewhere["a"].progress, elsewhere["a"].video_url) == (60, "/v")


def test_an_object_is_one_job_and_a_job_has_one_id(jobs: Jobs) -> None:
    job = running(jobs)
    with pytest.raises(ValueError, match="already"):
        jobs["b"] = job
    with pytest.raises(ValueError, match="cannot"):
        jobs["c"] = PresentationJob("d")
    with pytest.raises(ValueError, match="cannot become"):
        job.job_id = "z"
    assert job.job_id == "a"
    with pytest.raises(TypeError):
        jobs["e"] = object()  # type: ignore[assignment]


def test_async_code_fetches_and_updates_and_never_assigns(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)

    async def handler() -> None:
        handle = await jobs.fetch("a")
        assert handle == job
        with pytest.raises(WouldBlock) as refused:
            handle.progress = 5
        assert "await jobs.update('a', progress=" in refused.value.hint
        with pytest.raises(WouldBlock):
            handle.slides.append({})
        with pytest.raises(WouldBlock):
            handle.options.width = 1
        done = await jobs.update("a", status="completed", progress=100, created_files=["a.mp4"])
        assert (done.status, done.created_files) == ("completed", ["a.mp4"])
        with pytest.raises(IllegalTransition):
            await jobs.update("a", status="processing")
        with pytest.raises(UsageError, match="statuss"):
            await jobs.update("a", statuss="failed")
        with pytest.raises(KeyError):
            await jobs.update("nobody", progress=1)
        assert await jobs.fetch("nobody") is None

    asyncio.run(handler())
    assert (job.status, elsewhere["a"].progress) == ("completed", 100)


def test_tasks_of_one_event_loop_never_mix_their_edits(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)

    async def main() -> None:
        in_edit, over = asyncio.Event(), asyncio.Event()

        async def edit() -> None:
            with jobs.edit("a"):
                job.progress = 50
                in_edit.set()
                await over.wait()
                job.error = "mine"

        editing = asyncio.create_task(edit())
        await in_edit.wait()
        with pytest.raises(StaleJob, match="another task"), jobs.edit("a"):
            job.error = "other"
        with pytest.raises(StaleJob, match="another task"):
            job.video_url = "/other"
        over.set()
        await editing

    asyncio.run(main())
    for each in (job, elsewhere["a"]):
        assert (each.progress, each.error, each.video_url) == (50, "mine", None)


def test_an_update_within_an_edit_of_the_same_job_is_refused_and_waits_for_nothing(jobs: Jobs) -> None:
    job = running(jobs)
    jobs["b"] = PresentationJob("b")

    async def main() -> None:
        with jobs.edit("a"):
            await jobs.update("b", error="fine")
            with pytest.raises(WouldBlock, match="within an edit"):
                await jobs.update("a", progress=50)
            job.error = "fine"

    asyncio.run(main())
    assert (jobs["a"].error, jobs["a"].progress, jobs["b"].error) == ("fine", 0, "fine")


def test_update_with_a_mapping_assigns_as_a_dict_does(jobs: Jobs) -> None:
    jobs.update({"a": PresentationJob("a")})
    assert list(jobs) == ["a"]


def test_jobs_of_another_kind_are_not_seen(store_url: str, jobs: Jobs) -> None:
    jobs["a"] = PresentationJob("a")
    with jobctl.JobDict(PresentationJob, store_url, kind="lesson") as lessons:
        lessons["b"] = PresentationJob("b")
        assert (list(lessons), "a" in lessons, lessons.get("a")) == (["b"], False, None)
    assert list(jobs) == ["a", "b"]


def test_a_record_that_recover_rebuilt_is_an_object_with_what_is_known(jobs: Jobs, store: Store) -> None:
    with store.write() as connection:
        made = records.Job(job_id="old", video_url="/v")
        records.create_job(connection, made, actor="x", at=datetime.now(UTC))
    assert (jobs["old"].video_url, jobs["old"].progress, jobs["old"].slides) == ("/v", 0, [])


def test_a_model_of_pydantic_with_names_words_and_aliases_of_its_own(store_url: str) -> None:
    def opened() -> jobctl.JobDict[PresentationModel]:
        return jobctl.JobDict(PresentationModel, store_url, fields=MODEL_FIELDS, statuses=STAGES)

    with opened() as jobs, opened() as elsewhere:
        jobs["a"] = job = PresentationModel.model_validate({"id": "a", "videoUrl": "/v", "owner": "u1"})
        job.stage = Stage.UPLOADING
        job.progress = 80
        job.slides.append({"n": 1})
        job.slides[0]["n"] = 2
        there = elsewhere["a"]
        assert there == job
        assert (there.stage, there.video_url, there.model_dump(by_alias=True)["videoUrl"]) == (
            Stage.UPLOADING,
            "/v",
            "/v",
        )
        assert there.model_extra == {"owner": "u1"}
        with pytest.raises(ValueError, match="valid integer"):
            job.progress = "much"  # type: ignore[assignment]
        assert (job.progress, elsewhere["a"].progress) == (80, 80)


def test_the_payload_of_others_is_left_as_it_is(jobs: Jobs, store: Store) -> None:
    with store.write() as connection:
        made = records.Job(job_id="a")
        records.create_job(connection, made, actor="x", at=datetime.now(UTC), payload={"of others": 1})
    jobs["a"].slides.append({"n": 1})
    with store.read() as connection:
        whole = find_whole(connection, "a")
    assert whole is not None
    assert whole.payload == {"of others": 1, "slides": [{"n": 1}]}


def test_hostile_texts_are_kept(jobs: Jobs, elsewhere: Jobs) -> None:
    job = running(jobs)
    job.error = "\x1b[31mred[/]\u202e" + "x" * 1_000_000
    job.slides.append({"text": "nul \0", "\udcff": "no UTF-8"})
    job.video_url = "/\udcff\0"
    there = elsewhere["a"]
    assert there.error == job.error
    assert there.slides[0]["text"] == "nul \\x00"
    assert there.video_url == "/\\udcff\\x00"
    job.progress = 5
    assert elsewhere["a"].progress == 5


def test_after_closing_objects_are_plain_ones(store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["a"] = job = PresentationJob("a")
    job.progress = 5
    job.created_files.append("x")
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        assert (jobs["a"].progress, jobs["a"].created_files) == (0, [])
