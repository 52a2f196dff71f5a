"""The state of a store: on a terminal, and as items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from jobctl.model.runs import LastRun
from jobctl.report.columns import Column
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


def _ago(now: datetime) -> Callable[[datetime], str]:
    return lambda moment: f"{age_of(moment, now)} ago"
