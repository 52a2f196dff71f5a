"""``jobctl enqueue``: hand jobs to the workers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.context import Call, call_of
from jobctl.cli.limits import duration_of
from jobctl.errors import ExitCode, UsageError
from jobctl.model.enqueued import LARGEST_PAYLOAD, New
from jobctl.model.job import Job
from jobctl.report.envelope import Ending
from jobctl.report.items import job_item

if TYPE_CHECKING:
    from jobctl.ops.site import Site


def enqueue(
    context: typer.Context,
    *,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task that is to run it.")],
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="JSON|@FILE|-", help="What the task is given.")
    ] = None,
    each_line: Annotated[
        str | None,
        typer.Option("--each-line", metavar="FILE|-", help="A job for each line: its payload, as JSON."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Where a job of the task has this key, it is that job.")
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="Another queue than the task's.")
    ] = None,
    priority: Annotated[int, typer.Option("--priority", help="Higher ones go first.")] = 0,
    delay: Annotated[
        str | None, typer.Option("--delay", metavar="AGE", help="Not before so long, such as 5m.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Not before this moment, such as 2026-01-31T03:00."),
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Whose job it is.")] = None,
    job_id: Annotated[
        str | None, typer.Option("--job-id", metavar="ID", help="Its id; else a new one.")
    ] = None,
    retries: Annotated[int | None, typer.Option("--retries", min=0, help="How often to try again.")] = None,
) -> ExitCode:
    """Hand a job to the workers, and print its id."""
    from jobctl.ops import queue as operations  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    wait, moment = duration_of("--delay", delay), _moment(at)
    if each_line is not None and any(value is not None for value in (payload, key, delay, at, job_id)):
        raise UsageError(
            "--each-line goes with --queue, --priority, --owner and --retries only; nothing was enqueued",
            hint="leave the other options out, or enqueue one job at a time",
        )
    words = _payload(payload)
    with call.open_site() as site:
        spec = site.settings.work.spec_by_name(task)
        make = partial(operations.new_job, spec, queue=queue, owner=owner, priority=priority, retries=retries)
        if not operations.is_known_task(site, task):
            call.output.warn(f"no running worker knows a task {task!r}; the job waits for one")
        if each_line is not None:
            return _enqueue_lines(call, site, make, each_line)
        job = make(job_id=job_id, key=key)
        delay_s = wait.total_seconds() if wait else None
        made = operations.enqueue_one(site, New(job, words), at=moment, delay_s=delay_s)
    if made.existed:
        call.output.warn(f"job {made.job.job_id} has the key {key!r}; nothing was enqueued")
    call.output.text(f"{made.job.job_id}\n")
    counts = {"enqueued": int(not made.existed), "existed": int(made.existed)}
    return call.output.end(Ending(counts=counts, data=job_item(made.job)))


def _enqueue_lines(call: Call, site: Site, make: Callable[[], Job], place: str) -> ExitCode:
    """A job for each line that is JSON; the others are told, and the rest goes on."""
    from jobctl.ops import queue as operations  # noqa: PLC0415 - help stays quick

    bad = 0

    def news() -> Iterator[New]:
        nonlocal bad
        for number, line in enumerate(lines, start=1):
            try:
                words = _parsed(line)
            except ValueError:
                bad += 1
                call.output.warn(f"line {number} of {place} is no JSON; nothing of it was enqueued")
            else:
                yield New(make(), words)

    with ExitStack() as stack:
        lines = sys.stdin.buffer if place == "-" else stack.enter_context(_opened(place))
        count = operations.enqueue_stream(site, news())
    call.output.say(f"Enqueued {count:,} jobs.")
    code = ExitCode.INCOMPLETE if bad else ExitCode.CLEAN
    return call.output.end(Ending(code, counts={"enqueued": count, "failed": bad}))


def _opened(path: str) -> Any:
    try:
        return open(path, "rb")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}; nothing was enqueued", hint="name a readable file"
        ) from None


def _payload(text: str | None) -> Any:
    """The payload that an option names: JSON, a file of it, or standard input."""
    if text is None:
        return None
    if text == "-":
        text = _read(sys.stdin.buffer)
    elif text.startswith("@"):
        with _opened(text[1:]) as file:
            text = _read(file)
    try:
        return _parsed(text)
    except ValueError as error:
        raise UsageError(
            f"the payload is no JSON: {error}; nothing was enqueued",
            hint="""write --payload '{"slides": 3}', or --payload @FILE""",
        ) from None


def _parsed(text: str | bytes) -> Any:
    """JSON, without what only Python takes for it. Raises ``ValueError``."""
    if len(text) > LARGEST_PAYLOAD:
        raise ValueError("it is larger than 64 MiB")
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _read(file: Any) -> str:
    content: bytes = file.read(LARGEST_PAYLOAD + 1)
    return content.decode("utf-8", "backslashreplace")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise UsageError(f"--at {text!r} is no time", hint="write --at 2026-01-31T03:00") from None
