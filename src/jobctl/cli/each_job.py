"""Change jobs one by one: those that cannot be are told, and the others are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jobctl.cli.context import Call
from jobctl.errors import ExitCode, IllegalTransition, StaleJob, UnknownJob
from jobctl.model.job import Job
from jobctl.report.envelope import Ending
from jobctl.report.items import job_item

if TYPE_CHECKING:
    from jobctl.ops.site import Site


def change_each(
    call: Call, job_ids: Sequence[str], change: Callable[[Site, str], Job], said: Callable[[Job], str]
) -> ExitCode:
    """Change each job, and say what it is then."""
    done = []
    with call.open_site() as site:
        for job_id in job_ids:
            try:
                done.append(change(site, job_id))
            except (UnknownJob, StaleJob, IllegalTransition) as error:
                call.output.warn(f"{error.message} ({error.hint})")
    for job in done:
        call.output.say(f"Job {job.job_id} {said(job)}.")
    code = ExitCode.CLEAN if len(done) == len(job_ids) else ExitCode.INCOMPLETE
    counts = {"done": len(done), "failed": len(job_ids) - len(done)}
    return call.output.end(Ending(code, counts=counts, data={"jobs": [job_item(job) for job in done]}))
