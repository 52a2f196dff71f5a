"""``jobctl retry``: enqueue jobs again."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.cli.each_job import change_each
from jobctl.errors import ExitCode


def retry(
    context: typer.Context,
    *,
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB...", help="Their ids, or the beginnings of them.")
    ],
) -> ExitCode:
    """Enqueue failed or cancelled jobs again."""
    from jobctl.ops.queue import retry as enqueue_again  # noqa: PLC0415 - help stays quick

    return change_each(call_of(context), jobs, enqueue_again, lambda _: "is queued again")
