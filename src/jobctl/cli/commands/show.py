"""``jobctl show``: one job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.context import call_of
from jobctl.core.attempts import attempts_of
from jobctl.errors import ExitCode, UnknownJob, UsageError
from jobctl.report.envelope import Ending
from jobctl.report.items import job_detail
from jobctl.report.listings import ARTIFACT_COLUMNS, ATTEMPT_COLUMNS, EVENT_COLUMNS, job_columns

if TYPE_CHECKING:
    from jobctl.cli.output import Output
    from jobctl.model.detail import JobDetail


def show(
    context: typer.Context,
    *,
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="Its id or the beginning of it, a file or URL of it, a render's id, its key."
        ),
    ],
) -> ExitCode:
    """Show one job with its files, its attempts and its history."""
    from jobctl.ops.show import show_job  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    output = call.output
    if not job:
        raise UsageError("'' names no job", hint="run 'jobctl list' to see the jobs")
    with call.open_site() as site:
        try:
            detail = show_job(site, job)
        except UnknownJob as error:
            return output.end(Ending(code=error.exit_code, errors=[error], data=_known_of(error)))
    if detail.found_by is not None:
        output.note(f"Found by {detail.found_by.meaning}: job {detail.job.job_id}")
    if detail.lack and not output.is_terminal:
        output.note(f"Job {detail.job.job_id} is not taken: {detail.lack}")
    _present(output, detail)
    return output.end(Ending(data=job_detail(detail)))


def _present(output: Output, detail: JobDetail) -> None:
    if output.is_terminal:
        from jobctl.report.job_screen import job_screen  # noqa: PLC0415 - rich is only for terminals

        output.screen(job_screen(detail, width=output.width, is_verbose=output.is_verbose))
        return
    output.blocks(
        (job_columns(detail.now), [detail.job]),
        (ARTIFACT_COLUMNS, detail.artifacts),
        (ATTEMPT_COLUMNS, attempts_of(detail.events)),
        (EVENT_COLUMNS, detail.events),
    )


def _known_of(error: UnknownJob) -> dict[str, Any]:
    """What is known of a job without a record, or which jobs were perhaps meant."""
    from jobctl.ops.lookup import AmbiguousJob, JobNotFound  # noqa: PLC0415 - help stays quick

    if isinstance(error, AmbiguousJob):
        return {"candidates": [found._asdict() for found in error.candidates]}
    if isinstance(error, JobNotFound) and error.clues:
        return {"job_id": error.job_id, "clues": [clue._asdict() for clue in error.clues]}
    return {}
