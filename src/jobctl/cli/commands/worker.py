"""``jobctl worker``: take jobs and run them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.context import Call, call_of
from jobctl.cli.limits import duration_of
from jobctl.errors import ConfigurationError, ExitCode, UsageError
from jobctl.model.amounts import counted
from jobctl.report.envelope import Ending
from jobctl.work import MOST_SLOTS

if TYPE_CHECKING:
    from jobctl.runner.options import WorkerOptions
    from jobctl.settings import Settings


def worker(
    context: typer.Context,
    *,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--tasks", metavar="MODULE", help="A module that declares tasks; may be repeated."),
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", metavar="NAME", help="Serve this queue; of several, the first one first."),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option("--slots", metavar="N", min=1, max=MOST_SLOTS, help="How many attempts run at once."),
    ] = None,
    isolation: Annotated[
        str, typer.Option("--isolation", metavar="process|thread", help="Where attempts run.")
    ] = "process",
    burst: Annotated[bool, typer.Option("--burst", help="End once nothing is due.")] = False,
    lease: Annotated[
        str | None,
        typer.Option(
            "--lease", metavar="DURATION", help="How long without a heartbeat until others take over."
        ),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option("--grace", metavar="DURATION", help="How long attempts may go on once asked to stop."),
    ] = None,
) -> ExitCode:
    """Take jobs from the queues and run them, until asked to stop."""
    from jobctl.runner.options import Voice, WorkerOptions  # noqa: PLC0415 - help stays quick
    from jobctl.runner.worker import Worker  # noqa: PLC0415

    if isolation not in {"process", "thread"}:
        raise UsageError(f"--isolation {isolation!r} is neither process nor thread", hint="leave it out")
    if queue and not all(queue):
        raise UsageError("--queue '' is no name of a queue", hint="leave it out, or name one")
    call = call_of(context)
    settings = call.settings()
    lease_age, grace_age = duration_of("--lease", lease), duration_of("--grace", grace)
    if lease_age is not None and not lease_age:
        raise UsageError(f"--lease {lease!r} is no time to live on", hint="write --lease 10s")
    work = settings.work
    options = WorkerOptions(
        queues=tuple(dict.fromkeys(queue or work.queues)),
        slots=slots or work.slots or os.cpu_count() or 1,
        isolation=isolation,
        modules=tuple(dict.fromkeys([*work.modules, *(tasks or [])])),
        is_burst=burst,
        lease_s=lease_age.total_seconds() if lease_age is not None else work.lease_s,
        grace_s=grace_age.total_seconds() if grace_age is not None else work.grace_s,
    )
    _expect_tasks(settings, options)
    voice = Voice(call.output.note, call.output.detail)
    with call.open_site() as site:
        made = Worker(site, options, work, voice=voice, reload=lambda: call.settings().work)
        counters = made.run()
    counts = {name: int(count) for name, count in counters.as_json().items() if not name.endswith("_s")}
    _sum_up(call, counts)
    # Whoever runs it from cron must hear that jobs of a broken module were left.
    code = ExitCode.INCOMPLETE if burst and made.troubles else ExitCode.CLEAN
    return call.output.end(Ending(code, counts=counts))


def _expect_tasks(settings: Settings, options: WorkerOptions) -> None:
    from jobctl.runner.tasks import has_entry_points  # noqa: PLC0415 - help stays quick

    if not (options.modules or settings.work.commands or has_entry_points()):
        raise ConfigurationError(
            "no task is known: there is nothing this worker could run",
            hint="name the module that declares them: jobctl worker --tasks myservice.tasks",
        )


def _sum_up(call: Call, counts: dict[str, int]) -> None:
    done = [
        counted(count, "death") if name == "deaths" else f"{count:,} {name.replace('_', ' ')}"
        for name, count in counts.items()
        if count
    ]
    call.output.say(", ".join(done) or "Nothing was due.")
