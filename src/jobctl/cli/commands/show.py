"""``jobctl show``: one job."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode
from jobctl.report.envelope import Ending
from jobctl.report.items import job_detail
from jobctl.report.listings import ARTIFACT_COLUMNS, EVENT_COLUMNS, job_columns


def show(
    context: typer.Context,
    *,
    job: Annotated[str, typer.Argument(metavar="JOB", help="Its id, or a beginning that only it has.")],
) -> ExitCode:
    """Show one job with its files and its history."""
    from jobctl.ops.jobs import show_job  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    output = call.output
    with call.open_site() as site:
        detail = show_job(site, job)
    if output.is_terminal:
        from jobctl.report.job_screen import job_screen  # noqa: PLC0415 - rich is only for terminals

        output.screen(job_screen(*detail, width=output.width))
    else:
        output.blocks(
            (job_columns(detail.now), [detail.job]),
            (ARTIFACT_COLUMNS, detail.artifacts),
            (EVENT_COLUMNS, detail.events),
        )
    return output.end(Ending(data=job_detail(detail.job, detail.artifacts, detail.events)))
