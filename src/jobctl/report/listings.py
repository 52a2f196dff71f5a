"""The columns of every listing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from jobctl.model.difference import Difference
from jobctl.model.job import Artifact, Event, Job
from jobctl.model.plan import Action, Kept, Outcome
from jobctl.model.quarantine import Entry
from jobctl.report.columns import Column
from jobctl.report.units import age_of, age_shown, local_time, size_shown

_WIDE = 110
_WIDER = 150


class KeptLine(NamedTuple):
    """What a policy left alone, in the form of a step of which nothing comes."""

    job_id: str
    root_id: str | None
    path: str | None
    reason: str
    seq: None = None
    verb: str = "keep"
    from_status: None = None
    to_status: None = None
    confidence: None = None


def kept_line(kept: Kept) -> KeptLine:
    """What was left alone, to be listed among steps."""
    return KeptLine(kept.job_id, kept.root_id or None, kept.path or None, kept.reason)


class Step(NamedTuple):
    """An action of a plan and, once it was applied, what became of it."""

    action: Action | KeptLine
    outcome: Outcome | None = None
    note: str | None = None


FINDING_COLUMNS: Sequence[Column[Mapping[str, Any]]] = tuple(
    Column(name=name, value=itemgetter(name))
    for name in ("finding", "job_id", "root_id", "path", "verdict", "tier", "bytes", "reason")
)
"""Columns over the items that ``scan`` prints as JSON."""

DUPLICATE_COLUMNS: Sequence[Column[Mapping[str, Any]]] = tuple(
    Column(name=name, value=itemgetter(name))
    for name in ("group", "kind", "role", "job_id", "root_id", "path", "bytes", "may_go", "reason")
)
"""Columns over the items that ``duplicates`` prints as JSON."""

STEP_COLUMNS: Sequence[Column[Step]] = (
    Column(name="verb", value=lambda step: step.action.verb),
    Column(name="job_id", value=lambda step: step.action.job_id),
    Column(name="root_id", value=lambda step: step.action.root_id, from_width=_WIDER),
    Column(name="path", value=lambda step: step.action.path, from_width=_WIDE, may_wrap=True),
    Column(name="from", value=lambda step: step.action.from_status, from_width=_WIDER),
    Column(name="to", value=lambda step: step.action.to_status, from_width=_WIDER),
    Column(name="reason", value=lambda step: step.action.reason, from_width=_WIDER, may_wrap=True),
    Column(name="confidence", value=lambda step: step.action.confidence, from_width=_WIDER),
    Column(name="result", value=lambda step: step.outcome),
    Column(name="note", value=lambda step: step.note, may_wrap=True),
)

ENTRY_COLUMNS: Sequence[Column[Entry]] = (
    Column(name="entry", value=lambda entry: f"{entry.run_id}/{entry.action}"),
    Column(name="path", value=lambda entry: entry.path, may_wrap=True),
    Column(
        name="bytes", title="size", value=lambda entry: entry.identity.size, shown=size_shown, is_number=True
    ),
    Column(
        name="age_s",
        title="age",
        value=lambda entry: None if entry.age is None else int(entry.age.total_seconds()),
        shown=age_shown,
        is_number=True,
    ),
    Column(name="state", value=lambda entry: entry.whereabouts, from_width=_WIDE),
    Column(name="job_id", value=lambda entry: entry.job_id, from_width=_WIDER),
    Column(name="root_id", value=lambda entry: entry.root_id, from_width=_WIDER),
    Column(name="reason", value=lambda entry: entry.reason, from_width=_WIDE, may_wrap=True),
)

DIFFERENCE_COLUMNS: Sequence[Column[Difference]] = (
    Column(name="difference", value=lambda difference: difference.kind),
    Column(name="run_id", value=lambda difference: difference.run_id, from_width=_WIDER),
    Column(name="seq", value=lambda difference: difference.seq, from_width=_WIDER),
    Column(name="job_id", value=lambda difference: difference.job_id, from_width=_WIDER),
    Column(name="root_id", value=lambda difference: difference.root_id, from_width=_WIDER),
    Column(name="path", value=lambda difference: difference.path, may_wrap=True),
    Column(name="reason", value=lambda difference: difference.reason, may_wrap=True),
    Column(name="mend", value=lambda difference: difference.mend, may_wrap=True),
)

KEPT_COLUMNS: Sequence[Column[KeptLine]] = (
    Column(name="kept", value=lambda kept: kept.path or kept.job_id, may_wrap=True),
    Column(name="reason", value=lambda kept: kept.reason, may_wrap=True),
)

ARTIFACT_COLUMNS: Sequence[Column[Artifact]] = (
    Column(name="role", value=lambda file: file.role),
    Column(name="path", value=lambda file: file.path, may_wrap=True),
    Column(name="state", value=lambda file: file.state),
    Column(name="size", value=lambda file: file.size, shown=size_shown, is_number=True),
    Column(name="verdict", value=lambda file: file.verdict),
    Column(name="tier", value=lambda file: file.tier, from_width=_WIDE),
    Column(name="root_id", value=lambda file: file.root_id, from_width=_WIDE),
    Column(name="sha256", value=lambda file: file.sha256, from_width=_WIDER, may_wrap=True),
)

EVENT_COLUMNS: Sequence[Column[Event]] = (
    Column(name="at", value=lambda event: event.at, shown=local_time),
    Column(name="kind", value=lambda event: event.kind),
    Column(name="from", value=lambda event: event.from_status),
    Column(name="to", value=lambda event: event.to_status),
    Column(name="actor", value=lambda event: event.actor),
    Column(name="run_id", value=lambda event: event.run_id, from_width=_WIDE),
    Column(name="reason", value=lambda event: (event.detail or {}).get("reason"), may_wrap=True),
)

FIELD_COLUMNS: Sequence[Column[Any]] = (
    Column(name="field", value=lambda row: row["field"]),
    Column(name="value", value=lambda row: row["value"], may_wrap=True),
    Column(name="source", value=lambda row: row["source"], may_wrap=True),
    Column(name="locator", value=lambda row: row["locator"], may_wrap=True),
    Column(name="trust", value=lambda row: row["trust"]),
    Column(name="note", value=lambda row: row["note"], from_width=_WIDE, may_wrap=True),
)

LOG_READ_COLUMNS: Sequence[Column[Any]] = (
    Column(name="path", value=lambda read: read.path, may_wrap=True),
    Column(name="bytes", title="new", value=lambda read: read.bytes, shown=size_shown, is_number=True),
    Column(name="lines", value=lambda read: read.lines, shown="{:,}".format, is_number=True),
    Column(name="jobs", value=lambda read: read.jobs, shown="{:,}".format, is_number=True),
)


def log_columns(now: datetime) -> Sequence[Column[Any]]:
    """The columns of ``evidence list``."""
    return (
        Column(name="log_id", value=lambda log: log.log_id),
        Column(name="name", value=lambda log: log.name, may_wrap=True),
        Column(name="instances", value=lambda log: ", ".join(log.instances), from_width=_WIDE, may_wrap=True),
        Column(name="jobs", value=lambda log: log.jobs, shown="{:,}".format, is_number=True),
        Column(name="restarts", value=lambda log: log.restarts, is_number=True),
        Column(name="bytes", title="size", value=lambda log: log.bytes, shown=size_shown, is_number=True),
        Column(
            name="lines", value=lambda log: log.lines, shown="{:,}".format, is_number=True, from_width=_WIDE
        ),
        Column(name="last_moment", value=lambda log: log.last_moment, from_width=_WIDER),
        Column(
            name="read_at", title="read", value=lambda log: log.read_at, shown=_age_at(now), is_number=True
        ),
    )


def render_columns(now: datetime) -> Sequence[Column[Any]]:
    """The columns of ``remote list``."""
    return (
        Column(name="remote_id", value=lambda known: known.render.remote_id),
        Column(name="state", value=lambda known: known.render.state),
        Column(
            name="created_at",
            title="age",
            value=lambda known: known.render.created_at,
            shown=_age_at(now),
            is_number=True,
        ),
        Column(name="job_id", value=lambda known: known.job_id),
        Column(name="matched_by", title="by", value=lambda known: known.matched_by, from_width=_WIDE),
        Column(name="name", value=lambda known: known.render.name, from_width=_WIDE, may_wrap=True),
        Column(name="said", value=lambda known: known.render.said, from_width=_WIDER),
        Column(name="error", value=lambda known: known.render.error, from_width=_WIDER, may_wrap=True),
    )


def job_columns(now: datetime) -> Sequence[Column[Job]]:
    """The columns of ``list``; ``now`` is the store's clock."""
    age = _age_at(now)
    return (
        Column(name="job_id", value=lambda job: job.job_id),
        Column(name="status", value=lambda job: job.status),
        Column(
            name="progress", value=lambda job: job.shown_progress, shown="{:.0f} %".format, is_number=True
        ),
        Column(name="created_at", title="age", value=lambda job: job.created_at, shown=age, is_number=True),
        Column(
            name="completed_at",
            title="done for",
            value=lambda job: job.completed_at,
            shown=age,
            is_number=True,
            from_width=_WIDE,
        ),
        Column(name="origin", value=lambda job: job.origin, from_width=_WIDE),
        Column(name="confidence", value=lambda job: job.confidence, from_width=_WIDE),
        Column(name="owner", value=lambda job: job.owner, from_width=_WIDE),
        Column(
            name="attempt",
            value=lambda job: job.attempt,
            shown=lambda attempt: str(attempt or ""),
            is_number=True,
            from_width=_WIDER,
        ),
        Column(
            name="video_url", title="video", value=lambda job: job.video_url, from_width=180, may_wrap=True
        ),
        Column(name="error", value=lambda job: job.error, from_width=_WIDE, may_wrap=True),
    )


def run_columns(now: datetime) -> Sequence[Column[Any]]:
    """The columns of ``runs``."""
    return (
        Column(name="run_id", value=lambda run: run.run_id),
        Column(name="command", value=lambda run: run.command),
        Column(name="state", value=lambda run: run.state),
        Column(
            name="started_at",
            title="age",
            value=lambda run: run.started_at,
            shown=_age_at(now),
            is_number=True,
        ),
        Column(name="actor", value=lambda run: run.actor, from_width=_WIDE),
        Column(name="host", value=lambda run: run.host, from_width=_WIDER),
        Column(name="undo_of", value=lambda run: run.undo_of, from_width=_WIDE),
        Column(
            name="actions", title="steps", value=lambda run: run.actions, shown="{:,}".format, is_number=True
        ),
        Column(name="done", value=lambda run: run.counts.get("done"), shown="{:,}".format, is_number=True),
        Column(name="exit_code", title="exit", value=lambda run: run.exit_code, is_number=True),
    )


def root_columns(now: datetime) -> Sequence[Column[Any]]:
    """The columns of ``root list``."""
    return (
        Column(name="root_id", value=lambda root: root.root_id),
        Column(name="path", value=lambda root: root.path, may_wrap=True),
        Column(name="layout", value=lambda root: root.layout),
        Column(name="host", value=lambda root: root.host, from_width=_WIDE),
        Column(name="generation", value=lambda root: root.generation, is_number=True, from_width=_WIDE),
        Column(
            name="registered_at",
            title="age",
            value=lambda root: root.registered_at,
            shown=_age_at(now),
            is_number=True,
            from_width=_WIDE,
        ),
        Column(name="state", value=lambda root: root.state, may_wrap=True),
    )


def _age_at(now: datetime) -> Callable[[Any], str]:
    return lambda moment: age_of(moment, now)
