"""``jobctl cancel``."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.errors import ExitCode, IllegalTransition, StaleJob, UnknownJob
from jobctl.model.status import Status
from jobctl.report.envelope import Ending
from jobctl.report.items import job_item


def cancel(
    context: typer.Context,
    *,
    jobs: Annotated[list[str], typer.Argument(metavar="JOB…", help="Their ids.")],
) -> ExitCode:
    """End jobs: queued ones at once, running ones once they stopped."""
    from jobctl.ops.queue import cancel as change  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    done = []
    with call.open_site() as site:
        for job_id in jobs:
            try:
                done.append(change(site, job_id))
            except (UnknownJob, StaleJob, IllegalTransition) as error:
                call.output.warn(f"{error.message} ({error.hint})")
    for job in done:
        is_asked = job.status is Status.PROCESSING
        call.output.say(f"Job {job.job_id} {'is asked to stop' if is_asked else 'is cancelled'}.")
    code = ExitCode.CLEAN if len(done) == len(jobs) else ExitCode.INCOMPLETE
    counts = {"done": len(done), "failed": len(jobs) - len(done)}
    return call.output.end(Ending(code, counts=counts, data={"jobs": [job_item(job) for job in done]}))
