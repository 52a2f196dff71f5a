"""``jobctl list``: jobs, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli.context import call_of
from jobctl.cli.moments import parse_moment
from jobctl.cli.options import NewerOption, OlderOption, RootOption
from jobctl.errors import ExitCode
from jobctl.model.status import Status
from jobctl.report.envelope import Ending
from jobctl.report.items import job_item
from jobctl.report.listings import job_columns

_ON_A_SCREEN = 50


def list_(
    context: typer.Context,
    *,
    status: Annotated[
        list[Status] | None, typer.Option("--status", help="Only this status; may be repeated.")
    ] = None,
    older: OlderOption = None,
    newer: NewerOption = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Only with this in id, error, owner or URL.")
    ] = None,
    root: RootOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many; a terminal shows 50.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="JOB", help="Go on after this job, the last one seen.")
    ] = None,
) -> ExitCode:
    """List jobs, newest first."""
    from jobctl.ops.jobs import JobFilter, list_jobs, store_now  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    output = call.output
    most = limit or (_ON_A_SCREEN if output.is_terminal else None)
    with call.open_site() as site:
        now = store_now(site)
        wanted = JobFilter(
            statuses=frozenset(status or ()),
            text=text,
            root=root,
            created_after=parse_moment("--newer", newer, now) if newer else None,
            created_before=parse_moment("--older", older, now) if older else None,
        )
        found = list_jobs(site, wanted, after=after, limit=most + 1 if most else None)
        if most is None:
            output.rows(job_columns(now), job_item, found)
            return output.end()
        page = list(found)
    output.rows(job_columns(now), job_item, page[:most])
    if not page:
        output.say("No such jobs.")
    following = page[most - 1].job_id if len(page) > most else None
    if following:
        output.say(f"There are more; to go on: --after {following}")
    return output.end(Ending(data={"next": following}))
