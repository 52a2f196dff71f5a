"""A page as Markdown, as tickets and wikis read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from jobctl.model.names import to_shown
from jobctl.report.page import Chart, Grid, Page, Section

_MARKUP = re.compile(r"[\\`*_{}\[\]()#+!|~$^-]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", ":": "&#58;"}
# A colon makes links and pictograms only before a letter or a slash: times stay readable.
_ENTITY = re.compile(r"[&<>]|:(?=[a-zA-Z/+])")
_WWW = re.compile(r"(?i)\b(www)\.")
# A dash is markup only where a line begins with it: hyphens within words stay readable.
_WITHIN_WORD = re.compile(r"(?<=\w)\\-(?=\w)")
_MENTION = re.compile(r"(?<!\w)@(?=\w)")


def to_markdown(page: Page) -> str:
    """The page as one text."""
    return "\n".join(_lines(page))


def escaped(text: str) -> str:
    """Any text as Markdown that shows just that text: no markup, no link, nobody mentioned."""
    shown = _MARKUP.sub(r"\\\g<0>", to_shown(text))
    shown = _ENTITY.sub(lambda found: _ENTITIES[found.group()], shown)
    # A comment parts the sign from the name: renderers look for mentions in what entities come to.
    shown = _MENTION.sub("@<!-- -->", _WITHIN_WORD.sub("-", shown))
    return _WWW.sub(r"\1&#46;", shown)


def _lines(page: Page) -> Iterator[str]:
    yield f"# {escaped(page.title)}"
    yield ""
    yield from _paragraphs(page.lead)
    for section in page.sections:
        yield from _section(section)
    if page.notes:
        yield "\n>\n".join(f"> {escaped(note)}" for note in page.notes)
    yield ""


def _section(section: Section) -> Iterator[str]:
    yield f"## {escaped(section.title)}"
    yield ""
    yield from _paragraphs(section.words)
    if section.grid is not None:
        yield from _table(section.grid)
        yield ""
    if section.chart is not None and not section.chart.is_empty:
        yield from _numbers(section.chart)
        yield ""


def _paragraphs(words: Sequence[str]) -> Iterator[str]:
    for each in words:
        yield escaped(each)
        yield ""


def _table(grid: Grid) -> Iterator[str]:
    if not grid.rows:
        yield escaped(grid.otherwise)
        return
    yield _row([column.heading for column in grid.columns])
    yield f"|{'|'.join('--:' if column.is_number else '---' for column in grid.columns)}|"
    for row in grid.rows:
        yield _row([column.cell(row) for column in grid.columns])


def _numbers(chart: Chart) -> Iterator[str]:
    """Markdown draws no chart: its numbers, where there are any."""
    series = [one for _, one in chart.drawn]
    yield _row(["", *(one.name for one in series)])
    yield f"|---|{'--:|' * len(series)}"
    for number, total in enumerate(chart.totals):
        if total:
            values = [one.values[number] for one in series]
            yield _row([chart.labels[number], *(f"{value:,}" if value else "" for value in values)])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"
