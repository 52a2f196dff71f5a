"""The queue as a service sees it: enqueue jobs, and look at them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

from jobctl.durations import LONGEST, parse_duration
from jobctl.model.enqueued import Left, New
from jobctl.model.job import Job
from jobctl.ops import queue as operations
from jobctl.ops.serving import NamedTasks
from jobctl.ops.site import Site, open_site
from jobctl.runner.tasks import Task
from jobctl.settings import load_settings
from jobctl.store import jobs
from jobctl.work import HIGHEST_PRIORITY, LOWEST_PRIORITY, MOST_RETRIES

_log = logging.getLogger("jobctl.queue")


class Request(NamedTuple):
    """One job of many. See ``Queue.enqueue`` for the fields."""

    task: Task | str
    payload: Any = None
    key: str | None = None
    queue: str | None = None
    priority: int = 0
    owner: str | None = None
    job_id: str | None = None
    max_attempts: int | None = None
    delay: float | timedelta | str | None = None
    at: datetime | None = None


class Queue:
    """An opened job store. ``url`` as in ``--database``; left out, the settings name it."""

    def __init__(self, url: str | None = None) -> None:
        """Open the store. Raises ``StoreUninitialised`` or ``StoreUnreachable``."""
        settings = load_settings(database=url, environ=os.environ)
        self._site: Site = open_site(settings, pooled=True)
        self._named = NamedTasks()

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
        """Enqueue a job for a task, given itself or by name; the job that is queued.

        ``payload``: what JSON can say, and what the task is handed. ``queue``: where workers look for
        it, if not where the task says. ``priority``: jobs of a higher one run first. ``owner``: whose
        it is, for lists and metrics. ``job_id``: an id of one's own.

        ``key``: where a job of the task has it already, that job is returned and nothing is
        enqueued; had that one another payload, the log ``jobctl.queue`` says so. ``delay``
        (seconds, or ``"5m"``) or ``at`` (with its zone): not before then; what has passed is now.
        ``max_attempts``: one more than its retries. ``connection``: an SQLAlchemy connection of the
        caller's to the same database; the job is there once the caller commits.

        Of a task that is named, ``jobctl.toml`` says what queue and how many retries it has, else
        what the worker said of it that began last, else it is ``default`` and two retries. Where the
        task itself is given, what its decorator says holds.

        Raises ``JobExists`` for a job id that is taken, ``ValueError`` for a payload that is no
        JSON and for what makes no sense.
        """
        new = self._new(Request(task, payload, key, queue, priority, owner, job_id, max_attempts, delay, at))
        delay_s = _duration(delay).total_seconds()
        if connection is None:
            made = operations.enqueue_one(self._site, new, at=at, delay_s=delay_s)
        else:
            made = operations.enqueue_within(self._site, connection, new, at=at, delay_s=delay_s)
        if not made.has_same_payload:
            said = "job %s has the key %r, with another payload; nothing was enqueued"
            _log.warning(said, made.job.job_id, key)
        return made.job

    def enqueue_many(self, requests: Iterable[Request]) -> int:
        """Enqueue a stream of jobs, in order, flat in memory; how many were new.

        One whose key or id is taken is left out; where it is another job than the one that has
        it, the log ``jobctl.queue`` says so.
        """
        after = operations.moments_after(self._site)

        def new(request: Request) -> New:
            made = self._new(request)
            wait = _duration(request.delay)
            # At once is from when it is written, not from now, which is earlier.
            if wait:
                made.job.run_at = after(wait)
            elif request.at is not None:
                made.job.run_at = operations.unless_past(request.at, after(timedelta(0)))
            return made

        return operations.enqueue_stream(self._site, map(new, requests), _warn_of_another)

    def get(self, job_id: str) -> Job:
        """One job. Raises ``UnknownJob``."""
        with self._site.store.read() as connection:
            return jobs.get_job(connection, job_id)

    def cancel(self, job_id: str) -> Job:
        """End a job that is queued, or ask the attempt that runs to stop; the job as it is then.

        Raises ``IllegalTransition`` for one that is ended, and ``UnknownJob``.
        """
        return operations.cancel(self._site, job_id)

    def retry(self, job_id: str) -> Job:
        """Enqueue a failed or cancelled job again; the job as it is then.

        Raises ``IllegalTransition`` for one that is neither, and ``UnknownJob``.
        """
        return operations.retry(self._site, job_id)

    def _new(self, request: Request) -> New:
        _check(request)
        task = request.task
        spec = task.spec if isinstance(task, Task) else self._named.spec(self._site, task)
        job = operations.new_job(
            spec,
            job_id=request.job_id,
            queue=request.queue,
            owner=request.owner,
            priority=request.priority,
            key=request.key,
        )
        if request.max_attempts is not None:
            job.max_attempts = request.max_attempts
        return New(job, request.payload)


def _check(request: Request) -> None:
    """Refuse what no database could hold, or only one of them. Raises ``ValueError``."""
    if not request.task:
        raise ValueError(f"{request.task!r} is no task; write enqueue('render')")
    if type(request.priority) is not int or not LOWEST_PRIORITY <= request.priority <= HIGHEST_PRIORITY:
        raise ValueError(
            f"priority {request.priority!r} is no whole number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}"
        )
    most = request.max_attempts
    if most is not None and (type(most) is not int or not 1 <= most <= 1 + MOST_RETRIES):
        raise ValueError(f"max_attempts {most!r} is no whole number from 1 to {1 + MOST_RETRIES}")
    at: Any = request.at
    if at is not None and request.delay is not None:
        raise ValueError("delay and at exclude each other; leave one of them out")
    if at is not None and (not isinstance(at, datetime) or at.utcoffset() is None):
        raise ValueError(f"at {at!r} is no moment: give a datetime with its zone")


def _warn_of_another(left: Left) -> None:
    if not left.is_same:
        _log.warning("%s", left.said)


def _duration(delay: float | timedelta | str | None) -> timedelta:
    if delay is None:
        return timedelta(0)
    if isinstance(delay, str):
        return parse_duration(delay)
    try:
        wait = timedelta(seconds=delay) if isinstance(delay, int | float) else delay
    except OverflowError:
        wait = timedelta.max
    # What has passed is now; of a moment beyond the calendar PostgreSQL keeps what nobody can read.
    if wait > LONGEST:
        raise ValueError(f"delay {delay!r} is longer than a hundred years")
    return max(wait, timedelta(0))
