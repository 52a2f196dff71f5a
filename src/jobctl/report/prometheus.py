"""The text format of Prometheus, version 0.0.4: prometheus.io/docs/instrumenting/exposition_formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple


class Sample(NamedTuple):
    """One value with its labels. ``suffix``: what part of a histogram it is."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


class Metric(NamedTuple):
    """One metric; its name ends in its unit."""

    name: str
    help: str
    samples: Iterable[Sample]
    kind: str = "gauge"


def exposition(metrics: Iterable[Metric]) -> str:
    """All metrics as one text."""
    return "".join(f"{line}\n" for metric in metrics for line in _lines(metric))


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {_escaped(metric.help)}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for sample in metric.samples:
        labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels.items())
        name = f"{metric.name}{sample.suffix}"
        yield f"{name}{{{labels}}} {sample.value:.16g}" if labels else f"{name} {sample.value:.16g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
