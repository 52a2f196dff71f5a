"""``jobctl enqueue``: hand jobs to the workers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl import clock
from jobctl.cli.context import Call, call_of
from jobctl.cli.limits import duration_of
from jobctl.core.health.workers import start_of
from jobctl.errors import ExitCode, UsageError
from jobctl.model.amounts import counted
from jobctl.model.enqueued import LARGEST_PAYLOAD, LATEST, Left, New
from jobctl.report.envelope import Ending
from jobctl.report.items import job_item
from jobctl.work import HIGHEST_PRIORITY, LOWEST_PRIORITY, MOST_RETRIES

if TYPE_CHECKING:
    from jobctl.ops.job_lines import BadLine
    from jobctl.ops.serving import NamedTask
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
    jobs: Annotated[
        str | None,
        typer.Option(
            "--jobs",
            metavar="FILE|-",
            help="A job for each line, as a JSON object of payload, key, queue, priority, owner, job_id, "
            "retries, delay or at.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Where a job of the task has this key, it is that job."),
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="Another queue than the task's.")
    ] = None,
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            min=LOWEST_PRIORITY,
            max=HIGHEST_PRIORITY,
            metavar="N",
            help="Higher ones go first.",
        ),
    ] = 0,
    delay: Annotated[
        str | None, typer.Option("--delay", metavar="DURATION", help="Not before so long, such as 5m.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Not before this moment, such as 2026-01-31T03:00."),
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="WHO", help="Whose job it is.")] = None,
    job_id: Annotated[
        str | None, typer.Option("--job-id", metavar="ID", help="Its id; else a new one.")
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(
            "--retries",
            min=0,
            max=MOST_RETRIES,
            metavar="N",
            help="How often to try again; else as configuration or workers say of the task, or twice.",
        ),
    ] = None,
) -> ExitCode:
    """Hand a job to the workers, and print its id."""
    from jobctl.ops import queue as operations  # noqa: PLC0415 - help stays quick
    from jobctl.ops.job_lines import Common, described_jobs, payloads  # noqa: PLC0415
    from jobctl.ops.serving import named_task  # noqa: PLC0415

    call = call_of(context)
    wait, moment = duration_of("--delay", delay), _moment(at)
    stream = "--each-line" if each_line is not None else "--jobs" if jobs is not None else None
    if stream and any(value is not None for value in (payload, key, delay, at, job_id, each_line and jobs)):
        raise UsageError(
            f"{stream} goes with --queue, --priority, --owner and --retries only; nothing was enqueued",
            hint="say the others in the lines of --jobs, or enqueue one job at a time",
        )
    if delay is not None and at is not None:
        raise UsageError(
            "--delay and --at exclude each other; nothing was enqueued", hint="leave one of them out"
        )
    if not task:
        raise UsageError("'' is no name of a task; nothing was enqueued", hint="write jobctl enqueue render")
    words = _payload(payload)
    is_for_later = bool(wait) or (moment is not None and moment > clock.now())
    with call.open_site() as site:
        named = named_task(site, task, queue=queue)
        spec = named.spec
        _warn_of(call, named, queue=queue, retries=retries, is_for_later=is_for_later)
        if stream:
            common = Common(queue, priority, owner, retries)
            with ExitStack() as stack:
                lines = _lines(each_line or jobs or "-", stack)
                if jobs is None:
                    return _enqueue_lines(call, site, payloads(spec, common, lines))
                return _enqueue_lines(call, site, described_jobs(site, spec, common, lines))
        try:
            job = operations.new_job(
                spec, job_id=job_id, key=key, queue=queue, owner=owner, priority=priority, retries=retries
            )
        except ValueError as error:
            hint = "leave it out" if key == "" else "use a shorter one"
            raise UsageError(f"{error}; nothing was enqueued", hint=hint) from None
        delay_s = wait.total_seconds() if wait else 0.0
        made = operations.enqueue_one(site, New(job, words), at=moment, delay_s=delay_s)
    if made.existed:
        other = "" if made.has_same_payload else ", with another payload"
        call.output.warn(f"job {made.job.job_id} has the key {key!r}{other}; nothing was enqueued")
    elif moment is not None and made.job.run_at != moment:
        call.output.warn(f"--at {at} has passed; job {made.job.job_id} is due at once")
    call.output.name(made.job.job_id)
    counts = {"enqueued": int(not made.existed), "existed": int(made.existed)}
    return call.output.end(Ending(counts=counts, data=job_item(made.job)))


def _warn_of(
    call: Call, named: NamedTask, *, queue: str | None, retries: int | None, is_for_later: bool
) -> None:
    """Say once what may surprise: that the job waits, unless that was asked for, and guessed retries."""
    spec = named.spec
    is_guessed = retries is None and not named.is_told
    if named.lack and not is_for_later:
        guess = f", with {_retries(spec.retries)} unless --retries says otherwise" if is_guessed else ""
        start = start_of([queue or spec.queue])
        call.output.warn(f"{named.lack}, so that the job waits{guess}; start one: {start}")
    elif is_guessed:
        known = f"no worker has told of the task {spec.name} yet"
        call.output.warn(f"{known}: it gets {_retries(spec.retries)}; --retries N says otherwise")


def _retries(number: int) -> str:
    return counted(number, "retry", "retries")


def _enqueue_lines(call: Call, site: Site, found: Iterator[New | BadLine]) -> ExitCode:
    """Enqueue what could be read; the other lines are told, and the rest goes on."""
    from jobctl.ops import queue as operations  # noqa: PLC0415 - help stays quick

    bad = existed = 0

    def note(left: Left) -> None:
        nonlocal bad, existed
        is_refused = left.key is None and not left.is_same
        bad, existed = bad + is_refused, existed + (not is_refused)
        if not left.is_same:
            call.output.warn(left.said)

    def news() -> Iterator[New]:
        nonlocal bad
        for each in found:
            if isinstance(each, New):
                yield each
                continue
            bad += 1
            call.output.warn(f"line {each.number}: {each.why}; nothing of it was enqueued")

    count = operations.enqueue_stream(site, news(), note)
    there = f"; {existed:,} {'was' if existed == 1 else 'were'} there already" if existed else ""
    call.output.say(f"Enqueued {counted(count, 'job')}{there}.")
    code = ExitCode.INCOMPLETE if bad else ExitCode.CLEAN
    return call.output.end(Ending(code, counts={"enqueued": count, "existed": existed, "failed": bad}))


def _lines(place: str, stack: ExitStack) -> Iterable[bytes]:
    lines: Iterable[bytes] = sys.stdin.buffer if place == "-" else stack.enter_context(_opened(place))
    return lines


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
        from jobctl.ops.job_lines import parse_json  # noqa: PLC0415 - help stays quick

        return parse_json(text)
    except ValueError as error:
        raise UsageError(
            f"the payload is no JSON: {error}; nothing was enqueued",
            hint="""write --payload '{"slides": 3}', or --payload @FILE""",
        ) from None


def _read(file: Any) -> str:
    content: bytes = file.read(LARGEST_PAYLOAD + 1)
    return content.decode("utf-8", "backslashreplace")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"--at {text!r} is no time", hint="write --at 2026-01-31T03:00") from None
    if moment >= LATEST:
        raise UsageError(f"--at {text!r} is beyond the calendar", hint="write --at 2026-01-31T03:00")
    return moment
