"""Plots of a window's course, as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import plotext

from jobctl.core.figures import Figure, Figures

_HEIGHT = 12
_WIDEST = 160
_SLOWEST = 0.95
_ROOM_OF_A_LABEL = 14


class Course(NamedTuple):
    """One number of each period; ``None`` where there was nothing to measure."""

    title: str
    values: Sequence[float | None]


def courses_of(trend: Sequence[Figures], period: str) -> list[Course]:
    """What is drawn of a window: what came, what was done, what failed, how long it waited and ran."""
    counts = [
        Course(f"{figure.value} an {period}" if period == "hour" else f"{figure.value} a {period}", values)
        for figure in (Figure.CREATED, Figure.COMPLETED, Figure.FAILED)
        for values in [[each.counts[figure] for each in trend]]
    ]
    waits = [each.wait.quantile(_SLOWEST) for each in trend]
    runs = [each.run.quantile(_SLOWEST) for each in trend]
    return [*counts, Course("wait p95, seconds", waits), Course("run p95, seconds", runs)]


def plots(courses: Sequence[Course], labels: Sequence[str], width: int) -> Iterator[str]:
    """Each course as bars over the same periods, whose beginnings are ``labels``."""
    for course in courses:
        if any(course.values):
            yield _plot(course, labels, min(width, _WIDEST))


def _plot(course: Course, labels: Sequence[str], width: int) -> str:
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, _HEIGHT)
    figure.title(course.title)
    places = list(range(len(labels)))
    figure.draw(figure.bar(places, [value or 0 for value in course.values], marker="█"))
    step = -(-len(labels) // max(1, width // _ROOM_OF_A_LABEL))
    figure.ruler("x").ticks(places[::step], list(labels[::step]))
    return "\n".join(line.rstrip() for line in figure.build().string(colorless=True).splitlines())
