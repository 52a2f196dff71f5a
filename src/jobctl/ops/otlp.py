"""Metrics for OpenTelemetry: the same numbers, sent once over OTLP/HTTP.

Where to, and with which headers, certificates and names, is told by OpenTelemetry's own environment
variables. Everything here comes with ``jobctl[otel]``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from jobctl import __version__
from jobctl.errors import CollectorRefused, ConfigurationError
from jobctl.report.prometheus import Metric, Sample

_HTTP = "http/protobuf"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_NAMES = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SYSTEM_SAID = re.compile(r"\[Errno -?[0-9]+\] ([^\"')]+)")


class Sent(NamedTuple):
    """What was sent: how many metrics, and how many values they had. Both nought where it is disabled."""

    metrics: int
    points: int


def push(metrics: Iterable[Metric], *, since: datetime, now: datetime, environ: Mapping[str, str]) -> Sent:
    """Send metrics once; counters count from ``since``, when the store was made.

    Raises ``ConfigurationError`` where OpenTelemetry is not installed or asked for another protocol,
    ``CollectorRefused`` where they did not arrive.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Sent(0, 0)
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _HTTP)
    if protocol != _HTTP:
        raise ConfigurationError(
            f"OpenTelemetry's environment asks for {protocol}, and jobctl sends {_HTTP}; nothing was sent",
            hint=f"set {_PROTOCOLS[0]}={_HTTP}; collectors listen for it on port 4318",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - an extra
            OTLPMetricExporter,
        )
        from opentelemetry.sdk.metrics.export import MetricExportResult  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "OpenTelemetry is not installed; nothing was sent", hint="install it: pip install 'jobctl[otel]'"
        ) from None
    span = (_ns(since), _ns(now))
    converted = [made for metric in metrics if (made := _converted(metric, *span)) is not None]
    points = sum(len(each.data.data_points) for each in converted)
    with _complaints() as complaints:
        exporter = OTLPMetricExporter()
        try:
            result = exporter.export(_packed(converted))
        finally:
            exporter.shutdown()
    if result is not MetricExportResult.SUCCESS:
        said = complaints[0] if complaints else "it gave no reason"
        named = next((name for name in _NAMES if environ.get(name)), None)
        raise CollectorRefused(
            f"the collector did not take the metrics: {said}",
            hint=f"see that it runs, and what {named} names" if named else f"name it with {_NAMES[-1]}",
        )
    return Sent(len(converted), points)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What OpenTelemetry logs meanwhile, instead of on stderr."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said = " ".join(record.getMessage().split())
            # Of a connection that fails, three layers tell in each other's words; the system's own say it.
            refused = _SYSTEM_SAID.search(said)
            heard.append(refused[1] if refused else said[:500])

    logger, ear = logging.getLogger("opentelemetry"), Ear()
    propagates = logger.propagate
    logger.addHandler(ear)
    logger.propagate = False
    try:
        yield heard
    finally:
        logger.removeHandler(ear)
        logger.propagate = propagates


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def _packed(metrics: list[Any]) -> Any:
    from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415 - an extra
        MetricsData,
        ResourceMetrics,
        ScopeMetrics,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

    resource = Resource.create()
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "jobctl"}))
    scope = ScopeMetrics(InstrumentationScope("jobctl", __version__), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _converted(metric: Metric, since_ns: int, now_ns: int) -> Any:
    """A metric as OpenTelemetry has it; its name without the unit and ``_total``, which collectors add."""
    from opentelemetry.sdk.metrics import export  # noqa: PLC0415 - an extra

    samples = list(metric.samples)
    if not samples:
        return None
    cumulative = export.AggregationTemporality.CUMULATIVE
    data: Any
    if metric.kind == "histogram":
        points = [_histogram_point(group, since_ns, now_ns) for group in _by_labels(samples)]
        data = export.Histogram(points, cumulative)
    else:
        numbers = [
            export.NumberDataPoint(dict(sample.labels), since_ns, now_ns, sample.value) for sample in samples
        ]
        is_counter = metric.kind == "counter"
        data = export.Sum(numbers, cumulative, is_monotonic=True) if is_counter else export.Gauge(numbers)
    is_time = "_seconds" in metric.name
    name = metric.name.replace("_seconds", "").removesuffix("_total").replace("jobctl_", "jobctl.", 1)
    return export.Metric(name, metric.help, "s" if is_time else "1", data)


def _by_labels(samples: Iterable[Sample]) -> Iterator[tuple[dict[str, str], list[Sample]]]:
    """The samples of each histogram: they stand together, and differ in ``le`` alone."""

    def key(sample: Sample) -> tuple[tuple[str, str], ...]:
        return tuple((name, value) for name, value in sample.labels.items() if name != "le")

    for labels, group in groupby(samples, key):
        yield dict(labels), list(group)


def _histogram_point(histogram: tuple[dict[str, str], list[Sample]], since_ns: int, now_ns: int) -> Any:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint  # noqa: PLC0415 - an extra

    labels, samples = histogram
    upto = [
        (float(sample.labels["le"]), int(sample.value)) for sample in samples if sample.suffix == "_bucket"
    ]
    totals = {sample.suffix: sample.value for sample in samples if sample.suffix != "_bucket"}
    counts = [seen - before for (_, seen), (_, before) in zip(upto, [(0.0, 0), *upto], strict=False)]
    return HistogramDataPoint(
        attributes=labels,
        start_time_unix_nano=since_ns,
        time_unix_nano=now_ns,
        count=int(totals["_count"]),
        sum=totals["_sum"],
        bucket_counts=counts,
        explicit_bounds=[bound for bound, _ in upto[:-1]],
        min=None,  # type: ignore[arg-type]  # not known; the wire format has it optional
        max=None,  # type: ignore[arg-type]
    )
