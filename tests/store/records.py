"""Short words for what the store's tests do to job records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.store import jobs
from jobctl.store.engine import Connection
from jobctl.store.schema import job

AT = datetime(2026, 1, 31, 12, 0, 0, 123456, UTC)


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def create(connection: Connection, job_id: str, *, at: datetime = AT, **fields: Any) -> Job:
    return jobs.create_job(connection, Job(job_id=job_id, **fields), actor="service", at=at)


def claim(connection: Connection, job_id: str, *, at: datetime = AT, **more: Any) -> Job:
    return jobs.change_status(
        connection,
        job_id,
        Status.PROCESSING,
        expect=Status.QUEUED,
        cause=Cause.CLAIM,
        actor="worker-1",
        at=at,
        **more,
    )


def complete(connection: Connection, job_id: str, *, at: datetime = AT, **more: Any) -> Job:
    return jobs.change_status(
        connection,
        job_id,
        Status.COMPLETED,
        expect=Status.PROCESSING,
        cause=Cause.EXECUTOR,
        actor="worker-1",
        at=at,
        **more,
    )


def fail(
    connection: Connection,
    job_id: str,
    *,
    error_code: str | None = None,
    error: str = "it broke",
    at: datetime = AT,
) -> Job:
    return jobs.change_status(
        connection,
        job_id,
        Status.FAILED,
        expect=Status.PROCESSING,
        cause=Cause.EXECUTOR,
        actor="worker-1",
        at=at,
        changes={"error": error, "error_code": error_code},
    )


def retry(connection: Connection, job_id: str, *, at: datetime = AT) -> Job:
    return jobs.change_status(
        connection,
        job_id,
        Status.QUEUED,
        expect=Status.FAILED,
        cause=Cause.OPERATOR,
        actor="ada",
        at=at,
    )


def show_life(connection: Connection, job_id: str, *, at: datetime, progress: float | None = None) -> None:
    """What the record says once its attempt has told of itself, and perhaps how far it is."""
    mine = job.c.job_id == job_id
    values: dict[str, Any] = {"last_heartbeat": at}
    if progress is not None:
        highest = connection.execute(select(job.c.max_progress).where(mine)).scalar_one() or 0.0
        values |= {"progress": progress, "max_progress": max(highest, min(100.0, progress))}
    connection.execute(update(job).where(mine).values(values))
