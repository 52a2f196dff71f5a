"""A page as one HTML file: no script, nothing loaded from anywhere, plots as inline SVG."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from jobctl.report.markup import Markup, element, joined
from jobctl.report.page import Chart, Grid, Page, Section

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --paper: #fff; --line: #d6dae1; --dim: #667085;
  --s0: #2f9e5f; --s1: #2b7bbb; --s2: #5cb8cc; --s3: #c8453b; --s4: #e39a90; --s5: #d09a1a; --s6: #8a5cc2; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e4e8ee; --paper: #14181f; --line: #333b47; --dim: #98a2b3; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .5rem 0; font-size: .9rem; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.note, figcaption { color: var(--dim); font-size: .9rem; }
figure { margin: 1rem 0; } svg { width: 100%; height: auto; } text { fill: var(--dim); font-size: 11px; }
.axis { stroke: var(--line); }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); }
.s4 { fill: var(--s4); } .s5 { fill: var(--s5); } .s6 { fill: var(--s6); }
"""
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
_WIDTH, _HEIGHT = 720.0, 200.0
_LEFT, _BOTTOM, _TOP = 44.0, 22.0, 10.0
_MOST_LABELS = 12


def to_html(page: Page) -> str:
    """The page as a whole document."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    head = joined(
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(digest=digest)}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        element("title", f"jobctl: {page.title}"),
        Markup(f"<style>{_STYLE}</style>"),
    )
    body = joined(
        element("h1", page.title),
        *(element("p", words) for words in page.lead),
        *(part for section in page.sections for part in _section(section)),
        *(element("p", note, class_="note") for note in page.notes),
    )
    return f'<!doctype html>\n<html lang="en">{element("head", head)}\n{element("body", body)}</html>\n'


def _section(section: Section) -> Iterator[Markup]:
    yield element("h2", section.title)
    for words in section.words:
        yield element("p", words)
    if section.chart is not None and not section.chart.is_empty:
        yield _figure(section.chart)
    if section.grid is not None:
        yield _table(section.grid) if section.grid.rows else element("p", section.grid.otherwise)


def _table(grid: Grid) -> Markup:
    kinds = ["number" if column.is_number else "words" for column in grid.columns]
    head = [
        element("th", column.heading, class_=kind) for column, kind in zip(grid.columns, kinds, strict=True)
    ]
    rows = [
        element(
            "tr",
            *(
                element("td", column.cell(row), class_=kind)
                for column, kind in zip(grid.columns, kinds, strict=True)
            ),
        )
        for row in grid.rows
    ]
    return element("table", element("thead", element("tr", *head)), element("tbody", *rows))


def _figure(chart: Chart) -> Markup:
    drawing = element(
        "svg",
        *_axis(chart),
        *_bars(chart),
        *_legend(chart),
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT + 20:g}",
        role="img",
        aria_label=chart.title,
    )
    return element("figure", drawing, element("figcaption", chart.title))


def _axis(chart: Chart) -> Iterator[Markup]:
    highest = max(chart.totals)
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        yield element("line", x1=_LEFT, x2=_WIDTH, y1=y, y2=y, class_="axis")
        if share in {0.0, 1.0}:
            yield element("text", f"{round(highest * share):,}", x=_LEFT - 6, y=y + 4, text_anchor="end")
    step = -(-len(chart.labels) // _MOST_LABELS)
    for number in range(0, len(chart.labels), step):
        x = _LEFT + _slot(chart) * (number + 0.5)
        yield element("text", chart.labels[number], x=x, y=_HEIGHT - 6, text_anchor="middle")


def _bars(chart: Chart) -> Iterator[Markup]:
    highest, slot = max(chart.totals), _slot(chart)
    for number, label in enumerate(chart.labels):
        below = 0
        for kind, one in chart.drawn:
            value = one.values[number]
            if value:
                top, foot = _y((below + value) / highest), _y(below / highest)
                yield element(
                    "rect",
                    element("title", f"{label}: {value:,} {one.name}"),
                    x=_LEFT + slot * (number + 0.1),
                    y=top,
                    width=slot * 0.8,
                    height=foot - top,
                    class_=f"s{kind}",
                )
                below += value


def _legend(chart: Chart) -> Iterator[Markup]:
    x = _LEFT
    for kind, one in chart.drawn:
        yield element("rect", x=x, y=_HEIGHT + 6, width=10, height=10, class_=f"s{kind}")
        yield element("text", one.name, x=x + 14, y=_HEIGHT + 15)
        x += 34.0 + 7 * len(one.name)


def _slot(chart: Chart) -> float:
    return (_WIDTH - _LEFT) / len(chart.labels)


def _y(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _BOTTOM - _TOP)
