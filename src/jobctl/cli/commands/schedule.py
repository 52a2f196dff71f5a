"""``jobctl schedule``: what cron or systemd is to run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.asking import is_confirmed
from jobctl.cli.context import Call, call_of
from jobctl.cli.limits import duration_of
from jobctl.cli.options import YesOption
from jobctl.cli.output import Format
from jobctl.core.schedule import TASKS, why_no_period
from jobctl.errors import ApprovalNeeded, ExitCode, UsageError
from jobctl.model.amounts import counted
from jobctl.report.columns import Column
from jobctl.report.envelope import Ending

if TYPE_CHECKING:
    from jobctl.ops.schedule import Schedule, ScheduleOptions
    from jobctl.settings import Settings

_NAMES = [task.name for task in TASKS]
_COLUMNS: Sequence[Column[Any]] = (Column(name="path", value=lambda item: item["path"]),)


def schedule(
    context: typer.Context,
    *,
    cron: Annotated[bool, typer.Option("--cron", help="Lines for a crontab.")] = False,
    systemd: Annotated[bool, typer.Option("--systemd", help="A service and a timer for each task.")] = False,
    install: Annotated[bool, typer.Option("--install", help="Write them to where they belong.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take away what was installed.")] = False,
    worker: Annotated[
        bool,
        typer.Option(
            "--worker", help="A service for a worker, started where this is called, instead of the tasks."
        ),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="TASK", help=f"One of {', '.join(_NAMES)}; repeatable."),
    ] = None,
    every: Annotated[
        list[str] | None,
        typer.Option(
            "--every", metavar="TASK=DURATION", help="How often a task runs: expire=15m; repeatable."
        ),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Who runs it.")] = None,
    directory: Annotated[
        str | None, typer.Option("--directory", metavar="DIR", help="Write there instead.")
    ] = None,
    environment_file: Annotated[
        str | None,
        typer.Option("--environment-file", metavar="FILE", help="Where systemd reads JOBCTL_… from."),
    ] = None,
    yes: YesOption = False,
) -> ExitCode:
    """Print, or install, what cron or systemd is to run."""
    from jobctl.ops.schedule import Kind, ScheduleOptions, default_kind, make_schedule  # noqa: PLC0415

    call = call_of(context)
    if (cron and systemd) or (install and remove):
        raise UsageError(
            "--cron and --systemd, or --install and --remove, exclude each other; nothing was changed",
            hint="leave one of them out",
        )
    if worker and (cron or only or every):
        raise UsageError(
            "--worker is one service of systemd's, without --cron, --only or --every; nothing was changed",
            hint="write jobctl schedule --systemd --worker",
        )
    options = ScheduleOptions(
        is_worker=worker,
        kind=Kind.CRON if cron else Kind.SYSTEMD if systemd or worker else default_kind(),
        is_placed=install or remove,
        only=frozenset(_task(name) for name in only or ()),
        every=_periods(every or []),
        user=user,
        database=call.database or os.environ.get("JOBCTL_DATABASE_URL"),
        environment_file=environment_file,
        directory=directory,
    )
    if remove:
        return _remove(call, options)
    settings = call.settings()
    if worker:
        _expect_tasks(settings)
    made = make_schedule(settings, options)
    for warning in made.warnings:
        call.output.warn(warning)
    if install:
        return _install(call, made, yes=yes)
    _print(call, made)
    return call.output.end()


def _expect_tasks(settings: Settings) -> None:
    from jobctl.runner.tasks import has_entry_points  # noqa: PLC0415 - help stays quick

    if not (settings.work.modules or settings.work.commands or has_entry_points()):
        raise UsageError(
            "no configuration says which tasks a worker can run; nothing was changed",
            hint='write [worker] modules = ["myservice.tasks"] into jobctl.toml',
        )


def _task(name: str) -> str:
    if name not in _NAMES:
        raise UsageError(f"{name!r} is no task", hint=f"tasks: {', '.join(_NAMES)}")
    return name


def _periods(texts: list[str]) -> dict[str, timedelta]:
    periods = {}
    for text in texts:
        name, sign, age = text.partition("=")
        if not sign:
            raise UsageError(f"--every {text!r} says of no task how often", hint="write --every expire=5m")
        period = duration_of("--every", age) or timedelta(0)
        refused = why_no_period(period)
        if refused:
            raise UsageError(f"--every {text}: {refused}", hint="write expire=5m, recover=6h or cleanup=1d")
        periods[_task(name)] = period
    return periods


def _print(call: Call, made: Schedule) -> None:
    """On stdout exactly the text, so that it can be sent on; several files under their names."""
    if call.output.format is not Format.TEXT:
        _list(call, made)
        return
    for path, file in zip(made.options.paths, made.files, strict=True):
        call.output.text(f"# {path}\n{file.text}\n" if len(made.files) > 1 else file.text)
    if not made.options.is_placed:
        others = "" if made.options.place else " 'crontab -' replaces all lines, --install keeps the others."
        call.output.note(f"Nothing was written; --install writes it.{others}")


def _list(call: Call, made: Schedule) -> None:
    kind = made.options.kind.value
    listing = call.output.listing(_COLUMNS, lambda item: item)
    for path, file in zip(made.options.paths, made.files, strict=True):
        listing.add({"path": path, "kind": kind, "text": file.text})


def _install(call: Call, made: Schedule, *, yes: bool) -> ExitCode:
    from jobctl.ops.schedule_files import check_place, install  # noqa: PLC0415 - help stays quick

    check_place(made.options)
    if not yes:
        if not call.can_ask:
            error = ApprovalNeeded(
                f"writing {counted(len(made.files), 'file')} needs a yes, "
                "and there is no terminal to ask on; nothing was changed",
                hint="see them without --install, and write them with --install --yes",
            )
            return call.output.end(Ending(error.exit_code, errors=[error]))
        _print(call, made)
        if not is_confirmed(f"\nWrite {', '.join(made.options.paths)}?"):
            call.output.say("Nothing was changed.")
            return ExitCode.APPROVAL
    install(made)
    _list(call, made)
    for path in made.options.paths:
        call.output.say(f"Wrote {path}.")
    if made.enabling:
        call.output.say(f"Next: {made.enabling}")
    if made.options.systemctl.endswith("--user"):
        call.output.say("To have it run while you are not logged in, too: loginctl enable-linger")
    return call.output.end(Ending(data={"next": made.enabling or None}))


def _remove(call: Call, options: ScheduleOptions) -> ExitCode:
    from jobctl.ops.schedule import Kind  # noqa: PLC0415 - help stays quick
    from jobctl.ops.schedule_files import remove  # noqa: PLC0415 - help stays quick

    if options.only and options.kind is Kind.CRON:
        raise UsageError(
            "cron's lines are removed together; nothing was changed",
            hint="leave --only out, or install what shall stay: jobctl schedule --cron --install --only TASK",
        )
    gone = remove(options)
    for path in gone:
        call.output.say(f"Removed {path}.")
    if not gone:
        call.output.say("There was nothing of ours to remove.")
    control = options.systemctl
    ending = f"{control} stop {options.started}; {control} daemon-reload" if gone and control else None
    if ending:
        call.output.say(f"Next: {ending}")
    return call.output.end(Ending(data={"removed": gone, "next": ending}))
