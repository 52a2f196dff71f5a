"""The queue as a service imports it."""

from __future__ import annotations

import os
import shutil
import threading
import tracemalloc
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, select

import jobctl
from jobctl import clock
from jobctl.errors import IllegalTransition, JobctlError, JobExists, UnknownJob, UsageError
from jobctl.model.status import Cause, Status
from jobctl.ops import queue as queue_operations
from jobctl.ops.site import open_site
from jobctl.settings import load_settings
from jobctl.store import enqueue, jobs
from jobctl.store.engine import Store, create_store
from jobctl.store.schema import tombstone


@pytest.fixture
def queue(store_url: str) -> Iterator[jobctl.Queue]:
    with jobctl.Queue(store_url) as opened:
        yield opened


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    """An engine of the service's own, made in its own way."""
    is_postgresql = store_url.startswith("postgresql")
    made = create_engine(
        store_url.replace("postgresql://", "postgresql+psycopg://")
        if is_postgresql
        else f"sqlite:///{store_url}"
    )
    yield made
    made.dispose()


def test_a_job_in_the_callers_transaction_is_there_once_that_is_committed(
    queue: jobctl.Queue, engine: Engine
) -> None:
    with engine.connect() as connection:
        queue.enqueue("render", {"n": 1}, job_id="kept", connection=connection)
        connection.commit()
    with engine.connect() as connection:
        queue.enqueue("render", job_id="dropped", connection=connection)
        connection.rollback()
    assert queue.get("kept").status is Status.QUEUED
    with pytest.raises(UnknownJob):
        queue.get("dropped")


def test_a_connection_to_another_database_is_refused(queue: jobctl.Queue) -> None:
    other = create_engine("sqlite://")
    with other.connect() as connection, pytest.raises(UsageError, match="another database"):
        queue.enqueue("render", connection=connection)
    other.dispose()


def test_a_delay_or_a_moment_says_when_a_job_is_due(queue: jobctl.Queue) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert queue.enqueue("render", at=at).run_at == at
    delayed = queue.enqueue("render", delay="5m")
    assert delayed.run_at is not None
    assert delayed.created_at is not None
    assert delayed.run_at - delayed.created_at == timedelta(minutes=5)


def test_a_task_says_how_often_its_jobs_are_tried(queue: jobctl.Queue) -> None:
    render = jobctl.task("render-often", retries=7, queue="films")(lambda attempt: None)
    job = queue.enqueue(render)
    assert (job.kind, job.max_attempts, job.queue) == ("render-often", 8, "films")


def test_an_id_that_is_taken_is_refused_and_a_payload_that_is_no_json(queue: jobctl.Queue) -> None:
    queue.enqueue("render", job_id="one")
    with pytest.raises(JobExists):
        queue.enqueue("render", job_id="one")
    with pytest.raises(ValueError, match="JSON"):
        queue.enqueue("render", {1, 2})


def test_a_payload_that_is_too_large_is_refused_and_nothing_enqueued(
    queue: jobctl.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue, "LARGEST_PAYLOAD", 20)
    queue.enqueue("render", {"at_most": "123456"}, job_id="fits")
    with pytest.raises(ValueError, match="21 bytes of JSON, more than 20"):
        queue.enqueue("render", {"at_most": "1234567"}, job_id="large")
    with pytest.raises(UnknownJob):
        queue.get("large")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"task": ""}, "'' is no task"),
        ({"priority": 1 << 40}, "priority 1099511627776 is no whole number"),
        ({"priority": "high"}, "priority 'high' is no whole number"),
        ({"max_attempts": 0}, "max_attempts 0 is no whole number"),
        ({"key": ""}, "the key is empty"),
        ({"at": datetime(2030, 1, 1)}, "with its zone"),
        ({"at": "2030-01-01"}, "with its zone"),
        ({"at": datetime(2030, 1, 1, tzinfo=UTC), "delay": 5}, "delay and at exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused_on_either_database(
    queue: jobctl.Queue, said: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        queue.enqueue(**{"task": "render", **said})
    with pytest.raises(ValueError, match=why):
        queue.enqueue_many([jobctl.Request(**{"task": "render", **said})])


def test_of_many_those_that_are_there_are_left_out_and_other_jobs_are_told(
    queue: jobctl.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    assert queue.enqueue_many([jobctl.Request("render", 1, key="k"), jobctl.Request("render", 1, job_id="i")])
    again = [jobctl.Request("render", 1, key="k"), jobctl.Request("render", 1, job_id="i")]
    assert queue.enqueue_many(again) == 0
    assert _told(caplog) == []
    others = [jobctl.Request("render", 2, key="k"), jobctl.Request("other", 1, job_id="i")]
    assert queue.enqueue_many(others) == 0
    assert [message.partition(" has ")[2] or message for message in _told(caplog)] == [
        "the key 'k', with another payload; nothing was enqueued",
        "a job i is recorded already, another one; it was left as it is",
    ]


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the queue said; the driver may log that a pipeline was cut short, or not, as the race goes."""
    return [record.getMessage() for record in caplog.records if record.name == "jobctl.queue"]


def test_a_queue_goes_on_where_another_file_of_its_store_was_put_in_the_stores_place(tmp_path: Path) -> None:
    """As a restored backup is: what is written then must not go to the file that was moved aside."""
    url, aside = str(tmp_path / "jobs.db"), tmp_path / "aside.db"
    create_store(url, now=clock.now(), version="1")[0].close()
    shutil.copy(url, tmp_path / "other.db")
    with jobctl.Queue(url) as queue:
        queue.enqueue("render", job_id="before")
        for end in ("", "-wal", "-shm"):
            os.rename(f"{url}{end}", f"{aside}{end}")
        os.rename(tmp_path / "other.db", url)
        queue.enqueue("render", job_id="after")
        assert queue.get("after").status is Status.QUEUED
        with pytest.raises(UnknownJob):
            queue.get("before")


def test_a_forked_process_uses_connections_of_its_own(queue: jobctl.Queue) -> None:
    queue.enqueue("render", job_id="parent-1")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            queue.enqueue("render", job_id="child")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    queue.enqueue("render", job_id="parent-2")
    assert [queue.get(each).status for each in ("parent-1", "child", "parent-2")] == [Status.QUEUED] * 3


def test_a_queue_rides_out_that_its_connections_were_cut(postgresql_url: str) -> None:
    with jobctl.Queue(postgresql_url) as queue, psycopg.connect(postgresql_url, autocommit=True) as other:
        queue.enqueue("render", job_id="before")
        other.execute(
            # Until they are gone, and for a minute at most.
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid != pg_backend_pid()"
            " AND datname = current_database()"
        )
        assert queue.enqueue("render", job_id="after").status is Status.QUEUED


@pytest.mark.parametrize("many", [False, True])
def test_a_deleted_job_that_is_enqueued_again_begins_a_new_life(
    queue: jobctl.Queue, store: Store, many: bool
) -> None:
    queue.enqueue("render", job_id="again")
    with store.write() as connection:
        jobs.delete_job(connection, "again", actor="ada", at=clock.now())
    requests = [jobctl.Request("render", job_id="again"), *(jobctl.Request("render") for _ in range(30))]
    assert queue.enqueue_many(requests if many else requests[:1]) == (31 if many else 1)
    with store.read() as connection:
        assert connection.execute(select(tombstone.c.closed_at)).scalar_one() is not None


def test_what_no_database_holds_is_written_out(queue: jobctl.Queue) -> None:
    queue.enqueue_many([jobctl.Request("render", {"text": "a\0b"}, owner="o\0\udce9", job_id="odd")])
    assert queue.get("odd").owner == "o\\x00\\udce9"


def test_a_cancel_that_came_too_late_says_what_the_job_is_now(store_url: str, queue: jobctl.Queue) -> None:
    """The executor ends the job between the look at it and the change: it is looked at again."""
    settings, answers = load_settings(database=store_url, environ={}), []
    queue.enqueue("render", job_id="j1")
    with open_site(settings) as site, open_site(settings) as other:
        with site.store.write() as connection:
            at = site.store.now(connection)
            step = {"actor": "service", "at": at}
            jobs.change_status(
                connection, "j1", Status.PROCESSING, expect=Status.QUEUED, cause=Cause.CLAIM, **step
            )

        def cancel() -> None:
            try:
                queue_operations.cancel(other, "j1")
            except JobctlError as error:
                answers.append(error)

        late = threading.Thread(target=cancel)
        with site.store.write() as connection:
            jobs.change_status(
                connection, "j1", Status.COMPLETED, expect=Status.PROCESSING, cause=Cause.EXECUTOR, **step
            )
            late.start()
            if site.store.dialect.name == "postgresql":
                _await_somebody_waiting(settings.database)
        late.join()
    (error,) = answers
    assert isinstance(error, IllegalTransition)
    assert "completed" in error.message


def _await_somebody_waiting(url: str) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute(waiting).fetchone():
            clock.sleep(0.01)


@pytest.mark.parametrize("past", [{"delay": -5}, {"at": datetime(1, 1, 1, tzinfo=UTC)}])
def test_what_is_past_is_due_at_once(queue: jobctl.Queue, past: dict[str, Any]) -> None:
    alone = queue.enqueue("render", **past)
    queue.enqueue_many([jobctl.Request("render", job_id="of many", **past)])
    for job in (queue.get(alone.job_id), queue.get("of many")):
        assert job.run_at is not None
        assert job.created_at is not None
        assert job.run_at >= job.created_at


@pytest.mark.parametrize(
    "beyond",
    [
        {"delay": 1e12},
        {"delay": float("inf")},
        {"at": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=12)))},
    ],
)
def test_what_no_calendar_holds_is_refused_and_not_enqueued(
    queue: jobctl.Queue, store_url: str, beyond: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"a hundred years|beyond the calendar"):
        queue.enqueue("render", job_id="j1", **beyond)
    with pytest.raises(ValueError, match=r"a hundred years|beyond the calendar"):
        queue.enqueue_many([jobctl.Request("render", job_id="j1", **beyond)])
    with pytest.raises(UnknownJob):
        queue.get("j1")


def test_a_queue_whose_name_no_database_holds_is_written_out(queue: jobctl.Queue) -> None:
    queue.enqueue("render", queue="a\0b", job_id="alone")
    assert queue.enqueue_many([jobctl.Request("render", queue="a\0b", job_id="many")]) == 1
    assert [queue.get(job_id).queue for job_id in ("alone", "many")] == ["a\\x00b"] * 2


def test_many_are_created_and_due_in_the_order_they_were_given(queue: jobctl.Queue) -> None:
    """Their ids say nothing of it, and lists are ordered by when they were created."""
    ids = [str(uuid.uuid4()) for _ in range(50)]
    queue.enqueue_many(jobctl.Request("render", job_id=job_id) for job_id in ids)
    created = [queue.get(job_id).created_at for job_id in ids]
    assert len(set(created)) == len(ids)
    assert created == sorted(created, key=str)
    assert created == [queue.get(job_id).run_at for job_id in ids]


def test_of_many_large_payloads_few_are_held_at_once(queue: jobctl.Queue) -> None:
    tracemalloc.start()
    queue.enqueue_many(jobctl.Request("render", "x" * (1 << 20)) for _ in range(48))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80 << 20
