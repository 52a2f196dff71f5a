"""``jobctl cancel``: end jobs that are queued or running."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.cli.each_job import change_each
from jobctl.errors import ExitCode
from jobctl.model.status import Status


def cancel(
    context: typer.Context,
    *,
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB...", help="Their ids, or the beginnings of them.")
    ],
) -> ExitCode:
    """End jobs: queued ones at once, running ones once they stopped."""
    from jobctl.ops.queue import cancel as end  # noqa: PLC0415 - help stays quick

    return change_each(
        call_of(context),
        jobs,
        end,
        lambda job: "is asked to stop" if job.status is Status.PROCESSING else "is cancelled",
    )
