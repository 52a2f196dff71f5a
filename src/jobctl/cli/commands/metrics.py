"""``jobctl metrics``: what happened, how long it took, and how much of it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.context import Call, call_of
from jobctl.cli.moments import moment_of
from jobctl.cli.output import Format
from jobctl.core.tally import Grain
from jobctl.core.window import By, Window, window_of
from jobctl.errors import ExitCode, UsageError
from jobctl.report.envelope import Ending
from jobctl.report.metrics_table import (
    Row,
    csv_text,
    failure_items,
    figures_item,
    row_columns,
    row_item,
)
from jobctl.report.units import local_time, on_wall

if TYPE_CHECKING:
    from jobctl.ops.metrics import Group, Metrics
    from jobctl.ops.site import Site

_A = {Grain.HOUR: "an hour", Grain.DAY: "a day"}
_MOST = 20
_OFF_A_TERMINAL = 80

TopOption = Annotated[
    int,
    typer.Option("--top", min=1, max=1000, metavar="N", help="Tell so many names apart, the rest as one."),
]


def metrics(
    context: typer.Context,
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From this moment on, such as 2h.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Up to this moment; else up to now.")
    ] = None,
    by: Annotated[By, typer.Option("--by", help="What to tell apart.")] = By.HOUR,
    top: TopOption = _MOST,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the course of this time.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="As comma-separated values.")] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="The state, and the whole history, for Prometheus.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", metavar="FILE", help="With --csv or --prometheus: replace this file, whole."
        ),
    ] = None,
) -> ExitCode:
    """Tell throughput, success, waits, runs and failures by hour, day, kind, queue or owner.

    Further: 'jobctl metrics serve' answers Prometheus, 'jobctl metrics push' sends to an OpenTelemetry
    collector, 'jobctl metrics rebuild' adds the history up anew.
    """
    call = call_of(context)
    _check_form(call, {"--plot": plot, "--csv": csv, "--prometheus": prometheus}, output)
    if prometheus and (since is not None or until is not None):
        raise UsageError(
            "--prometheus tells the whole history, because a counter begins with it",
            hint="leave out --since and --until; Prometheus asks again and takes the difference",
        )
    with call.open_site() as site:
        if prometheus:
            return _expose(call, site, top, output)
        from jobctl.ops.metrics import tell  # noqa: PLC0415 - help stays quick
        from jobctl.ops.site import store_now  # noqa: PLC0415 - help stays quick

        for_people = plot or call.output.is_terminal
        window = _window(by, store_now(site), since, until)
        found = tell(site, by, window, most=top, for_people=for_people)
    rows = [_row(group) for group in found.groups]
    if csv:
        for told in _told_of(window, by):
            call.output.note(told)
        _write(call, csv_text(row_columns(by.value, local_time), rows), output)
        return call.output.end()
    return _answer(call, found, rows, is_plotted=plot, most=top)


def _check_form(call: Call, chosen: dict[str, bool], output: str | None) -> None:
    """One form of answer at a time. Raises ``UsageError``."""
    forms = [name for name, is_chosen in chosen.items() if is_chosen]
    if call.output.format is not Format.TEXT:
        forms.append(f"--{call.output.format.value}")
    if len(forms) > 1:
        raise UsageError(f"{' and '.join(forms)} are different forms of answer", hint="choose one of them")
    if output is not None and not (chosen["--csv"] or chosen["--prometheus"]):
        raise UsageError("--output is for --csv and --prometheus", hint="add one of them, or redirect stdout")


def _window(by: By, now: datetime, since: str | None, until: str | None) -> Window:
    first, last = moment_of("--since", since, now), moment_of("--until", until, now)
    try:
        return window_of(by, now, first, last)
    except (ValueError, OverflowError) as error:
        said = str(error) if isinstance(error, ValueError) else "it reaches beyond the calendar"
        raise UsageError(
            f"there is nothing to tell of the time from --since to --until: {said}",
            hint="name two moments in the past, the earlier one with --since; years are told --by day",
        ) from None


def _row(group: Group) -> Row:
    part = group.part
    runs = (part.runs, part.run_s) if part is not None else None
    return Row(group.name, group.figures, group.at, group.others, runs)


def _answer(call: Call, found: Metrics, rows: Sequence[Row], *, is_plotted: bool, most: int) -> ExitCode:
    output, by, window = call.output, found.by.value, found.window
    local = _short_day if window.grain is Grain.DAY else _short_hour
    columns = row_columns(by, local)
    for told in _told_of(window, found.by):
        output.say(told)
    if is_plotted:
        _plot(call, found)
        return output.end()
    if output.is_terminal:
        from jobctl.report.metrics_screen import metrics_screen  # noqa: PLC0415 - rich is only for terminals

        trend = [each.figures for each in found.trend]
        output.screen(metrics_screen(by, rows, found.total, trend, local=local, width=output.width))
        return output.end()
    listing = output.listing(columns, lambda row: row_item(by, row))
    for row in rows:
        listing.add(row)
    data = {
        "by": by,
        "window": _window_item(window),
        "total": figures_item(found.total),
        "failures": failure_items(found.total.failures, most),
        "history": {
            **figures_item(found.history),
            "failures": failure_items(found.history.failures, most),
        },
    }
    jobs = {status.value: count for status, count in found.jobs.items()}
    return output.end(Ending(counts=jobs, data=data))


def _window_item(window: Window) -> dict[str, object]:
    return {
        "grain": window.grain.value,
        "since": window.since,
        "until": window.until,
        "asked_since": window.asked_since,
        "asked_until": window.asked_until,
        "is_running": window.is_running,
    }


def _told_of(window: Window, by: By) -> Iterator[str]:
    """Which hours or days are told, and why not exactly what was asked for."""
    last = "now" if window.is_running else local_time(window.until)[:-3]
    zones = dict.fromkeys(f"{on_wall(at):%Z (%z)}" for at in (window.since, min(window.until, window.now)))
    names = "days of UTC" if window.grain is Grain.DAY else "hours"
    yield f"Whole {names}, {local_time(window.since)[:-3]} to {last}, {', then '.join(zones)}."
    if window.is_wider:
        yield f"Part of {_A[window.grain]} was asked for; {window.grain.value}s are told whole."
    if by is By.OWNER:
        yield "Owners are counted by the day, and how long jobs waited is not kept by owner."


def _short_hour(at: datetime) -> str:
    return f"{on_wall(at):%m-%d %H:%M}"


def _short_day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


_DRAWN: dict[Grain, tuple[Callable[[datetime], str], str]] = {
    Grain.HOUR: (_short_hour, "hour"),
    Grain.DAY: (_short_day, "day"),
    Grain.MONTH: (lambda at: f"{at:%Y-%m}", "month"),
}


def _plot(call: Call, found: Metrics) -> None:
    from jobctl.report.metrics_plot import courses_of, plots  # noqa: PLC0415 - slow to import

    label, period = _DRAWN[found.window.grain if found.by in {By.HOUR, By.DAY} else found.window.trend]
    labels = [label(each.at) for each in found.trend if each.at is not None]
    width = call.output.width if call.output.is_terminal else _OFF_A_TERMINAL
    courses = courses_of([each.figures for each in found.trend], period)
    for drawn in plots(courses, labels, width):
        call.output.text(f"{drawn}\n\n")


def _expose(call: Call, site: Site, most: int, path: str | None) -> ExitCode:
    from jobctl.ops.exposition import look  # noqa: PLC0415 - help stays quick
    from jobctl.report.prometheus import exposition  # noqa: PLC0415
    from jobctl.report.runner_metrics import all_metrics  # noqa: PLC0415

    seen = look(site, most=most)
    _write(call, exposition(all_metrics(seen)), path)
    return call.output.end(Ending(counts={status.value: count for status, count in seen.jobs.items()}))


def _write(call: Call, text: str, path: str | None) -> None:
    if path is None:
        call.output.text(text)
        return
    from jobctl.ops.new_file import FOR_ALL_TO_READ, write_new_file  # noqa: PLC0415 - help stays quick

    write_new_file(path, text.encode(), mode=FOR_ALL_TO_READ, replaces=True)
