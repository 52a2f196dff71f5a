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
    call: Call, names: Sequence[str], change: Callable[[Site, str], Job], said: Callable[[Job], str]
) -> ExitCode:
    """Change each job, named by its id or the beginning of it, and say what it is then."""
    from jobctl.ops.lookup import job_named  # noqa: PLC0415 - help stays quick

    output, done = call.output, []
    with call.open_site() as site:
        for name in names:
            try:
                job = change(site, job_named(site, name))
            except (UnknownJob, StaleJob, IllegalTransition) as error:
                output.warn(f"{error.message} ({error.hint})")
                continue
            # At once: where the store goes away now, it is known how far it came.
            output.say(f"Job {job.job_id} {said(job)}.")
            done.append(job)
    code = ExitCode.CLEAN if len(done) == len(names) else ExitCode.INCOMPLETE
    counts = {"done": len(done), "failed": len(names) - len(done)}
    return output.end(Ending(code, counts=counts, data={"jobs": [job_item(job) for job in done]}))
