"""``jobctl list``: jobs, newest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli.context import call_of
from jobctl.cli.moments import moment_of, parse_span
from jobctl.cli.options import (
    KindOption,
    NewerOption,
    OlderOption,
    OwnerOption,
    QueueOption,
    RootOption,
    SinceOption,
    UntilOption,
)
from jobctl.cli.output import Output
from jobctl.errors import ExitCode, UsageError
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_word
from jobctl.model.job import Job, Origin
from jobctl.model.listing import Order
from jobctl.model.status import Status
from jobctl.report.columns import Column
from jobctl.report.envelope import Ending
from jobctl.report.items import chosen_job_item, job_item
from jobctl.report.listings import JOB_COLUMN_NAMES, chosen_job_columns, job_columns, job_screen_columns

if TYPE_CHECKING:
    from jobctl.ops.jobs import JobPage

_ON_A_SCREEN = 50
_PATIENCE_S = 0.6


def list_(
    context: typer.Context,
    *,
    status: Annotated[
        list[Status] | None, typer.Option("--status", help="Only this status; may be repeated.")
    ] = None,
    kind: KindOption = None,
    queue: QueueOption = None,
    owner: OwnerOption = None,
    origin: Annotated[Origin | None, typer.Option("--origin", help="Only what came to be so.")] = None,
    error_code: Annotated[
        str | None, typer.Option("--error-code", metavar="CODE", help="Only with this error code.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    by: Annotated[
        Order | None, typer.Option("--by", help="Which time --since and --until mean; created, if not said.")
    ] = None,
    older: OlderOption = None,
    newer: NewerOption = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Only with this in id, error, owner or URL.")
    ] = None,
    root: RootOption = None,
    sort: Annotated[
        Order | None,
        typer.Option("--sort", help="The latest first by this time; or by id. As --by, if not said."),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="NAME,…", help="Only these columns, in this order."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many; a terminal shows 50.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="JOB", help="Go on after this job, or where a page ended."),
    ] = None,
) -> ExitCode:
    """List jobs, newest first."""
    from jobctl.ops.jobs import JobFilter, list_jobs, page_of_jobs  # noqa: PLC0415 - help stays quick
    from jobctl.ops.site import store_now  # noqa: PLC0415 - help stays quick

    output = call_of(context).output
    names = _names(columns)
    by = _spanned(by, since, until)
    most = limit or (_ON_A_SCREEN if output.is_terminal else None)
    with call_of(context).open_site() as site:
        now = store_now(site)
        first, last = parse_span(since, until, now)
        wanted = JobFilter(
            statuses=frozenset(status or ()),
            kind=kind,
            queue=queue,
            owner=owner,
            origin=origin,
            error_code=error_code,
            text=text,
            root=root,
            created_after=moment_of("--newer", newer, now),
            created_before=moment_of("--older", older, now),
            by=by,
            since=first,
            until=last,
        )
        asked: dict[str, Any] = {"after": after, "order": sort or by, "is_reversed": reverse}
        shown, item = _form(now, names, is_terminal=output.is_terminal)
        if most is None:
            output.rows(shown, item, list_jobs(site, wanted, **asked))
            return output.end()
        patience = _PATIENCE_S if output.is_terminal else None
        page = page_of_jobs(site, wanted, limit=most, patience_s=patience, **asked)
    output.rows(shown, item, page.jobs)
    _tell_the_rest(output, page, is_narrow=wanted != JobFilter() or after is not None)
    following = None if page.cursor is None else str(page.cursor)
    return output.end(Ending(data={"next": following}))


def _spanned(by: Order | None, since: str | None, until: str | None) -> Order:
    """The time that a span is of. Raises ``UsageError`` where there is none."""
    if by is Order.ID:
        raise UsageError("--by id names no time", hint="write --by created, --by updated or --by completed")
    if by is not None and since is None and until is None:
        raise UsageError(
            "--by says which time is meant, but no time is given",
            hint=f"add --since or --until, or write --sort {by}",
        )
    return by or Order.CREATED


def _names(columns: str | None) -> list[str] | None:
    """The columns that were asked for. Raises ``UsageError``, naming those there are."""
    if columns is None:
        return None
    names = [name.strip() for name in columns.split(",") if name.strip()]
    unknown = [name for name in names if name not in JOB_COLUMN_NAMES]
    if unknown or not names:
        said = f"{', '.join(unknown)} is no column" if unknown else "--columns names none"
        raise UsageError(said, hint=f"there are: {', '.join(JOB_COLUMN_NAMES)}")
    return list(dict.fromkeys(names))


def _form(
    now: datetime, names: list[str] | None, *, is_terminal: bool
) -> tuple[Sequence[Column[Job]], Callable[[Job], Mapping[str, Any]]]:
    if names is None:
        return (job_screen_columns if is_terminal else job_columns)(now), job_item
    return chosen_job_columns(now, names), partial(chosen_job_item, names=names)


def _tell_the_rest(output: Output, page: JobPage, *, is_narrow: bool) -> None:
    """Say how much is not shown, and how to see it."""
    from jobctl.ops.jobs import COUNTED  # noqa: PLC0415 - help stays quick

    if not page.jobs and not page.is_cut:
        output.say("No such jobs." if is_narrow else "No job is recorded yet.")
    if page.is_cut:
        output.note(
            f"That is as far as a second goes; to look further, add --after {shell_word(str(page.cursor))}"
        )
    elif page.cursor is not None:
        at_least = "at least " if page.more and page.more >= COUNTED else ""
        rest = f"{at_least}{counted(page.more, 'more job')}" if page.more else "more"
        are = "is" if page.more == 1 else "are"
        output.note(f"There {are} {rest}; to go on, add --after {shell_word(str(page.cursor))}")
