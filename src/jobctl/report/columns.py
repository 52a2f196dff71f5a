"""Columns: what a listing shows of each row, for machines in full and for people at a glance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from jobctl.model.names import to_shown
from jobctl.model.timestamps import format_timestamp

RowT = TypeVar("RowT")

WIDE, WIDER = 110, 150
"""Terminals that have room for more than is needed, and for nearly all there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[RowT]):
    """One column.

    ``title`` heads it on a terminal, and ``shown`` turns its value into a person's words
    there; without them both readers get the same.
    ``unknown`` is what a person reads where there is none.
    Terminals narrower than ``from_width`` leave the column out. ``may_wrap`` lets a long
    value go on in the next line; ids and numbers never do. A column with a ``least`` width is
    always there and never narrower: tables that follow each other stand in line. One that ``keeps`` so
    many characters together is narrower only where it says no more: a long id does not squeeze the others,
    and an ordinary one stands on one line. Of anybody's
    words a terminal shows ``most`` characters, so that one row does not push the others away.
    What ``is_below`` stands on a line of its own, below the rows that have it. What ``is_cut`` takes
    one line, and is cut at its end.
    """

    name: str
    value: Callable[[RowT], Any]
    title: str = ""
    shown: Callable[[Any], str] | None = None
    unknown: str = ""
    from_width: int = 0
    is_number: bool = False
    may_wrap: bool = False
    least: int = 0
    keeps: int = 0
    most: int = 0
    is_below: bool = False
    is_cut: bool = False

    @property
    def heading(self) -> str:
        """What stands above it where people read."""
        return self.title or self.name.replace("_", " ")

    def cell(self, row: RowT) -> str:
        """The value for a terminal, with everything invisible made visible."""
        value = self.value(row)
        if value is None:
            return self.unknown
        text = self.shown(value) if self.shown else plain(value)
        return cut(text, self.most) if self.most else to_shown(text)


def cut(text: str, longest: int) -> str:
    """``text`` for a terminal, at most so many characters of it; a longer one ends with an ellipsis."""
    shown = to_shown(text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def tsv_heading(columns: Iterable[Column[Any]]) -> str:
    """The first line of a tab-separated listing."""
    return "\t".join(column.name for column in columns)


def tsv_line(columns: Iterable[Column[RowT]], row: RowT) -> str:
    r"""One row, never cut. A tab or newline within a value is written as ``\t`` or ``\n``."""
    return "\t".join(to_shown(plain(column.value(row))) for column in columns)


def columns_for(columns: Sequence[Column[RowT]], width: int) -> list[Column[RowT]]:
    """The columns a terminal of this width has room for."""
    return [column for column in columns if width >= column.from_width]


def plain(value: Any) -> str:
    """A value as text that a machine can read back."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return format_timestamp(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
