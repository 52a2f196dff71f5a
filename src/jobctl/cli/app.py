"""The program: a command table that loads what is called for, and every ending in one place."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from jobctl import __version__
from jobctl.cli.context import Call
from jobctl.cli.options import shared_parameters
from jobctl.cli.output import AnswerLost, Output, flush_answer, keep_streams_alive, output_for, tell_error
from jobctl.cli.table import COMMANDS, GROUPS, Entry, names_below
from jobctl.errors import DiskFailed, ExitCode, JobctlError, UsageError
from jobctl.store.redact import redact_url

__all__ = ["COMMANDS", "make_app"]

_HELP = {"help_option_names": ["--help", "-h"]}
_SHARED = frozenset(
    {"--database", "--config", "--as-root", "--json", "--jsonl", "--quiet", "-q", "--verbose", "-v"}
)
# Typer names its types as its code does: "is not a valid float range".
_NO_NUMBER = re.compile(r" is not a valid (?P<kind>int|float)[a-z]*(?: range)?$")
_KEPT = "what was done until then is kept"
_GO_ON = "run the same command again to go on"


class Interrupted(JobctlError):
    """The user pressed Ctrl-C."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"


class Terminated(JobctlError):
    """The program was asked to end by SIGTERM."""

    exit_code = ExitCode.TERMINATED
    code = "terminated"


class _TerminationRequest(BaseException):
    """Unwinds the program on SIGTERM, past everything that catches ``Exception``."""


class _Commands(Mapping[str, Any]):
    """The commands of a group; one is imported when it is asked for."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.names = names_below(group)

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        full = f"{self.group} {name}".strip()
        return _load(name, COMMANDS[full]) if full in COMMANDS else _make_group(full)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class _Group(TyperGroup):
    """A group whose help comes from the table, and which shows it when called bare."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        if isinstance(self.commands, _Commands):
            with formatter.section("Commands"):
                formatter.write_dl(list(self.commands.names.items()))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])


class Program(_Group):
    """The outermost group: what is called as ``jobctl``."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _Commands("")})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command: ``metrics`` is one, and ``metrics serve`` is another."""
        name = " ".join(args[:2])
        if len(args) > 1 and {args[0], name} <= COMMANDS.keys():
            return name, _load(name, COMMANDS[name]), args[2:]
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - typer's form
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002 - typer's form
        **extra: Any,
    ) -> NoReturn:
        """Run a command line and leave with its exit code."""
        del prog_name, standalone_mode, windows_expand_args, extra
        arguments = list(sys.argv[1:] if args is None else args)
        if "_JOBCTL_COMPLETE" in os.environ:
            super().main(arguments, "jobctl", complete_var)
        keep_streams_alive()
        sys.exit(_run(self, arguments))


def make_app() -> typer.Typer:
    """The program as a Typer application."""
    app = typer.Typer(
        name="jobctl",
        cls=Program,
        rich_markup_mode=None,
        context_settings=_HELP,
        pretty_exceptions_enable=False,
    )
    app.callback(epilog="A command's own help: jobctl COMMAND --help")(_top)
    return app


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer's form
    if value:
        typer.echo(f"jobctl {__version__}")
        raise typer.Exit


def _top(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Keep a record of video jobs, and rebuild it from the files when it is lost."""
    del version


def _make_group(name: str) -> _Group:
    return _Group(
        name=name,
        commands=_Commands(name),  # type: ignore[arg-type]  # a mapping is all it needs to be
        help=GROUPS[name],
        rich_markup_mode=None,
        context_settings=_HELP,
    )


def _load(name: str, entry: Entry) -> Any:
    module = import_module(f"jobctl.cli.commands.{entry.module}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, context_settings=_HELP)(getattr(module, entry.function))
    command = typer.main.get_command(app)
    command.params.extend(shared_parameters(streams=entry.streams))
    return command


def _run(program: Program, arguments: list[str]) -> int:
    """Carry out a command line; whatever happens, say so in the form it asked for."""
    output = output_for(arguments)
    try:
        with _termination_unwinds():
            code = _carry_out(program, arguments, output)
            flush_answer()
    except BrokenPipeError:
        _die_of_broken_pipe()
    except AnswerLost as error:
        _let_go_of_stdout()
        tell_error(error)
        return error.exit_code
    return code


def _carry_out(program: Program, arguments: list[str], output: Output) -> int:
    try:
        with program.make_context("jobctl", arguments, obj=Call(output)) as context:
            return int(program.invoke(context) or 0)
    except typer.Exit as ending:
        return ending.exit_code
    except (AnswerLost, BrokenPipeError):
        raise
    except (Exception, KeyboardInterrupt, _TerminationRequest) as error:  # noqa: BLE001 - every ending is told here
        return output.fail(_told(error, output))


def _told(error: BaseException, output: Output) -> JobctlError:
    """The error as a user is told of it."""
    if isinstance(error, JobctlError):
        return error
    if isinstance(error, typer.TyperException):
        return _usage_error(error, output)
    return _stopped(error) or _refused(error) or _fault(error, output)


def _stopped(error: BaseException) -> JobctlError | None:
    """Someone ended the program."""
    # Where it broke off, what is left may have been noted.
    left = "; ".join(getattr(error, "__notes__", ())) or _KEPT
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Interrupted(f"interrupted; {left}", hint=_GO_ON)
    if isinstance(error, _TerminationRequest):
        return Terminated(f"terminated; {left}", hint=_GO_ON)
    return None


def _refused(error: BaseException) -> JobctlError | None:
    """The system could not do what was asked of it."""
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if isinstance(error, FileNotFoundError) and _is_nowhere():
        return UsageError(
            "the directory in which this was called is gone; nothing was done",
            hint="go to one that is there, and run the same command again",
        )
    return DiskFailed(
        f"the system refused{f' {error.filename!r}' if error.filename else ''}: {error.strerror}; {_KEPT}",
        hint="check permissions, disk and free space, then run the same command again",
    )


def _is_nowhere() -> bool:
    """Whether the directory this was called in is gone: no path can be told then."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _usage_error(error: typer.TyperException, output: Output) -> UsageError:
    message = _NO_NUMBER.sub(_no_number, " ".join(error.format_message().split()).rstrip("."))
    option = getattr(error, "option_name", "")
    context = getattr(error, "ctx", None)
    command = output.command or "COMMAND"
    if option in _SHARED and context is not None and context.parent is None:
        return UsageError(message, hint=f"options follow the command: jobctl {command} {option}")
    return UsageError(message, hint=f"run '{f'jobctl {output.command}'.strip()} --help'")


def _no_number(found: re.Match[str]) -> str:
    """Instead of a type's name in code."""
    return " is no whole number" if found["kind"] == "int" else " is no number"


def _fault(error: BaseException, output: Output) -> JobctlError:
    """A fault in jobctl itself: one sentence, and the traceback where it can be found."""
    import tempfile  # noqa: PLC0415 - needed once in a blue moon
    import traceback  # noqa: PLC0415 - needed once in a blue moon

    trace = redact_url("".join(traceback.format_exception(error)))
    if output.is_verbose:
        output.detail(trace)
    hint = "run it again with --verbose to see where"
    with suppress(OSError):
        descriptor, path = tempfile.mkstemp(prefix="jobctl-", suffix=".traceback")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(trace)
        hint = f"please report it with {path}"
    said = str(error).partition("\n")[0]
    return JobctlError(f"a fault in jobctl: {type(error).__name__}{f': {said}' if said else ''}", hint=hint)


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C does, so that locks are given back and transactions rolled back."""

    def unwind(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise _TerminationRequest

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _die_of_broken_pipe() -> NoReturn:
    """End as any filter does whose reader went away."""
    _let_go_of_stdout()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    raise SystemExit(128 + signal.SIGPIPE)


def _let_go_of_stdout() -> None:
    """Keep the interpreter from trying again at exit what has just failed."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
