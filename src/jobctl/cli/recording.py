"""How a command that cron runs ended is kept, also where it was refused or failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import typer

from jobctl.errors import ExitCode, JobctlError

if TYPE_CHECKING:
    from jobctl.ops.site import Site

Record = Callable[[ExitCode], ExitCode]


@contextmanager
def recorded(site: Site, command: str, *, is_real: bool) -> Iterator[Record]:
    """Keep the exit code that is given to ``record``, or the error that ends the block.

    ``is_real``: not where nothing but a plan was asked for.
    """
    from jobctl.ops.lastruns import end  # noqa: PLC0415 - slow to import
    from jobctl.ops.site import store_now  # noqa: PLC0415

    started = store_now(site)
    code = ExitCode.INTERNAL

    def record(ended: ExitCode) -> ExitCode:
        nonlocal code
        code = ended
        return ended

    try:
        yield record
    except JobctlError as error:
        if is_real:
            with suppress(JobctlError):
                end(site, command, started=started, code=error.exit_code, error=error.message)
        raise
    except typer.Abort:
        raise
    except BaseException as error:
        if is_real:
            with suppress(Exception):
                end(site, command, started=started, code=_code_of(error), error="it was ended in the middle")
        raise
    # An approval that was not given is no run.
    if is_real and code is not ExitCode.APPROVAL:
        end(site, command, started=started, code=code, error=None)


def _code_of(error: BaseException) -> ExitCode:
    """The exit code the program will end with: SIGTERM unwinds it past every ``Exception``."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return ExitCode.INTERNAL if isinstance(error, Exception) else ExitCode.TERMINATED
