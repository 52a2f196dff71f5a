"""The queue as a service imports it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, create_engine

import jobctl
from jobctl.errors import JobExists, UnknownJob, UsageError
from jobctl.model.status import Status


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
