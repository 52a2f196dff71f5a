"""A page on a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from jobctl.report.page import Chart, Page, Section
from jobctl.report.screen import line, spaced, table

_STYLES = ("green", "cyan", "blue", "red", "bright_red", "yellow", "magenta")
_MOST_ROWS = 62
_MOST_LISTED = 500
"""Nobody reads more rows of a table, and to set a hundred thousand takes minutes."""
_LONGEST_BAR = 60
_NUMBERS_FROM = 70
"""Narrower terminals get the bars alone."""


def page_screen(page: Page, width: int) -> Iterator[RenderableType]:
    """The page, block by block."""
    return spaced(_blocks(page, width))


def to_text(page: Page, width: int) -> str:
    """The page as plain text of this width."""
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False, markup=False, emoji=False, color_system=None)
    for block in page_screen(page, width):
        console.print(block)
    return "\n".join(each.rstrip() for each in text.getvalue().splitlines()) + "\n"


def _blocks(page: Page, width: int) -> Iterator[RenderableType]:
    yield Group(line((page.title, "bold")), *map(line, page.lead))
    for section in page.sections:
        yield Group(*_section(section, width))
    if page.notes:
        yield Group(*(line((note, "dim")) for note in page.notes))


def _section(section: Section, width: int) -> Iterator[RenderableType]:
    yield line((section.title, "bold"))
    yield from map(line, section.words)
    if section.grid is not None:
        rows = section.grid.rows
        if (more := len(rows) - _MOST_LISTED) > 0:
            yield line(f"The first {_MOST_LISTED:,}; {more:,} more: --json, or a pipe.")
        shown = rows[:_MOST_LISTED]
        yield table(section.grid.columns, shown, width) if rows else line(section.grid.otherwise)
    if section.chart is not None and not section.chart.is_empty:
        yield Bars(section.chart)


class Bars:
    """A chart as lines of blocks, one for each label from the first to the last that has anything."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        chart, totals = self.chart, self.chart.totals
        told = [number for number, total in enumerate(totals) if total]
        rows = range(told[0], told[-1] + 1)
        if len(rows) > _MOST_ROWS:
            rows = range(told[-1] + 1 - _MOST_ROWS, told[-1] + 1)
        has_numbers = options.max_width >= _NUMBERS_FROM
        grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
        grid.add_column("", no_wrap=True)
        series = [(one, _STYLES[number]) for number, one in chart.drawn]
        for one, style in series if has_numbers else ():
            grid.add_column(Text(one.name, style), justify="right", no_wrap=True)
        grid.add_column("", no_wrap=True)
        used = 8 + sum(max(len(one.name), 5) + 2 for one, _ in series if has_numbers)
        length = max(4, min(_LONGEST_BAR, options.max_width - used))
        block = "#" if options.ascii_only else "▇"
        for number in rows:
            values = [one.values[number] for one, _ in series]
            numbers = [f"{value:,}" if value else "" for value in values]
            bar = Text()
            for (_, style), cells in zip(series, shares(values, max(totals), length), strict=True):
                bar.append(block * cells, style)
            grid.add_row(Text(chart.labels[number]), *(numbers if has_numbers else ()), bar)
        yield grid


def shares(values: list[int], highest: int, length: int) -> list[int]:
    """How many of ``length`` cells each value gets where ``highest`` fills them; what is there shows."""
    cells, before, done = [], 0, 0
    for value in values:
        before += value
        upto = round(before * length / highest) if highest else 0
        cell = max(1, upto - done) if value else 0
        cells.append(cell)
        done += cell
    # What the least values got too much, the largest gives back.
    while sum(cells) > length:
        cells[cells.index(max(cells))] -= 1
    return cells
