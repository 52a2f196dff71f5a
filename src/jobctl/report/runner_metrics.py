"""What jobctl knows, as metrics: names and units as Prometheus has them.

A counter begins with the store, not with a process: it is the history, added up. Labels are bounded:
so many kinds, error codes, queues and owners have a name of their own, the rest is ``other``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from jobctl.core.figures import Figure, figures_of
from jobctl.core.histogram import Histogram, bounds_of
from jobctl.core.tally import Part, Tally
from jobctl.model.attempts import QueueState, WorkerRow
from jobctl.model.names import to_shown
from jobctl.model.runs import LastRun
from jobctl.model.status import Status
from jobctl.report.prometheus import Metric, Sample

OTHER = "other"
_WORKER_STATES = ("running", "draining", "stopped", "lost")
_MOST_RUNS = 100
_EVERY = 4
"""Four buckets of ours make a doubling; more would only cost whoever collects them."""
BUCKETS = range(4 * _EVERY, 28 * _EVERY, _EVERY)
"""From 16 ms to 37 h, always the same, so that histograms can be added up."""

_ATTEMPTS = frozenset({Figure.STARTED, Figure.LOST})
"""What is counted by the attempt, not by the job."""


class Named(NamedTuple):
    """The kinds, error codes and owners that have a name of their own, and how many queues may."""

    kinds: frozenset[str]
    codes: frozenset[str]
    most: int


@dataclass(slots=True)
class Measures:
    """What there is to tell, read at one moment.

    ``since``: when the store was made. ``busy``: how many attempts each worker runs. ``owners``: parts
    of the current day in UTC, those beyond the named ones together in ``other_owners``.
    """

    now: datetime
    since: datetime
    jobs: Mapping[Status, int]
    last_runs: Sequence[LastRun]
    tally: Tally
    queues: Sequence[QueueState]
    workers: Sequence[WorkerRow]
    busy: Mapping[str, int]
    named: Named
    owners: Mapping[str, Part] = field(default_factory=dict)
    other_owners: Part = field(default_factory=Part)


def all_metrics(seen: Measures) -> Iterator[Metric]:
    """Jobs, queues, workers, changes of statuses, how long jobs waited and ran, and how commands ended."""
    jobs = [Sample({"status": status.value}, seen.jobs.get(status, 0)) for status in Status]
    yield Metric("jobctl_jobs", "Jobs by status.", jobs)
    yield from _queues(seen.queues, seen.named.most)
    yield from _workers(seen.workers, seen.busy)
    yield from _figures(seen.tally, seen.named)
    yield from _changes(seen.tally, seen.named)
    yield _durations(
        seen.tally,
        seen.named,
        "wait",
        "jobctl_job_wait_seconds",
        "From when a job was due to when it was taken.",
    )
    yield _durations(
        seen.tally, seen.named, "run", "jobctl_job_run_seconds", "How long attempts ran, by how they ended."
    )
    yield _owners(seen.owners, seen.other_owners)
    yield from _runs(seen.last_runs)


def _label(name: str, known: frozenset[str]) -> str:
    return to_shown(name) if not name or name in known else OTHER


def _queues(queues: Sequence[QueueState], most: int) -> Iterator[Metric]:
    queued, due, oldest = Counter[str](), Counter[str](), dict[str, float]()
    ordered = sorted(queues, key=lambda state: (-state.queued, state.queue))
    known = frozenset(state.queue for state in ordered[:most])
    for state in queues:
        name = _label(state.queue, known)
        queued[name] += state.queued
        due[name] += state.due
        oldest[name] = max(oldest.get(name, 0.0), state.oldest_s)
    text = "Jobs that are queued, those that are due later included."
    yield _gauge("jobctl_queued_jobs", text, "queue", queued)
    yield _gauge("jobctl_queued_due_jobs", "Queued jobs that are due.", "queue", due)
    text = "How long the job that waits longest has been due."
    yield _gauge("jobctl_queue_oldest_seconds", text, "queue", oldest)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return Metric(name, text, [Sample({label: each}, value) for each, value in sorted(values.items())])


def _workers(workers: Sequence[WorkerRow], busy: Mapping[str, int]) -> Iterator[Metric]:
    states = Counter(row.state for row in workers)
    text = "Workers by state; those that ended are remembered for 30 days."
    yield Metric("jobctl_workers", text, [Sample({"state": each}, states[each]) for each in _WORKER_STATES])
    slots = sum(row.slots for row in workers if row.ended_at is None)
    yield Metric("jobctl_worker_slots", "How many attempts can run at once.", [Sample({}, slots)])
    running = sum(busy.values())
    yield Metric("jobctl_running_attempts", "How many attempts run.", [Sample({}, running)])


def _figures(tally: Tally, named: Named) -> Iterator[Metric]:
    counts: dict[Figure, Counter[str]] = {figure: Counter() for figure in Figure}
    for flow, count in tally.flows.items():
        for figure in figures_of(flow.move):
            counts[figure][_label(flow.job_kind, named.kinds)] += count
    for figure in Figure:
        name = f"jobctl_{'attempts' if figure in _ATTEMPTS else 'jobs'}_{figure.value}_total"
        text = f"{figure.meaning[0].upper()}{figure.meaning[1:]}."
        samples = [Sample({"task": task}, count) for task, count in sorted(counts[figure].items())]
        yield Metric(name, text, samples, "counter")


def _changes(tally: Tally, named: Named) -> Iterator[Metric]:
    changes, failures = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for flow, count in tally.flows.items():
        task = _label(flow.job_kind, named.kinds)
        changes[task, flow.from_status, flow.to_status, flow.cause or flow.origin] += count
        if flow.move.is_failure:
            failures[task, _label(flow.error_code, named.codes)] += count
    yield _counter(
        "jobctl_job_changes_total",
        "Changes of jobs' statuses; causes such as retry, rescue and hand-back tell of attempts.",
        ("task", "from", "to", "cause"),
        changes,
    )
    yield _counter(
        "jobctl_attempt_failures_total",
        "Attempts that failed, by error code; killed, died and out-of-memory are processes that ended.",
        ("task", "error_code"),
        failures,
    )


def _counter(name: str, text: str, labels: Sequence[str], counts: Mapping[tuple[str, ...], int]) -> Metric:
    ordered = sorted(counts.items())
    samples = [Sample(dict(zip(labels, values, strict=True)), count) for values, count in ordered]
    return Metric(name, text, samples, "counter")


def _durations(tally: Tally, named: Named, what: str, name: str, text: str) -> Metric:
    found: dict[tuple[str, str], Histogram] = {}
    for span, durations in tally.spans.items():
        if span.what == what:
            key = (_label(span.job_kind, named.kinds), span.to_status)
            found.setdefault(key, Histogram()).add(span.bucket, durations.count, durations.total_s)
    samples = [
        sample
        for (task, to), histogram in sorted(found.items())
        for sample in _buckets({"task": task, **({"to": to} if what == "run" else {})}, histogram)
    ]
    return Metric(name, text, samples, "histogram")


def _buckets(labels: Mapping[str, str], histogram: Histogram) -> Iterator[Sample]:
    for bucket, seen in cumulated(histogram):
        yield Sample({**labels, "le": f"{bounds_of(bucket)[1]:.6g}"}, seen, "_bucket")
    yield Sample({**labels, "le": "+Inf"}, histogram.count, "_bucket")
    yield Sample(labels, histogram.total_s, "_sum")
    yield Sample(labels, histogram.count, "_count")


def cumulated(histogram: Histogram) -> Iterator[tuple[int, int]]:
    """How many durations are no longer than the upper bound of each of ``BUCKETS``."""
    counted = sorted(histogram.counts.items())
    seen, place = 0, 0
    for bucket in BUCKETS:
        while place < len(counted) and counted[place][0] <= bucket:
            seen += counted[place][1]
            place += 1
        yield bucket, seen


def _owners(owners: Mapping[str, Part], others: Part) -> Metric:
    counts = Counter[tuple[str, str]]()
    for owner, part in owners.items():
        for figure, count in part.counts.items():
            counts[to_shown(owner), figure.value] += count
    for figure, count in others.counts.items():
        counts[OTHER, figure.value] += count
    samples = [Sample({"owner": name, "what": what}, count) for (name, what), count in sorted(counts.items())]
    text = "What happened to owners' jobs since midnight UTC, of the owners with the most."
    return Metric("jobctl_owner_jobs_today", text, samples)


def _runs(last_runs: Iterable[LastRun]) -> Iterator[Metric]:
    newest = sorted(last_runs, key=lambda run: run.finished_at, reverse=True)[:_MOST_RUNS]
    tellers: Sequence[tuple[str, str, Callable[[LastRun], float | None]]] = (
        (
            "jobctl_last_run_timestamp_seconds",
            "When a command last ended, however it did.",
            lambda run: run.finished_at.timestamp(),
        ),
        (
            "jobctl_last_run_exit_code",
            "The exit code a command last ended with; 0 is success.",
            lambda run: run.exit_code,
        ),
        (
            "jobctl_last_success_timestamp_seconds",
            "When a command last ended with success.",
            lambda run: _seconds(run.succeeded_at),
        ),
    )
    for name, text, value_of in tellers:
        values = {(to_shown(run.command), to_shown(run.host)): value_of(run) for run in reversed(newest)}
        samples = [
            Sample({"command": command, "host": host}, value)
            for (command, host), value in sorted(values.items())
            if value is not None
        ]
        yield Metric(name, text, samples)


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
