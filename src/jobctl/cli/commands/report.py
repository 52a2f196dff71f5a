"""``jobctl report``: what happened in a day, a week or a month, to whom, and what it comes to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from jobctl.cli.context import Call, call_of
from jobctl.cli.output import Format
from jobctl.cli.periods import period_of
from jobctl.core.reporting.activity import What
from jobctl.core.reporting.periods import Grain, Period, Zone
from jobctl.errors import ExitCode, UsageError
from jobctl.report.billing_page import BILL_COLUMNS, bill_item, billing_counts, billing_csv, billing_page
from jobctl.report.columns import Column
from jobctl.report.envelope import Ending
from jobctl.report.items import path_fields
from jobctl.report.page import Page
from jobctl.report.page_html import to_html
from jobctl.report.page_markdown import to_markdown
from jobctl.report.story_page import story_data, story_listings, story_page
from jobctl.report.users_page import OUTAGE_COLUMNS, outage_item, users_counts, users_page

if TYPE_CHECKING:
    from jobctl.ops.site import ProgressSink, Site


class Written(StrEnum):
    """How a report is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    CSV = "csv"


_SUFFIXES = {
    ".txt": Written.TEXT,
    ".md": Written.MARKDOWN,
    ".html": Written.HTML,
    ".htm": Written.HTML,
    ".csv": Written.CSV,
}
_WIDTH_OF_A_FILE = 100
_TAKEN = "name another file, or add --force"


class Subject(StrEnum):
    """What a report is about."""

    STORY = "story"
    USERS = "users"
    BILLING = "billing"


class Asked(NamedTuple):
    """What a report is asked for."""

    site: Site
    period: Period
    zone: Zone
    progress: ProgressSink | None
    measures: bool


class Answer(NamedTuple):
    """A report in every form. ``listings``: its tables for a reader that is no person."""

    page: Page
    counts: dict[str, int]
    data: dict[str, Any]
    listings: Sequence[tuple[Sequence[Column[Any]], Sequence[Any]]]
    csv: str | None = None


def report(
    context: typer.Context,
    *,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[users|billing] [DATE]",
            help="users: whose videos could not be reached; billing: completed jobs by owner. "
            "DATE: today, yesterday, this, last, 2026-01-31, 2026-W05, 2026-01.",
            show_default=False,
        ),
    ] = None,
    day: Annotated[bool, typer.Option("--day", help="The day of DATE; today without one.")] = False,
    week: Annotated[bool, typer.Option("--week", help="Its week, from Monday.")] = False,
    month: Annotated[bool, typer.Option("--month", help="Its month; billing's without a DATE.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="From a time, or the begin of a day or month."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="To a time, or the end of a day or month.")
    ] = None,
    format_: Annotated[
        Written | None, typer.Option("--format", help="How to write it; else the file's name tells.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this new file.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="For billing, read the videos whose length is not known.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> ExitCode:
    """Tell what happened in a day, week or month: jobs, restarts, losses, recoveries, storage."""
    from jobctl.ops.new_file import check_new_file  # noqa: PLC0415 - help stays quick

    call = call_of(context)
    subject, date = _subject_of(words or [])
    if measure and subject is not Subject.BILLING:
        raise UsageError("--measure is about billing", hint="write jobctl report billing --measure")
    written = _written(subject, format_, output, call)
    if output is not None:
        check_new_file(output, replaces=force, hint=_TAKEN)
    grain = _grain(day=day, week=week, month=month)
    if grain is None and subject is Subject.BILLING and since is None and date in {None, "this", "last"}:
        grain = Grain.MONTH
    zone = Zone()
    with call.open_site() as site:
        with site.store.read() as connection:
            now = site.store.now(connection)
        period = period_of(date, grain, since, until, now=now, zone=zone)
        with call.progress() if measure else nullcontext() as progress:
            answer = _ANSWERS[subject](Asked(site, period, zone, progress, measures=measure))
    if output is not None:
        return _write(call, answer, written, output, replaces=force)
    return _show(call, answer, written)


def _subject_of(words: Sequence[str]) -> tuple[Subject, str | None]:
    """What the words name: a subject, then a date; each may be left out."""
    named = {each.value: each for each in (Subject.USERS, Subject.BILLING)}
    subject = next((named[word] for word in words[:1] if word in named), None)
    dates = list(words[1:] if subject else words)
    # "--day users" reads like a date and is none.
    if dates and subject is None and dates[-1] in named:
        subject = named[dates.pop()]
    if len(dates) > 1:
        raise UsageError(
            f"{dates[1]!r} is one word too many", hint="write jobctl report [users|billing] [DATE]"
        )
    return subject or Subject.STORY, dates[0] if dates else None


def _grain(**wanted: bool) -> Grain | None:
    chosen = [Grain(name) for name, is_wanted in wanted.items() if is_wanted]
    if len(chosen) > 1:
        named = " and ".join(f"--{grain}" for grain in chosen)
        raise UsageError(f"{named} are two periods", hint="write one of them")
    return chosen[0] if chosen else None


def _written(subject: Subject, format_: Written | None, output: str | None, call: Call) -> Written | None:
    """How to write it; ``None``: as any other answer."""
    if call.output.format is not Format.TEXT and output is None:
        if format_ is not None:
            raise UsageError("--json and --format are two forms of one answer", hint="leave one of them out")
        return None
    suffix = os.path.splitext(output or "")[1].lower()
    written = format_ or _SUFFIXES.get(suffix) or (Written.TEXT if output else None)
    if written is Written.CSV and subject is not Subject.BILLING:
        raise UsageError(
            "only billing is one table, as CSV has to be", hint="write --format markdown, or --json"
        )
    return written


def _story(asked: Asked) -> Answer:
    from jobctl.ops.report import story_of  # noqa: PLC0415 - help stays quick

    story = story_of(asked.site, asked.period, asked.zone)
    counts = {what.value: story.activity.counts[what] for what in What}
    losses = {"restarts": len(story.incidents), "lost": story.lost, "still_lost": story.still_lost}
    return Answer(story_page(story), {**counts, **losses}, story_data(story), story_listings(story))


def _users(asked: Asked) -> Answer:
    from jobctl.ops.report import affected_users  # noqa: PLC0415 - help stays quick

    affected, now = affected_users(asked.site, asked.period)
    outages = [outage for one in affected for outage in one.outages]
    data = {**_period_data(asked.period), "items": [outage_item(outage) for outage in outages]}
    page = users_page(affected, asked.period, asked.zone, now)
    return Answer(page, users_counts(affected), data, [(OUTAGE_COLUMNS, outages)])


def _billing(asked: Asked) -> Answer:
    from jobctl.ops.report import bills  # noqa: PLC0415 - help stays quick

    found = bills(asked.site, asked.period, measures=asked.measures, progress=asked.progress)
    data = {**_period_data(asked.period), "items": [bill_item(bill) for bill in found]}
    page, text = billing_page(found, asked.period), billing_csv(found, asked.period)
    return Answer(page, billing_counts(found), data, [(BILL_COLUMNS, found)], text)


_ANSWERS: dict[Subject, Callable[[Asked], Answer]] = {
    Subject.STORY: _story,
    Subject.USERS: _users,
    Subject.BILLING: _billing,
}


def _period_data(period: Period) -> dict[str, Any]:
    return {"period": {"name": period.name, "since": period.since, "until": period.until}}


def _show(call: Call, answer: Answer, written: Written | None) -> ExitCode:
    out = call.output
    if written is not None and (written is not Written.TEXT or not out.is_terminal):
        out.text(_text(answer, written))
    elif out.is_terminal:
        from jobctl.report.page_screen import page_screen  # noqa: PLC0415 - rich is only for terminals

        out.screen(page_screen(answer.page, out.width))
    else:
        out.blocks(*answer.listings)
    return out.end(Ending(counts=answer.counts, data=answer.data))


def _write(call: Call, answer: Answer, written: Written | None, path: str, *, replaces: bool) -> ExitCode:
    from jobctl.ops.new_file import FOR_ALL_TO_READ, write_new_file  # noqa: PLC0415 - help stays quick

    content = _text(answer, written or Written.TEXT).encode("utf-8", "backslashreplace")
    write_new_file(path, content, mode=FOR_ALL_TO_READ, replaces=replaces, hint=_TAKEN)
    call.output.say(f"Wrote {path}.")
    return call.output.end(Ending(counts=answer.counts, data={**path_fields(path), **answer.data}))


def _text(answer: Answer, written: Written) -> str:
    if written is Written.HTML:
        return to_html(answer.page)
    if written is Written.MARKDOWN:
        return to_markdown(answer.page)
    if written is Written.CSV:
        return answer.csv or ""
    from jobctl.report.page_screen import to_text  # noqa: PLC0415 - rich is only for terminals

    return to_text(answer.page, _WIDTH_OF_A_FILE)
