"""The building blocks of terminal screens. All text goes in as text, never as markup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from jobctl.model.names import to_shown
from jobctl.report.columns import Column, RowT, columns_for

_GAP = (0, 2, 0, 0)


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


def table(
    columns: Sequence[Column[RowT]], rows: Iterable[RowT], width: int, *, with_heading: bool = True
) -> Table:
    """A listing as aligned columns, without a frame; a column that says nothing is mostly left out."""
    fitting = columns_for(columns, width)
    cells = [[column.cell(row) for column in fitting] for row in rows]
    telling = [
        number for number, column in enumerate(fitting) if column.least or any(row[number] for row in cells)
    ]
    listing = Table(box=None, padding=_GAP, pad_edge=False, header_style="bold", show_header=with_heading)
    for number in telling:
        column = fitting[number]
        listing.add_column(
            column.title or column.name.replace("_", " "),
            justify="right" if column.is_number else "left",
            no_wrap=not column.may_wrap,
            overflow="fold",
            min_width=column.least or None,
        )
    for row in cells:
        listing.add_row(*(Text(row[number]) for number in telling))
    return listing


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values below each other; rows without a value are left out."""
    grid = Table.grid(padding=_GAP)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value:
            grid.add_row(Text(name), Text(to_shown(value)))
    return grid


def section(title: str, gloss: str, examples: Sequence[Example], more: str = "") -> RenderableType:
    """A heading and examples below it, grouped by their reason."""
    blocks: list[RenderableType] = [line((title, "bold"), f"  {gloss}")]
    widths = _fact_widths(examples)
    by_reason: dict[str, list[Example]] = {}
    for example in examples:
        by_reason.setdefault(example.reason, []).append(example)
    for reason, group in by_reason.items():
        blocks.append(line((reason, "dim"), indent=2))
        blocks.append(_example_rows(group, widths))
    if more:
        blocks.append(line((more, "dim"), indent=4))
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
