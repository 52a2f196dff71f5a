"""The building blocks of terminal screens. All text goes in as text, never as markup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
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


def table(columns: Sequence[Column[RowT]], rows: Iterable[RowT], width: int) -> Table:
    """A listing as aligned columns, without a frame."""
    fitting = columns_for(columns, width)
    listing = Table(box=None, padding=_GAP, pad_edge=False, header_style="bold")
    for column in fitting:
        listing.add_column(
            column.title or column.name.replace("_", " "),
            justify="right" if column.is_number else "left",
            no_wrap=not column.may_wrap,
            overflow="fold",
            style=column.style,
        )
    for row in rows:
        listing.add_row(*(Text(column.cell(row)) for column in fitting))
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
    ordered = sorted(examples, key=lambda example: example.reason)
    widths = _fact_widths(ordered)
    for reason, group in groupby(ordered, key=lambda example: example.reason):
        blocks.append(line((reason, "dim"), indent=2))
        blocks.append(_example_rows(list(group), widths))
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
    for width in widths:
        grid.add_column(justify="right", no_wrap=True, width=width)
    for example in examples:
        grid.add_row(Text(to_shown(example.subject)), *(Text(to_shown(fact)) for fact in example.facts))
    return Padding.indent(grid, 4)
