"""A page: a report as words, tables and a chart, the same for a terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobctl.report.columns import Column

LONGEST_CELL = 120
"""What a person reads of one cell; machines get all of it."""


class Series(NamedTuple):
    """One kind of thing in a chart, with a number for each of its labels."""

    name: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Numbers over time: the series are stacked on each other."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]

    @property
    def drawn(self) -> list[tuple[int, Series]]:
        """The series that have anything to draw, each with its number, which is its colour's."""
        return [(number, one) for number, one in enumerate(self.series) if any(one.values)]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.drawn

    @property
    def totals(self) -> list[int]:
        """How high each stack is."""
        return [sum(stack) for stack in zip(*(each.values for each in self.series), strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table; ``otherwise`` is said in its place where it has no row."""

    columns: Sequence[Column[Any]]
    rows: Sequence[Any]
    otherwise: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with what stands under it."""

    title: str
    words: Sequence[str] = ()
    grid: Grid | None = None
    chart: Chart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole report. ``lead`` says the most important first; ``notes`` what a reader should bear in mind."""

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    notes: Sequence[str] = ()


def words(
    name: str, value: Callable[[Any], Any], *, title: str = "", unknown: str = "", from_width: int = 0
) -> Column[Any]:
    """A column of anybody's words. ``unknown``: what a person reads where there are none."""
    return Column(
        name=name,
        value=value,
        title=title,
        unknown=unknown,
        may_wrap=True,
        from_width=from_width,
        most=LONGEST_CELL,
    )


def number(
    name: str, value: Callable[[Any], float], *, title: str = "", from_width: int = 0, form: str = ","
) -> Column[Any]:
    """A column of numbers; nothing is a dash, so that the others stand out."""

    def shown(found: float) -> str:
        return f"{found:{form}}" if found else "-"

    return Column(name=name, value=value, title=title, shown=shown, is_number=True, from_width=from_width)
