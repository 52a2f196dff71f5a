"""How metrics look on a terminal: the groups, the course of the window, and why attempts failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType

from jobctl.core.figures import Figure, Figures
from jobctl.durations import took_said
from jobctl.model.amounts import counted
from jobctl.report.columns import Column
from jobctl.report.metrics_table import Row, failure_items, row_columns
from jobctl.report.screen import line, spaced, table
from jobctl.report.sparkline import sparkline

_MOST_FAILURES = 8
_LONGEST_LINE = 60
_BESIDE_A_LINE = 40

_FAILURE_COLUMNS: Sequence[Column[Any]] = (
    Column(
        name="error_code",
        title="failed because of",
        value=lambda item: (
            counted(item["others"], "other") if item.get("others") else item["error_code"] or "no code given"
        ),
        may_wrap=True,
    ),
    Column(
        name="count",
        title="attempts",
        value=lambda item: item["count"],
        shown=lambda n: f"{n:,}",
        is_number=True,
    ),
    Column(
        name="share", value=lambda item: item["share"], shown=lambda s: f"{100 * s:.0f} %", is_number=True
    ),
)


def metrics_screen(
    by: str,
    rows: Sequence[Row],
    total: Figures,
    trend: Sequence[Figures],
    *,
    local: Callable[[datetime], str],
    width: int,
) -> Iterator[RenderableType]:
    """The whole answer; ``trend`` is the window's figures, period after period."""
    blocks: list[RenderableType] = []
    if rows:
        blocks.append(table(row_columns(by, local, for_people=True), rows, width))
    if total.counts:
        blocks.append(Group(*_courses(total, trend, width)))
    if total.failures:
        blocks.append(table(_FAILURE_COLUMNS, _shares(total.failures), width))
    return spaced(blocks)


def _courses(total: Figures, trend: Sequence[Figures], width: int) -> Iterator[RenderableType]:
    room = min(_LONGEST_LINE, max(8, width - _BESIDE_A_LINE))
    for figure in (Figure.CREATED, Figure.COMPLETED, Figure.FAILED, Figure.LOST):
        if total.counts[figure]:
            course = [each.counts[figure] for each in trend]
            said = f"{total.counts[figure]:,} in all, most {max(course):,}"
            yield line(f"{figure.value:<10} ", (sparkline(course, room), "cyan"), f"  {said}")
    for name in ("wait", "run"):
        seconds = [getattr(each, name).quantile(0.95) for each in trend]
        known = [each for each in seconds if each is not None]
        if known:
            whole = getattr(total, name).quantile(0.95)
            said = f"{took_said(whole)} in all, worst {took_said(max(known))}"
            yield line(f"{name + ' p95':<10} ", (sparkline(seconds, room), "cyan"), f"  {said}")


def _shares(failures: Counter[str]) -> Iterator[dict[str, Any]]:
    for item in failure_items(failures, _MOST_FAILURES):
        yield {**item, "share": item["count"] / failures.total()}
