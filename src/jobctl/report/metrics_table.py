"""Metrics as rows: for machines in full, for people at a glance; and as CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from jobctl.core.cells import defused
from jobctl.core.figures import Figure, Figures
from jobctl.core.histogram import Histogram
from jobctl.durations import took_shown
from jobctl.model.amounts import counted
from jobctl.model.names import to_shown
from jobctl.report.columns import Column, plain

_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_WIDTHS = {"retried": 100, "lost": 100, "recovered": 100, "cancelled": 130, "expired": 130, "imported": 130}
_SELDOM = frozenset({*_WIDTHS})


class Row(NamedTuple):
    """One group as it is told.

    ``at``: when an hour or a day begins. ``others``: it stands for so many names. ``runs``: how many
    attempts ended and how long they took in all, where that is known without a histogram.
    """

    name: str
    figures: Figures
    at: datetime | None = None
    others: int = 0
    runs: tuple[int, float] | None = None

    @property
    def mean_run_s(self) -> float | None:
        """How long an attempt ran on average."""
        count, total_s = self.runs or (self.figures.run.count, self.figures.run.total_s)
        return total_s / count if count else None


def row_columns(
    by: str, local: Callable[[datetime], str], *, for_people: bool = False
) -> Sequence[Column[Row]]:
    """The columns of a listing by hour, day, kind, queue or owner; ``local`` shows when a period begins."""
    counts = [_count_column(figure) for figure in Figure if figure is not Figure.STARTED]
    return (
        *([_name_column(by, local)] if for_people else _name_columns(by)),
        *(column for column in counts if column.name not in _SELDOM),
        _RATE,
        _quantile("wait", "p50", 0),
        _quantile("wait", "p95", 100),
        _quantile("wait", "p99", 150),
        _quantile("run", "p50", 0),
        _quantile("run", "p95", 0),
        _quantile("run", "p99", 150),
        _mean_run_column(0 if by == "owner" else 170),
        *(column for column in counts if column.name in _SELDOM),
        _count_column(Figure.STARTED),
    )


_RATE: Column[Row] = Column(
    name="success_rate",
    title="success",
    value=lambda row: row.figures.success_rate,
    shown=lambda rate: f"{100 * rate:.1f} %",
    is_number=True,
)


def _name_columns(by: str) -> Iterator[Column[Row]]:
    """What a row is about; and, of names, how many it stands for."""
    yield Column(name=by, value=lambda row: row.at or row.name)
    if by not in {"hour", "day"}:
        yield Column(name="others", value=lambda row: row.others or None)


def _name_column(by: str, local: Callable[[datetime], str]) -> Column[Row]:
    """The same where people read."""

    def named(row: Row) -> str:
        if row.others:
            return counted(row.others, "other")
        return local(row.at) if row.at else row.name or "(none)"

    return Column(name=by, title="task" if by == "kind" else "", value=named, may_wrap=True)


def _count_column(figure: Figure) -> Column[Row]:
    is_seldom = figure.value in _SELDOM
    return Column(
        name=figure.value,
        value=lambda row: row.figures.counts[figure],
        shown=lambda count: "" if is_seldom and not count else f"{count:,}",
        from_width=_WIDTHS.get(figure.value, 170 if figure is Figure.STARTED else 0),
        is_number=True,
    )


def _quantile(what: str, name: str, from_width: int) -> Column[Row]:
    return Column(
        name=f"{what}_{name}_s",
        title=f"{what} {name}",
        value=lambda row: getattr(row.figures, what).quantile(_SHARES[name]),
        shown=took_shown,
        from_width=from_width,
        is_number=True,
    )


def _mean_run_column(from_width: int) -> Column[Row]:
    return Column(
        name="run_mean_s",
        title="run mean",
        value=lambda row: row.mean_run_s,
        shown=took_shown,
        from_width=from_width,
        is_number=True,
    )


def row_item(by: str, row: Row) -> dict[str, Any]:
    """A group as JSON. ``others``: it stands for so many names, and has none of its own."""
    name = None if row.others else row.at or row.name
    more = {"others": row.others} if row.others else {}
    return {by: name, **more, **figures_item(row.figures), "run_mean_s": row.mean_run_s}


def figures_item(figures: Figures) -> dict[str, Any]:
    """Figures as JSON."""
    return {
        **{figure.value: figures.counts[figure] for figure in Figure},
        "success_rate": figures.success_rate,
        "wait_s": histogram_item(figures.wait),
        "run_s": histogram_item(figures.run),
    }


def histogram_item(histogram: Histogram) -> dict[str, Any]:
    """A histogram as JSON: how many, their sum, and percentiles."""
    quantiles = {name: histogram.quantile(share) for name, share in _SHARES.items()}
    return {"count": histogram.count, "sum": histogram.total_s, **quantiles}


def failure_items(failures: Counter[str], most: int) -> list[dict[str, Any]]:
    """Failures by error code, the most frequent first; what is beyond ``most`` as one."""
    ordered = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
    listed: list[dict[str, Any]] = [{"error_code": code, "count": count} for code, count in ordered[:most]]
    rest = ordered[most:]
    if rest:
        total = sum(count for _, count in rest)
        listed.append({"error_code": None, "others": len(rest), "count": total})
    return listed


def csv_text(columns: Sequence[Column[Any]], rows: Iterable[Any]) -> str:
    """Rows as CSV (RFC 4180); a text that a spreadsheet would calculate begins with an apostrophe."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_cell(column.value(row)) for column in columns])
    return lines.getvalue()


def _cell(value: Any) -> str:
    text = to_shown(plain(value))
    return defused(text) if isinstance(value, str) else text
