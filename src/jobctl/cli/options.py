"""The options that every command takes, declared once and added to each."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobctl.cli.context import Call
from jobctl.cli.output import Format
from jobctl.store.redact import redact_url

RootOption = Annotated[
    str | None, typer.Option("--root", metavar="ROOT", help="Only this root, by id or path.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Apply without asking.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")]
SavePlanOption = Annotated[
    str | None,
    typer.Option("--plan", metavar="FILE", help="Save the plan for 'jobctl apply' and change nothing."),
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for another run to end.")]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="CLASS=N", help="Let a brake pass up to N of a class, in this run."),
]
LogTimezoneOption = Annotated[
    str | None,
    typer.Option(
        "--log-timezone", metavar="ZONE", help="Of times in logs that name none, such as UTC or +02:00."
    ),
]
JitterOption = Annotated[
    str | None,
    typer.Option(
        "--jitter", metavar="DURATION", help="First wait a random time below this, such as 30s: for cron."
    ),
]
ExplainOption = Annotated[bool, typer.Option("--explain", help="Tell of all that is kept, too, and why.")]
OlderThanOption = Annotated[
    str | None,
    typer.Option("--older-than", metavar="DURATION", help="Only files at least this old, such as 30d."),
]
MaxBytesOption = Annotated[
    str | None,
    typer.Option("--max-bytes", metavar="SIZE", help="Hold what would take more than this, such as 50G."),
]
OlderOption = Annotated[
    str | None, typer.Option("--older", metavar="TIME", help="Older than this, such as 36h or 2026-01-31.")
]
NewerOption = Annotated[
    str | None, typer.Option("--newer", metavar="TIME", help="Newer than this, such as 36h or 2026-01-31.")
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Not before this: 2h, yesterday 10:00, a date.")
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only before this.")]
KindOption = Annotated[str | None, typer.Option("--kind", metavar="TASK", help="Only of this task.")]
QueueOption = Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Only of this queue.")]
OwnerOption = Annotated[str | None, typer.Option("--owner", metavar="WHO", help="Only of this owner.")]


def shared_parameters(*, streams: bool) -> list[Any]:
    """Parameters that put their values into the ``Call``; ``streams`` adds ``--jsonl``."""
    app = typer.Typer(add_completion=False)
    app.command()(_declare)
    declared: list[Any] = list(typer.main.get_command(app).params)
    return [parameter for parameter in declared if streams or parameter.name != "jsonl"]


def _database(context: typer.Context, value: str | None) -> None:
    call = context.find_object(Call)
    if call is not None:
        call.database = value
        _remember(call, "--database", value)


def _config(context: typer.Context, value: str | None) -> None:
    call = context.find_object(Call)
    if call is not None:
        call.config = value
        _remember(call, "--config", value)


def _remember(call: Call, option: str, value: str | None) -> None:
    """Suggested commands repeat the option, unless that would show a password."""
    if value and redact_url(value) == value:
        call.output.place[option] = value


def _as_root(context: typer.Context, value: bool) -> None:  # noqa: FBT001 - typer's form
    call = context.find_object(Call)
    if call is not None:
        call.as_root = value


def _format(
    context: typer.Context,
    parameter: typer.CallbackParam,
    value: bool,  # noqa: FBT001 - typer's form
) -> None:
    call = context.find_object(Call)
    if call is not None and value:
        call.output.format = Format(parameter.name)


def _quiet(context: typer.Context, value: bool) -> None:  # noqa: FBT001 - typer's form
    call = context.find_object(Call)
    if call is not None:
        call.output.is_quiet = value


def _verbose(context: typer.Context, value: bool) -> None:  # noqa: FBT001 - typer's form
    call = context.find_object(Call)
    if call is not None:
        call.output.is_verbose = value


_DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="The job store: a file, or postgresql://… [JOBCTL_DATABASE_URL]",
        callback=_database,
        expose_value=False,
    ),
]
_ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration file. [JOBCTL_CONFIG]",
        callback=_config,
        expose_value=False,
    ),
]
_AsRootOption = Annotated[
    bool,
    typer.Option(
        "--as-root",
        help="Run by root, do not become the owner of the outputs.",
        callback=_as_root,
        expose_value=False,
    ),
]
_JsonOption = Annotated[
    bool, typer.Option("--json", help="Answer with one JSON object.", callback=_format, expose_value=False)
]
_JsonLinesOption = Annotated[
    bool,
    typer.Option("--jsonl", help="Answer with one JSON object a line.", callback=_format, expose_value=False),
]
_QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Say nothing when all is well.", callback=_quiet, expose_value=False),
]
_VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr.", callback=_verbose, expose_value=False)
]


def _declare(
    *,
    database: _DatabaseOption = None,
    config: _ConfigOption = None,
    as_root: _AsRootOption = False,
    json: _JsonOption = False,
    jsonl: _JsonLinesOption = False,
    quiet: _QuietOption = False,
    verbose: _VerboseOption = False,
) -> None:
    """The options of every command."""
