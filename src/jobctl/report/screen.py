"""The building blocks of terminal screens. All text goes in as text, never as markup."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from jobctl.model.names import to_shown
from jobctl.report.columns import WIDE, Column, RowT, columns_for
from jobctl.report.shell_lines import fits, shell_lines

Place = Callable[[str], str]
"""Makes the commands that a text names work on the store and configuration of this call."""

_GAP = (0, 2, 0, 0)
_INDENT = 2
_NAMES_A_COMMAND = re.compile(r"(?P<said>.*?: |)(?P<command>jobctl .*?)\.?")
_NARROWEST = 8


class Example(NamedTuple):
    """One row under a heading: what it is about, why, and short facts to the right."""

    subject: str
    reason: str
    facts: tuple[str, ...] = ()


def line(*parts: str | tuple[str, str], indent: int = 0) -> RenderableType:
    """One paragraph; a part is text, or text with a style."""
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(to_shown(words), style)
    return Padding.indent(text, indent) if indent else text


def told(text: str, style: str = "", indent: int = 0) -> RenderableType:
    """A sentence that may end with a command, as ``Next: jobctl recover``: that is never broken.

    Where both have no room on one line, the command stands below, whole, to be copied into a shell.
    """
    named = _NAMES_A_COMMAND.fullmatch(to_shown(text))
    sentence = _Told(named["said"], named["command"], style) if named else Text(to_shown(text), style)
    return Padding.indent(sentence, indent) if indent else sentence


class _Told:
    def __init__(self, said: str, command: str, style: str) -> None:
        self.said, self.command, self.style = said, command, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, command_style = options.max_width, self.style or "bold"
        if fits(f"{self.said}{self.command}", width):
            yield Text.assemble((self.said, self.style), (self.command, command_style))
            return
        if self.said:
            yield Text(self.said.rstrip(), self.style)
        indent = _INDENT if self.said else 0
        for words in shell_lines(self.command, width - indent):
            yield Text(f"{' ' * indent}{words}", command_style, overflow="fold")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, cell_len(f"{self.said}{self.command}")).with_maximum(options.max_width)


def table(
    columns: Sequence[Column[RowT]], rows: Iterable[RowT], width: int, *, with_heading: bool = True
) -> RenderableType:
    """A listing as aligned columns, without a frame; a column that says nothing is mostly left out."""
    fitting = columns_for(columns, width)
    below = [column for column in fitting if column.is_below]
    beside = [column for column in fitting if not column.is_below]
    listed = list(rows)
    cells = [[column.cell(row) for column in beside] for row in listed]
    telling = [
        number for number, column in enumerate(beside) if column.least or any(row[number] for row in cells)
    ]
    shown = [beside[number] for number in telling]
    texts = [[row[number] for number in telling] for row in cells]
    notes = [
        [_note(words, column, width) for column in below if (words := column.cell(row))] for row in listed
    ]
    if not any(notes):
        return _rows(shown, texts, with_heading=with_heading)
    return Group(*_with_notes(shown, texts, notes, width, with_heading=with_heading))


def _rows(
    columns: Sequence[Column[Any]],
    texts: Sequence[Sequence[str]],
    widths: Sequence[int] = (),
    *,
    with_heading: bool,
) -> Table:
    """Rows of cells below their headings. ``widths``: of each column, if not as wide as what it says."""
    listing = Table(box=None, padding=_GAP, pad_edge=False, header_style="bold", show_header=with_heading)
    for number, column in enumerate(columns):
        listing.add_column(
            column.heading,
            justify="right" if column.is_number else "left",
            no_wrap=not column.may_wrap,
            overflow="fold",
            width=widths[number] if widths else None,
            min_width=_floor(column, [row[number] for row in texts]) or None,
        )
    for row in texts:
        listing.add_row(*(_cell(text, column) for text, column in zip(row, columns, strict=True)))
    return listing


def _cell(text: str, column: Column[Any]) -> Text:
    return cut_text(text) if column.is_cut else Text(text)


def cut_text(text: str) -> Text:
    """A text that takes one line, and is cut at its end."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def _with_notes(
    columns: Sequence[Column[Any]],
    texts: Sequence[Sequence[str]],
    notes: Sequence[Sequence[Text]],
    width: int,
    *,
    with_heading: bool,
) -> Iterator[RenderableType]:
    """Rows with lines of their own below some of them; the columns stand in line all the way down."""
    titles = [column.heading if with_heading else "" for column in columns]
    wanted = [
        max(column.least, *map(cell_len, cells))
        for column, *cells in zip(columns, titles, *texts, strict=True)
    ]
    floors = [_floor(column, cells) for column, cells in zip(columns, zip(*texts, strict=True), strict=True)]
    widths = _narrowed(wanted, [column.may_wrap for column in columns], floors, width)
    begun: list[Sequence[str]] = []
    for row, below in zip(texts, notes, strict=True):
        begun.append(row)
        if below:
            yield _rows(columns, begun, widths, with_heading=with_heading)
            yield from (Padding.indent(note, _INDENT) for note in below)
            begun, with_heading = [], False
    if begun:
        yield _rows(columns, begun, widths, with_heading=with_heading)


def _note(words: str, column: Column[Any], width: int) -> Text:
    # Where lines are long one of them says enough; a last word alone on the next reads badly.
    return cut_text(words) if column.is_cut or width >= WIDE else Text(words, overflow="fold")


def _floor(column: Column[Any], cells: Iterable[str]) -> int:
    """The width below which a column is not narrowed; 0 where it has none."""
    return column.least or min(column.keeps, max(map(cell_len, cells), default=0))


def _narrowed(
    wanted: Sequence[int], may_wrap: Sequence[bool], floors: Sequence[int], width: int
) -> list[int]:
    """The widths of columns that together take no more than that: of those that may wrap the widest give."""
    widths = list(wanted)
    over = sum(widths) + _GAP[1] * (len(widths) - 1) - width
    for _ in range(over):
        giving = [
            number
            for number, wraps in enumerate(may_wrap)
            if wraps and widths[number] > max(floors[number], _NARROWEST)
        ]
        if not giving:
            break
        widths[max(giving, key=widths.__getitem__)] -= 1
    return widths


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values below each other; rows without a value are left out."""
    grid = Table.grid(padding=_GAP)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value:
            grid.add_row(Text(name), told(value))
    return grid


def section(title: str, gloss: str, examples: Sequence[Example], more: str = "") -> RenderableType:
    """A heading and examples below it, grouped by their reason."""
    blocks: list[RenderableType] = [line((title, "bold"), f"  {gloss}")]
    widths = _fact_widths(examples)
    by_reason: dict[str, list[Example]] = {}
    for example in examples:
        by_reason.setdefault(example.reason, []).append(example)
    for reason, group in by_reason.items():
        blocks.append(told(reason, "dim", indent=2))
        blocks.append(_example_rows(group, widths))
    if more:
        blocks.append(told(more, "dim", indent=4))
    return Group(*blocks)


def spaced(blocks: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """The blocks with an empty line between them."""
    for number, block in enumerate(blocks):
        if number:
            yield Text()
        yield block


def _fact_widths(examples: Sequence[Example]) -> list[int]:
    facts = zip(*(example.facts for example in examples), strict=True)
    return [max(cell_len(fact) for fact in column) for column in facts]


def _example_rows(examples: Sequence[Example], widths: Sequence[int]) -> RenderableType:
    grid = Table.grid(padding=_GAP)
    grid.add_column(overflow="fold")
    told = [number for number, width in enumerate(widths) if width]
    for number in told:
        grid.add_column(justify="right", no_wrap=True, width=widths[number])
    for example in examples:
        facts = [Text(to_shown(example.facts[number])) for number in told]
        grid.add_row(Text(to_shown(example.subject)), *facts)
    return Padding.indent(grid, 4)
