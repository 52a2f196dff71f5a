"""Job records: written with their history, guarded by what the writer believed, on both databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text, update

from jobctl.core.steps import Step
from jobctl.errors import IllegalTransition, JobExists, StaleJob, UnknownJob
from jobctl.model.job import Executor, Job
from jobctl.model.listing import JobQuery, Order, position_of
from jobctl.model.status import Cause, Status
from jobctl.model.timestamps import format_timestamp
from jobctl.store import jobs, listing
from jobctl.store.engine import Store
from jobctl.store.listing import Stretch, find_jobs
from jobctl.store.lookup import resolve_prefix
from jobctl.store.schema import artifact, job, job_body, tombstone
from store.explained import plans_of
from store.records import AT, claim, complete, create, fail, later, retry, show_life

EXECUTOR = Executor("host-a", "boot", 4711, 123456, "pid:[1]")


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    """A transaction of an empty store."""
    with store.write() as opened:
        yield opened


def kinds(connection: Connection, job_id: str) -> list[str]:
    return [event.kind for event in jobs.history(connection, job_id)]


def link(connection: Connection, job_id: str, path: str, role: str = "video", **more: Any) -> None:
    row = {"job_id": job_id, "root_id": "r1", "path": path, "role": role, "state": "present", **more}
    connection.execute(insert(artifact), row)


class TestCreating:
    def test_a_new_job_is_queued_and_has_a_history(self, connection: Connection) -> None:
        made = create(connection, "a", owner="ada", priority=3)
        assert made == Job(job_id="a", owner="ada", priority=3, created_at=AT, updated_at=AT)
        assert jobs.get_job(connection, "a") == made
        (event,) = jobs.history(connection, "a")
        assert (event.kind, event.actor, event.at, event.to_status) == ("created", "service", AT, "queued")

    def test_every_field_comes_back_as_it_was_given(self, connection: Connection) -> None:
        given = Job(
            job_id="a",
            progress=12.5,
            error="ü\n\t'\"\\",
            created_files=["presentation_a.mp4"],
            kind="thumbnail",
            queue="slow",
            owner="ada@example.org",
            priority=-5,
            run_at=later(60),
            max_attempts=3,
            idempotency_key="k",
            provenance={"owner": {"source": "request", "trust": 5, "others": []}},
            created_at=later(-60),
            updated_at=AT,
        )
        assert jobs.create_job(connection, given, actor="service", at=AT) == given

    def test_the_request_is_kept_beside_the_record(self, connection: Connection) -> None:
        payload = {"slides": [1, 2], "title": "ü"}
        jobs.create_job(connection, Job(job_id="a"), actor="service", at=AT, payload=payload)
        assert connection.execute(select(job_body.c.payload)).scalar_one() == payload

    def test_an_id_is_taken_once(self, connection: Connection) -> None:
        create(connection, "a", owner="ada")
        with pytest.raises(JobExists, match="a job a is recorded already"):
            create(connection, "a", owner="bob")
        assert jobs.get_job(connection, "a").owner == "ada"
        assert kinds(connection, "a") == ["created"]

    def test_a_request_is_taken_once(self, connection: Connection) -> None:
        create(connection, "a", idempotency_key="k")
        with pytest.raises(JobExists, match="job a has the idempotency key of b") as refused:
            create(connection, "b", idempotency_key="k")
        assert refused.value.hint == "run 'jobctl show a'"
        create(connection, "c", idempotency_key="k", kind="other")

    def test_the_transaction_goes_on_after_a_taken_id(self, connection: Connection) -> None:
        create(connection, "a")
        with pytest.raises(JobExists):
            create(connection, "a")
        create(connection, "b")
        assert [jobs.get_job(connection, name).status for name in "ab"] == [Status.QUEUED] * 2

    @pytest.mark.parametrize("odd", ["a\0b", os.fsdecode(b"caf\xe9")])
    def test_an_id_and_a_key_that_are_no_text_are_taken_like_others(
        self, connection: Connection, odd: str
    ) -> None:
        create(connection, odd, idempotency_key=odd)
        with pytest.raises(JobExists, match="is recorded already"):
            create(connection, odd)
        with pytest.raises(JobExists, match="has the idempotency key of b already"):
            create(connection, "b", idempotency_key=odd)

    def test_a_new_incarnation_goes_on_counting_where_the_expired_one_was(
        self, connection: Connection
    ) -> None:
        create(connection, "a")
        claim(connection, "a")
        complete(connection, "a")
        expired = {"expect": Status.COMPLETED, "cause": Cause.RETENTION, "actor": "ada", "at": AT}
        jobs.change_status(connection, "a", Status.EXPIRED, **expired)
        made = create(connection, "a")
        assert (made.attempt, made.tries, made.version) == (1, 0, 5)
        assert claim(connection, "a").attempt == 2

    def test_only_queued_jobs_are_created(self, connection: Connection) -> None:
        with pytest.raises(IllegalTransition, match="nothing was written"):
            create(connection, "a", status=Status.COMPLETED)

    def test_bytes_that_are_no_text_are_written_out(self, connection: Connection) -> None:
        made = create(connection, "a", error=os.fsdecode(b"no such file: caf\xe9\0.mp4"), owner="ada\\b")
        assert (made.error, made.owner) == (r"no such file: caf\udce9\x00.mp4", r"ada\b")


class TestChanging:
    def test_a_claim_begins_an_attempt(self, connection: Connection) -> None:
        create(connection, "a")
        claimed = claim(connection, "a", at=later(5), changes={"executor": EXECUTOR})
        assert (claimed.status, claimed.attempt, claimed.version) == (Status.PROCESSING, 1, 2)
        assert claimed.started_at == claimed.last_heartbeat == claimed.updated_at == later(5)
        assert claimed.executor == EXECUTOR

    def test_each_claim_is_a_new_attempt_without_the_old_ones_traces(self, connection: Connection) -> None:
        create(connection, "a")
        claim(connection, "a")
        show_life(connection, "a", progress=80, at=later(1))
        fail(connection, "a")
        retry(connection, "a")
        again = claim(connection, "a", at=later(9))
        assert (again.attempt, again.progress, again.max_progress, again.error) == (2, None, None, None)

    def test_completion_is_all_the_way(self, connection: Connection) -> None:
        create(connection, "a")
        claim(connection, "a")
        done = complete(connection, "a", at=later(60), changes={"video_url": "/presentations/a/video"})
        assert (done.progress, done.shown_progress, done.completed_at) == (100.0, 100.0, later(60))
        assert done.video_url == "/presentations/a/video"

    def test_a_given_progress_is_kept(self, connection: Connection) -> None:
        create(connection, "a")
        claim(connection, "a")
        assert complete(connection, "a", changes={"progress": 125.0}).progress == 125.0

    def test_handing_back_frees_the_job_of_its_executor(self, connection: Connection) -> None:
        create(connection, "a")
        claim(connection, "a", changes={"executor": EXECUTOR})
        queued = jobs.change_status(
            connection,
            "a",
            Status.QUEUED,
            expect=Status.PROCESSING,
            cause=Cause.HAND_BACK,
            actor="w",
            at=AT,
        )
        assert queued.executor is None
        assert queued.attempt == 1

    def test_each_change_is_an_event(self, connection: Connection) -> None:
        create(connection, "a")
        claim(connection, "a", at=later(1))
        complete(connection, "a", at=later(2), run_id="run-1", detail={"seconds": 1})
        assert kinds(connection, "a") == ["created", "status", "status"]
        event = jobs.history(connection, "a")[-1]
        assert (event.from_status, event.to_status, event.attempt) == ("processing", "completed", 1)
        assert (event.actor, event.at, event.run_id) == ("worker-1", later(2), "run-1")
        assert event.detail == {"cause": "executor", "seconds": 1}

    def test_an_unknown_job_is_told(self, connection: Connection) -> None:
        with pytest.raises(UnknownJob, match="no job a is recorded"):
            claim(connection, "a")

    def test_a_change_rests_on_the_expected_status(self, connection: Connection) -> None:
        create(connection, "a")
        with pytest.raises(StaleJob, match="nothing was written"):
            complete(connection, "a")
        assert jobs.get_job(connection, "a").version == 1

    def test_the_number_of_an_old_attempt_is_refused(self, connection: Connection) -> None:
        create(connection, "a")
        claim(connection, "a")
        fail(connection, "a")
        retry(connection, "a")
        claim(connection, "a")
        with pytest.raises(StaleJob, match="in attempt 2, not processing in attempt 1"):
            complete(connection, "a", attempt=1)
        assert complete(connection, "a", attempt=2).status is Status.COMPLETED

    def test_a_forbidden_change_leaves_the_record(self, connection: Connection) -> None:
        create(connection, "a")
        claim(connection, "a")
        complete(connection, "a")
        with pytest.raises(IllegalTransition, match="left as it was"):
            jobs.change_status(
                connection,
                "a",
                Status.QUEUED,
                expect=Status.COMPLETED,
                cause=Cause.OPERATOR,
                actor="ada",
                at=AT,
            )
        assert jobs.get_job(connection, "a").status is Status.COMPLETED
        assert len(kinds(connection, "a")) == 3

    def test_what_a_step_makes_of_a_job_is_what_is_recorded(self, connection: Connection) -> None:
        now = create(connection, "a", created_files=["a.mp4"])
        begun = {"executor": EXECUTOR, "progress": 12.5, "max_progress": 12.5}
        for step, changes in (
            (Step(Status.PROCESSING, Cause.CLAIM), begun),
            (Step(Status.FAILED, Cause.EXECUTOR), {"error": "nul \0", "error_code": "interrupted"}),
            (Step(Status.COMPLETED, Cause.EXECUTOR), {"video_url": "/v", "created_files": ["b.mp4"]}),
        ):
            now = jobs.take_step(connection, now, step, actor="x", at=later(seconds=1), changes=changes)
            assert now == jobs.get_job(connection, "a")

    @pytest.mark.parametrize(("error_code", "is_final"), [("interrupted", False), ("bad-input", True)])
    def test_only_a_failure_without_a_known_end_may_turn_out_well(
        self, connection: Connection, error_code: str, is_final: bool
    ) -> None:
        create(connection, "a")
        claim(connection, "a")
        fail(connection, "a", error_code=error_code)
        change = {"expect": Status.FAILED, "cause": Cause.RECOVER, "actor": "recover", "at": AT}
        if is_final:
            with pytest.raises(IllegalTransition):
                jobs.change_status(connection, "a", Status.COMPLETED, **change)
        else:
            done = jobs.change_status(connection, "a", Status.COMPLETED, **change)
            assert (done.error, done.error_code) == (None, None)

    @pytest.mark.parametrize("field", ["status", "version", "attempt", "job_id", "updated_at"])
    def test_what_follows_from_the_change_cannot_be_given(self, connection: Connection, field: str) -> None:
        create(connection, "a")
        with pytest.raises(ValueError, match=field):
            claim(connection, "a", changes={field: 1})


class TestTwoWriters:
    def test_who_saw_an_older_version_writes_nothing(self, connection: Connection) -> None:
        seen = create(connection, "a")
        jobs.change_fields(connection, seen, {"error": "first"}, at=AT)
        with pytest.raises(StaleJob):
            jobs.change_fields(connection, seen, {"error": "second"}, at=AT)
        with pytest.raises(StaleJob):
            jobs.take_step(connection, seen, Step(Status.PROCESSING, Cause.CLAIM), actor="x", at=AT)
        now = jobs.get_job(connection, "a")
        assert (now.error, now.status, now.version) == ("first", Status.QUEUED, 2)

    def test_who_comes_second_writes_nothing(self, store: Store) -> None:
        with store.write() as connection:
            create(connection, "a")
        if store.dialect.name == "sqlite":
            # One writer at a time: the second begins after the first, and sees what it did.
            with store.write() as connection:
                claim(connection, "a")
            with pytest.raises(StaleJob), store.write() as connection:
                claim(connection, "a")
            return
        with store.write() as first, store.write() as second:
            seen = jobs.get_job(second, "a")
            claim(first, "a")
            first.exec_driver_sql("COMMIT")
            guard = (job.c.job_id == "a", job.c.version == seen.version)
            assert second.execute(update(job).where(*guard).values(owner="bob")).rowcount == 0
            with pytest.raises(StaleJob):
                claim(second, "a")

    def test_only_one_of_two_may_create_an_id(self, store: Store) -> None:
        with store.write() as connection:
            create(connection, "a", owner="first")
        with pytest.raises(JobExists), store.write() as connection:
            create(connection, "a", owner="second")
        with store.read() as connection:
            assert jobs.get_job(connection, "a").owner == "first"


class TestDeleting:
    def test_a_deleted_job_leaves_a_tombstone_and_its_history(self, connection: Connection) -> None:
        jobs.create_job(connection, Job(job_id="a"), actor="service", at=AT, payload={"x": 1})
        link(connection, "a", "presentation_a.mp4")
        jobs.delete_job(connection, "a", actor="ada", at=later(9))
        with pytest.raises(UnknownJob):
            jobs.get_job(connection, "a")
        assert jobs.artifacts_of(connection, "a") == []
        assert connection.execute(select(job_body)).all() == []
        buried = connection.execute(select(tombstone)).one()
        assert (buried.cause, buried.actor, buried.at, buried.closed_at) == ("deleted", "ada", later(9), None)
        assert kinds(connection, "a") == ["created", "deleted"]

    def test_an_explicit_create_begins_anew(self, connection: Connection) -> None:
        create(connection, "a")
        jobs.delete_job(connection, "a", actor="ada", at=later(1))
        create(connection, "a", at=later(2))
        assert connection.execute(select(tombstone.c.closed_at)).scalar_one() == later(2)
        assert kinds(connection, "a") == ["created", "deleted", "created"]
        jobs.delete_job(connection, "a", actor="ada", at=later(3))
        assert connection.execute(select(tombstone.c.closed_at)).scalar_one() is None

    def test_an_unknown_job_cannot_be_deleted(self, connection: Connection) -> None:
        with pytest.raises(UnknownJob):
            jobs.delete_job(connection, "a", actor="ada", at=AT)


class TestFinding:
    def ids(self, connection: Connection, **wanted: Any) -> list[str]:
        found = listing.find_jobs(connection, JobQuery(**wanted), Stretch(50))
        return [job.job_id for job in found]

    def test_the_newest_come_first_and_the_undated_last(self, connection: Connection) -> None:
        for name, seconds in (
            ("old", 1),
            ("same-b", 5),
            ("same-a", 5),
            ("new", 9),
            ("none-b", 0),
            ("none-a", 0),
        ):
            create(connection, name, at=later(seconds))
        undated = update(job).where(job.c.job_id.like("none%")).values(created_at=None)
        connection.execute(undated)
        expected = ["new", "same-a", "same-b", "old", "none-a", "none-b"]
        assert self.ids(connection) == expected

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
    def test_pages_follow_one_another_without_gap_or_repeat(self, connection: Connection, size: int) -> None:
        for number in range(9):
            create(connection, f"job-{number}", at=later(number // 3))
        connection.execute(update(job).where(job.c.job_id > "job-5").values(created_at=None))
        found: list[str] = []
        after = None
        while True:
            page = listing.find_jobs(connection, JobQuery(), Stretch(size, after))
            found += [each.job_id for each in page]
            if len(page) < size:
                break
            after = position_of(page[-1], Order.CREATED)
        assert found == ["job-3", "job-4", "job-5", "job-0", "job-1", "job-2", "job-6", "job-7", "job-8"]

    def test_by_status(self, connection: Connection) -> None:
        for name in "abc":
            create(connection, name)
        claim(connection, "b")
        claim(connection, "c")
        complete(connection, "c")
        assert self.ids(connection, statuses=(Status.PROCESSING, Status.COMPLETED)) == ["b", "c"]

    def test_by_text_that_may_hold_any_character(self, connection: Connection) -> None:
        create(connection, "a", owner="Ada@example.org")
        create(connection, "b", error="100% broken_thing \\ done")
        create(connection, "c", video_url="/presentations/c/video")
        assert self.ids(connection, text="ada@") == ["a"]
        assert self.ids(connection, text="0% b") == ["b"]
        assert self.ids(connection, text="broken_") == ["b"]
        assert self.ids(connection, text="%") == ["b"]
        assert self.ids(connection, text="_") == ["b"]
        assert self.ids(connection, text="\\") == ["b"]
        assert self.ids(connection, text="/c/") == ["c"]
        assert self.ids(connection, text=os.fsdecode(b"\xff\0")) == []

    def test_by_root_and_time(self, connection: Connection) -> None:
        for number, root_id in enumerate(["r1", "r2", "r1"]):
            create(connection, f"{number}", at=later(number), root_id=root_id)
        assert self.ids(connection, same={"root_id": "r1"}) == ["2", "0"]
        assert self.ids(connection, spans={Order.CREATED: (later(1), None)}) == ["2", "1"]
        assert self.ids(connection, spans={Order.CREATED: (None, later(1))}) == ["0"]

    def test_by_the_beginning_of_an_id(self, connection: Connection) -> None:
        for name in ("ab1", "ab2", "b", "a\U0010fffe"):
            create(connection, name)
        assert resolve_prefix(connection, "ab") == ["ab1", "ab2"]
        assert resolve_prefix(connection, "a", limit=2) == ["ab1", "ab2"]
        assert resolve_prefix(connection, "a\U0010fffe") == ["a\U0010fffe"]
        assert resolve_prefix(connection, "%") == []

    @pytest.mark.parametrize("is_reversed", [False, True])
    def test_the_jobs_of_an_owner_are_found_by_their_index(
        self, connection: Connection, is_reversed: bool
    ) -> None:
        """Whatever the length of the name: the index holds how it begins."""
        for number in range(40):
            owner = "ada" if number % 20 else "b" * 9_000
            create(connection, f"{number:02}", at=later(number), owner=owner)
        if connection.dialect.name == "postgresql":
            # On so few rows PostgreSQL would read all of them; what matters is that it need not.
            for way in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
                connection.exec_driver_sql(f"SET LOCAL {way} = off")
        for owner, count in (("ada", 38), ("b" * 9_000, 2), ("b" * 8_999, 0)):
            wanted = JobQuery(same={"owner": owner}, is_reversed=is_reversed)
            assert len(find_jobs(connection, wanted, Stretch(50))) == count
            plan = plans_of(connection, lambda wanted=wanted: find_jobs(connection, wanted, Stretch(9)))[0]
            assert "ix_job_owner" in plan
            assert "Sort" not in plan
            assert "TEMP B-TREE" not in plan

    def test_an_id_that_is_no_text_is_unknown(self, connection: Connection) -> None:
        with pytest.raises(UnknownJob):
            jobs.get_job(connection, os.fsdecode(b"\xff\0"))
        assert resolve_prefix(connection, os.fsdecode(b"\xff\0")) == []

    def test_no_page_is_sorted_by_the_database(self, connection: Connection) -> None:
        for number in range(50):
            create(connection, f"{number}", at=later(number))
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            # On so few rows PostgreSQL would sort; what matters is that it need not.
            for way in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
                connection.exec_driver_sql(f"SET LOCAL {way} = off")
        moment = f"'{format_timestamp(later(20))}'"
        table = "job" if is_sqlite else "jobctl.job"
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        for condition in (
            "created_at IS NOT NULL",
            "created_at IS NULL AND job_id > '5'",
            f"created_at <= {moment} AND (created_at < {moment} OR job_id > '20')",
        ):
            sql = (
                f"{explain} SELECT * FROM {table} WHERE {condition} ORDER BY created_at DESC, job_id LIMIT 9"
            )
            plan = "\n".join(str(row) for row in connection.execute(text(sql)))
            assert "ix_job_created_at" in plan
            assert "Sort" not in plan
            assert "TEMP B-TREE" not in plan


class TestFilesOfAJob:
    def test_its_video_comes_first_and_names_come_back_as_bytes(self, connection: Connection) -> None:
        link(connection, "a", r"caf\xe9.jpg", "thumbnail")
        link(connection, "a", "x/presentation_a.mp4", "video", size=5, sha256="ab", media={"fps": 25})
        video, thumbnail = jobs.artifacts_of(connection, "a")
        assert (video.path, video.size, video.media) == ("x/presentation_a.mp4", 5, {"fps": 25})
        assert thumbnail.path == os.fsdecode(b"caf\xe9.jpg")
