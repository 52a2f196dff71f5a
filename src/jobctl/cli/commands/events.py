"""``jobctl events``: the audit trail of all jobs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl import clock
from jobctl.cli.context import Call, call_of
from jobctl.cli.moments import parse_span
from jobctl.cli.options import KindOption, OwnerOption, QueueOption, SinceOption, UntilOption
from jobctl.cli.output import Format, flush_answer
from jobctl.errors import ExitCode, UsageError
from jobctl.model.history import EventFilter
from jobctl.model.status import Status
from jobctl.report.envelope import Ending
from jobctl.report.event_listing import EVENT_LINE_COLUMNS, event_screen_columns
from jobctl.report.items import event_item

if TYPE_CHECKING:
    from jobctl.ops.events import Window
    from jobctl.ops.site import Site

_ON_A_SCREEN = 50
_BEFORE_FOLLOWING = 10
_PATIENCE_S = 0.7


def events(
    context: typer.Context,
    *,
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Only these, by id or its beginning.")
    ] = None,
    from_: Annotated[
        list[Status] | None, typer.Option("--from", help="Only changes from this status; may be repeated.")
    ] = None,
    to: Annotated[
        list[Status] | None, typer.Option("--to", help="Only changes to this status; may be repeated.")
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="KIND", help="Only such events: created, status, artifact, …"),
    ] = None,
    cause: Annotated[
        str | None, typer.Option("--cause", metavar="CAUSE", help="Only for this cause, such as rescue.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="WHO", help="Only by whom this is part of the name.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only of this run.")] = None,
    kind: KindOption = None,
    queue: QueueOption = None,
    owner: OwnerOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Only with this in job id, actor or detail.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many; a terminal shows 50.")
    ] = None,
    after: Annotated[
        int | None, typer.Option("--after", min=0, metavar="EVENT", help="Only after this event.")
    ] = None,
    before: Annotated[
        int | None, typer.Option("--before", min=1, metavar="EVENT", help="Only before this event.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Newest first.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens from now on, until Ctrl-C.")
    ] = False,
) -> ExitCode:
    """Show what happened to jobs, when, and by whom; the newest last."""
    from jobctl.ops.events import Window, resolve_jobs, stream_events  # noqa: PLC0415 - help stays quick
    from jobctl.ops.site import store_now  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    _check_follow(call, follow=follow, reverse=reverse, before=before, until=until)
    with call.open_site() as site:
        first, last = parse_span(since, until, store_now(site))
        same = {"kind": kind, "queue": queue, "owner": owner}
        wanted = EventFilter(
            job_ids=resolve_jobs(site, jobs or []),
            kinds=frozenset(event or ()),
            from_statuses=frozenset(from_ or ()),
            to_statuses=frozenset(to or ()),
            cause=cause,
            actor=actor,
            run_id=run,
            text=text,
            since=first,
            until=last,
            job_same={name: value for name, value in same.items() if value is not None},
        )
        if follow:
            return _follow(call, site, wanted, after=after, recent=limit or _BEFORE_FOLLOWING)
        window = Window(after=after or 0, before=before)
        most = limit or (_ON_A_SCREEN if call.output.is_terminal else None)
        if most is None:
            found = stream_events(site, wanted, window, newest_first=reverse)
            call.output.rows(EVENT_LINE_COLUMNS, event_item, found)
            return call.output.end()
        return _show_page(call, site, wanted, window, most, is_forward=after is not None, reverse=reverse)


def _show_page(
    call: Call, site: Site, wanted: EventFilter, window: Window, most: int, *, is_forward: bool, reverse: bool
) -> ExitCode:
    """One page: the first events after a number, else the newest."""
    from jobctl.ops.events import event_page  # noqa: PLC0415 - help stays quick

    newest = reverse or not is_forward
    output = call.output
    patience = _PATIENCE_S if output.is_terminal else None
    page = event_page(site, wanted, window, limit=most, newest=newest, patience_s=patience)
    listed = page.events[::-1] if reverse else page.events
    columns = event_screen_columns(clock.now(), output.width, of_one=len(wanted.job_ids) == 1)
    output.rows(columns if output.is_terminal else EVENT_LINE_COLUMNS, event_item, listed)
    if not listed:
        output.say("No such events.")
    option = "--before" if newest else "--after"
    if page.is_cut:
        output.note(f"That is as far as a second goes; to look further, add {option} {page.cursor}")
    elif page.cursor is not None:
        output.note(
            f"There are {'earlier' if newest else 'later'} ones; to go on, add {option} {page.cursor}"
        )
    following = max((event.event_id for event in listed), default=window.after)
    data = {
        "next": following,
        "previous": page.cursor if newest else None,
        "has_more": page.cursor is not None,
    }
    return output.end(Ending(data=data))


def _check_follow(call: Call, *, follow: bool, reverse: bool, before: int | None, until: str | None) -> None:
    if not follow:
        return
    if call.output.format is Format.JSON:
        raise UsageError("--follow has no end, --json is one object", hint="write --follow --jsonl")
    against = {"--reverse": reverse, "--before": before is not None, "--until": until is not None}
    for option in (name for name, is_given in against.items() if is_given):
        raise UsageError(f"--follow goes on for ever: {option} says otherwise", hint=f"leave out {option}")


def _follow(call: Call, site: Site, wanted: EventFilter, *, after: int | None, recent: int) -> ExitCode:
    from jobctl.ops.events import follow_events  # noqa: PLC0415 - help stays quick

    output = call.output
    columns = event_screen_columns(clock.now(), output.width, of_one=len(wanted.job_ids) == 1)
    listing = output.listing(EVENT_LINE_COLUMNS, event_item)
    is_first, is_watched = True, output.is_terminal
    # Who follows ends it with Ctrl-C: nothing went wrong then.
    with suppress(KeyboardInterrupt):
        for batch in follow_events(site, wanted, after=after, recent=recent, tell=output.alert):
            if is_watched and not output.is_terminal:
                break  # the terminal is gone, perhaps without a signal
            if is_watched and batch:
                output.continued(columns, batch, with_heading=is_first)
                is_first = False
            for each in batch:
                listing.add(each)
            flush_answer()
    return output.end()
