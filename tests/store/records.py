"""Short words for what the store's tests do to job records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.store import jobs
from jobctl.store.engine import Connection

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
