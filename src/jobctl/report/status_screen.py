"""The state of a store: on a terminal, as items, and as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from jobctl.model.runs import LastRun
from jobctl.model.status import Status
from jobctl.report.columns import Column
from jobctl.report.prometheus import Metric, Sample
from jobctl.report.units import age_of


def last_run_columns(now: datetime) -> Sequence[Column[Any]]:
    """The columns of last runs."""
    return (
        Column(name="command", value=lambda run: run.command),
        Column(name="host", value=lambda run: run.host, from_width=110),
        Column(
            name="finished_at",
            title="ended",
            value=lambda run: run.finished_at,
            shown=_ago(now),
            is_number=True,
        ),
        Column(name="exit_code", title="exit", value=lambda run: run.exit_code, is_number=True),
        Column(
            name="succeeded_at",
            title="last success",
            value=lambda run: run.succeeded_at,
            shown=_ago(now),
            is_number=True,
        ),
        Column(name="run_id", value=lambda run: run.run_id, from_width=110),
        Column(name="error", value=lambda run: run.error, may_wrap=True),
    )


def last_run_item(run: LastRun) -> dict[str, Any]:
    """How a command ended last, as JSON."""
    names = ("command", "host", "finished_at", "exit_code", "error", "run_id", "counts", "succeeded_at")
    return {name: getattr(run, name) for name in names}


def metrics(jobs: Mapping[Status, int], runs: Sequence[LastRun]) -> Iterator[Metric]:
    """Jobs by status, and how each command ended last."""
    yield Metric(
        "jobctl_jobs",
        "Jobs by status.",
        [Sample({"status": status.value}, jobs.get(status, 0)) for status in Status],
    )
    yield Metric(
        "jobctl_last_run_timestamp_seconds",
        "When a command last ended, however it did.",
        [Sample(_labels(run), run.finished_at.timestamp()) for run in runs],
    )
    yield Metric(
        "jobctl_last_run_exit_code",
        "The exit code a command last ended with; 0 is success.",
        [Sample(_labels(run), run.exit_code) for run in runs],
    )
    yield Metric(
        "jobctl_last_success_timestamp_seconds",
        "When a command last ended with success.",
        [Sample(_labels(run), run.succeeded_at.timestamp()) for run in runs if run.succeeded_at],
    )


def _labels(run: LastRun) -> dict[str, str]:
    return {"command": run.command, "host": run.host}


def _ago(now: datetime) -> Callable[[datetime], str]:
    return lambda moment: f"{age_of(moment, now)} ago"
