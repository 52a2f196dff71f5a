"""The queue as a service sees it: enqueue jobs, and look at them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

from jobctl.durations import parse_duration
from jobctl.model.enqueued import New
from jobctl.model.job import Job
from jobctl.ops import queue as operations
from jobctl.ops.site import Site, open_site
from jobctl.runner.tasks import Task
from jobctl.settings import load_settings
from jobctl.store import jobs


class Request(NamedTuple):
    """One job of many. See ``Queue.enqueue`` for the fields."""

    task: Task | str
    payload: Any = None
    key: str | None = None
    queue: str | None = None
    priority: int = 0
    owner: str | None = None
    job_id: str | None = None


class Queue:
    """An opened job store. ``url`` as in ``--database``; left out, the settings name it."""

    def __init__(self, url: str | None = None) -> None:
        settings = load_settings(database=url, environ=os.environ)
        self._site: Site = open_site(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store."""
        self._site.store.close()

    def enqueue(
        self,
        task: Task | str,
        payload: Any = None,
        *,
        key: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        delay: float | timedelta | str | None = None,
        at: datetime | None = None,
        owner: str | None = None,
        job_id: str | None = None,
        max_attempts: int | None = None,
        connection: Any = None,
    ) -> Job:
        """Enqueue a job for a task, given itself or by name.

        ``key``: where a job of the task has it already, that job is returned and nothing is
        enqueued. ``delay`` (seconds, or ``"5m"``) or ``at``: not before then. ``connection``: an
        SQLAlchemy connection of the caller's to the same database; the job is there once the
        caller commits. Raises ``JobExists`` for a job id that is taken, ``ValueError`` for a
        payload that is no JSON.
        """
        new = self._new(Request(task, payload, key, queue, priority, owner, job_id))
        if max_attempts is not None:
            new.job.max_attempts = max_attempts
        wait = _seconds(delay)
        if connection is not None:
            return operations.enqueue_within(self._site, connection, new, at=at, delay_s=wait)
        return operations.enqueue_one(self._site, new, at=at, delay_s=wait).job

    def enqueue_many(self, requests: Iterable[Request]) -> int:
        """Enqueue a stream of jobs, in order, flat in memory; how many were new."""
        news: Iterator[New] = map(self._new, requests)
        return operations.enqueue_stream(self._site, news)

    def get(self, job_id: str) -> Job:
        """One job. Raises ``UnknownJob``."""
        with self._site.store.read() as connection:
            return jobs.get_job(connection, job_id)

    def cancel(self, job_id: str) -> Job:
        """End a job that is queued, or ask the attempt that runs to stop. Raises ``IllegalTransition``."""
        return operations.cancel(self._site, job_id)

    def retry(self, job_id: str) -> Job:
        """Enqueue a failed or cancelled job again. Raises ``IllegalTransition``."""
        return operations.retry(self._site, job_id)

    def _new(self, request: Request) -> New:
        task, work = request.task, self._site.settings.work
        spec = task.spec if isinstance(task, Task) else work.spec_by_name(task)
        job = operations.new_job(
            spec,
            job_id=request.job_id,
            queue=request.queue,
            owner=request.owner,
            priority=request.priority,
            key=request.key,
        )
        return New(job, request.payload)


def _seconds(delay: float | timedelta | str | None) -> float | None:
    if isinstance(delay, str):
        delay = parse_duration(delay)
    return delay.total_seconds() if isinstance(delay, timedelta) else delay
