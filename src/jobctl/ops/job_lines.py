"""Jobs to enqueue, one JSON text a line: read as they come, flat in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from jobctl.durations import parse_duration
from jobctl.model.enqueued import LARGEST_PAYLOAD, New
from jobctl.ops.queue import moments_after, new_job, unless_past
from jobctl.ops.site import Site
from jobctl.work import TaskSpec

if TYPE_CHECKING:
    from jobctl.ops.job_fields import JobFields


class BadLine(NamedTuple):
    """A line of which nothing is enqueued, counted from 1, and why."""

    number: int
    why: str


class Common(NamedTuple):
    """What holds for every job of which its line says nothing else."""

    queue: str | None = None
    priority: int = 0
    owner: str | None = None
    retries: int | None = None


def payloads(spec: TaskSpec, common: Common, lines: Iterable[bytes]) -> Iterator[New | BadLine]:
    """A job for each line, which is its payload."""
    for number, line in enumerate(lines, start=1):
        try:
            payload = parse_json(line)
        except ValueError as error:
            yield BadLine(number, _said(error))
        else:
            yield New(new_job(spec, **common._asdict()), payload)


def described_jobs(
    site: Site, spec: TaskSpec, common: Common, lines: Iterable[bytes]
) -> Iterator[New | BadLine]:
    """A job for each line, which is an object of its fields."""
    from jobctl.ops.job_fields import parse_fields  # noqa: PLC0415 - imports pydantic, which is slow

    due = moments_after(site)
    for number, line in enumerate(lines, start=1):
        try:
            yield _described(spec, common, parse_fields(parse_json(line)), due)
        except ValueError as error:
            yield BadLine(number, _said(error))


def parse_json(text: str | bytes) -> Any:
    """JSON, without what only Python takes for it. Raises ``ValueError``."""
    if len(text) > LARGEST_PAYLOAD:
        raise ValueError(f"it is larger than {LARGEST_PAYLOAD >> 20} MiB")
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _described(spec: TaskSpec, common: Common, said: JobFields, due: Callable[[timedelta], datetime]) -> New:
    if said.at is not None and said.delay is not None:
        raise ValueError("delay and at exclude each other")
    job = new_job(
        spec,
        job_id=said.job_id,
        key=said.key,
        queue=said.queue or common.queue,
        owner=common.owner if said.owner is None else said.owner,
        priority=common.priority if said.priority is None else said.priority,
        retries=common.retries if said.retries is None else said.retries,
    )
    if said.delay is not None:
        job.run_at = due(_duration(said.delay))
    elif said.at is not None:
        job.run_at = unless_past(said.at, due(timedelta(0)))
    return New(job, said.payload)


def _duration(delay: str | float) -> timedelta:
    try:
        wait = parse_duration(delay) if isinstance(delay, str) else timedelta(seconds=delay)
    except OverflowError:
        raise ValueError(f"delay {delay!r} is too long") from None
    if wait < timedelta(0):
        raise ValueError(f"delay {delay!r} is less than nothing")
    return wait


def _said(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON: {error.msg} at column {error.colno}"
    return str(error)


def _finite(digits: str) -> float:
    # What is too large a number for Python becomes infinite in it, which JSON cannot say.
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:20]} is too large a number")
    return number


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
