"""The columns of every listing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from jobctl.core.attempts import AttemptLine
from jobctl.core.reasons import failure_said
from jobctl.durations import age_shown, took_said
from jobctl.model.difference import Difference
from jobctl.model.job import Artifact, Event, Job
from jobctl.model.plan import Action, Kept, Outcome
from jobctl.model.quarantine import Entry
from jobctl.model.status import Status
from jobctl.report.columns import WIDE, WIDER, Column
from jobctl.report.units import age_of, local_time, size_shown

MOST_OF_A_NAME = 40
_MOST_OF_A_REASON = 200
_ORDINARY_ID = 36


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


def job_id_column(value: Callable[[Any], Any], *, from_width: int = 0) -> Column[Any]:
    """A column of jobs' ids, which are up to a thousand bytes long, and mostly 36."""
    return Column(name="job_id", value=value, from_width=from_width, may_wrap=True, keeps=_ORDINARY_ID)


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
    job_id_column(lambda step: step.action.job_id),
    Column(name="root_id", value=lambda step: step.action.root_id, from_width=WIDER),
    Column(name="path", value=lambda step: step.action.path, from_width=WIDE, may_wrap=True),
    Column(name="from", value=lambda step: step.action.from_status, from_width=WIDER),
    Column(name="to", value=lambda step: step.action.to_status, from_width=WIDER),
    Column(name="reason", value=lambda step: step.action.reason, from_width=WIDER, may_wrap=True),
    Column(name="confidence", value=lambda step: step.action.confidence, from_width=WIDER),
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
    Column(name="state", value=lambda entry: entry.whereabouts, from_width=WIDE),
    job_id_column(lambda entry: entry.job_id, from_width=WIDER),
    Column(name="root_id", value=lambda entry: entry.root_id, from_width=WIDER),
    Column(name="reason", value=lambda entry: entry.reason, from_width=WIDE, may_wrap=True),
)

DIFFERENCE_COLUMNS: Sequence[Column[Difference]] = (
    Column(name="difference", value=lambda difference: difference.kind),
    Column(name="run_id", value=lambda difference: difference.run_id, from_width=WIDER),
    Column(name="seq", value=lambda difference: difference.seq, from_width=WIDER),
    job_id_column(lambda difference: difference.job_id, from_width=WIDER),
    Column(name="root_id", value=lambda difference: difference.root_id, from_width=WIDER),
    Column(name="path", value=lambda difference: difference.path, may_wrap=True),
    Column(name="reason", value=lambda difference: difference.reason, may_wrap=True),
    Column(name="mend", value=lambda difference: difference.mend, may_wrap=True),
)

KEPT_COLUMNS: Sequence[Column[KeptLine]] = (
    Column(name="kept", value=lambda kept: kept.path or kept.job_id, may_wrap=True),
    Column(name="reason", value=lambda kept: kept.reason, may_wrap=True),
)


def reason_column(
    name: str, value: Callable[[Any], Any], *, title: str = "", from_width: int = 0
) -> Column[Any]:
    """A column of what somebody wrote, however long."""
    return Column(
        name=name, value=value, title=title, from_width=from_width, may_wrap=True, most=_MOST_OF_A_REASON
    )


ARTIFACT_COLUMNS: Sequence[Column[Artifact]] = (
    Column(name="role", value=lambda file: file.role),
    Column(name="path", value=lambda file: file.path, may_wrap=True),
    Column(name="state", value=lambda file: file.state),
    Column(name="size", value=lambda file: file.size, shown=size_shown, is_number=True),
    Column(name="verdict", value=lambda file: file.verdict),
    Column(name="tier", value=lambda file: file.tier, from_width=WIDE),
    Column(name="root_id", value=lambda file: file.root_id, from_width=WIDE),
    Column(name="sha256", value=lambda file: file.sha256, from_width=WIDER, may_wrap=True),
)


ATTEMPT_COLUMNS: Sequence[Column[AttemptLine]] = (
    Column(name="attempt", value=lambda each: each.number, title="no", is_number=True),
    Column(name="began_at", value=lambda each: each.began_at, title="began", shown=local_time),
    Column(name="took_s", value=lambda each: each.took_s, title="took", shown=took_said, is_number=True),
    Column(name="outcome", value=lambda each: each.outcome),
    Column(name="error_code", value=lambda each: each.error_code, title="code", from_width=WIDE),
    Column(name="worker", value=lambda each: each.worker, from_width=WIDE),
    reason_column("error", lambda each: each.error),
)

EVENT_COLUMNS: Sequence[Column[Event]] = (
    Column(name="at", value=lambda event: event.at, shown=local_time),
    Column(name="kind", value=lambda event: event.kind),
    Column(name="from", value=lambda event: event.from_status),
    Column(name="to", value=lambda event: event.to_status),
    Column(name="actor", value=lambda event: event.actor, may_wrap=True),
    Column(name="run_id", value=lambda event: event.run_id, from_width=WIDE),
    reason_column("reason", lambda event: (event.detail or {}).get("reason")),
)


FIELD_COLUMNS: Sequence[Column[Any]] = (
    Column(name="field", value=lambda row: row["field"]),
    reason_column("value", lambda row: row["value"]),
    Column(name="source", value=lambda row: row["source"], may_wrap=True),
    Column(name="locator", value=lambda row: row["locator"], may_wrap=True),
    Column(name="trust", value=lambda row: row["trust"]),
    Column(name="note", value=lambda row: row["note"], from_width=WIDE, may_wrap=True),
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
        Column(name="instances", value=lambda log: ", ".join(log.instances), from_width=WIDE, may_wrap=True),
        Column(name="jobs", value=lambda log: log.jobs, shown="{:,}".format, is_number=True),
        Column(name="restarts", value=lambda log: log.restarts, is_number=True),
        Column(name="bytes", title="size", value=lambda log: log.bytes, shown=size_shown, is_number=True),
        Column(
            name="lines", value=lambda log: log.lines, shown="{:,}".format, is_number=True, from_width=WIDE
        ),
        Column(name="last_moment", value=lambda log: log.last_moment, from_width=WIDER),
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
        job_id_column(lambda known: known.job_id),
        Column(name="matched_by", title="by", value=lambda known: known.matched_by, from_width=WIDE),
        Column(name="name", value=lambda known: known.render.name, from_width=WIDE, may_wrap=True),
        Column(name="said", value=lambda known: known.render.said, from_width=WIDER),
        Column(name="error", value=lambda known: known.render.error, from_width=WIDER, may_wrap=True),
    )


def job_columns(now: datetime) -> Sequence[Column[Job]]:
    """The columns of ``list``; ``now`` is the store's clock."""
    every = _every_job_column(now)
    return [every[name] for name in _JOB_COLUMNS]


def job_screen_columns(now: datetime) -> Sequence[Column[Job]]:
    """What a terminal shows of a list: of a job that has not succeeded also why, in a line of its own."""
    every = _every_job_column(now)
    # Nearly every job is in this queue: it is told where one is not.
    every["queue"] = replace(every["queue"], shown=lambda queue: "" if queue == "default" else queue)
    every["job_id"] = job_id_column(attrgetter("job_id"))
    for name in ("kind", "queue", "owner", "video_url"):
        every[name] = replace(every[name], is_cut=True)
    columns = [replace(every[name], from_width=width) for name, width in _SCREEN_COLUMNS.items()]
    why = Column(name="reason", value=_why, most=_MOST_OF_A_REASON, is_below=True)
    return [*columns, why]


def _why(job: Job) -> str | None:
    """What went wrong last, unless all went well in the end."""
    if job.status is Status.COMPLETED:
        return None
    return failure_said(job.error_code, job.error) or None


def chosen_job_columns(now: datetime, names: Sequence[str]) -> Sequence[Column[Job]]:
    """The columns of ``list`` of these names, in their order, however wide. Raises ``KeyError``."""
    every = _every_job_column(now)
    return [replace(every[name], may_wrap=True) for name in names]


def _every_job_column(now: datetime) -> dict[str, Column[Job]]:
    shown: dict[str, Callable[[Any], str]] = {
        "progress": "{:.0f} %".format,
        "attempt": lambda attempt: str(attempt or ""),
        **{name: _age_at(now) for name in _JOB_AGES},
    }
    values: dict[str, Callable[[Job], Any]] = {
        "progress": lambda job: job.shown_progress,
        "executor": lambda job: job.executor and f"pid {job.executor.pid} on {job.executor.host}",
    }
    return {
        name: Column(
            name=name,
            title=_JOB_AGES.get(name) or _JOB_TITLES.get(name, ""),
            value=values.get(name) or attrgetter(name),
            shown=shown.get(name),
            is_number=name in shown or name in {"priority", "max_attempts", "version"},
            may_wrap=name in _LONG,
            most=_LONG.get(name, 0),
        )
        for name in JOB_COLUMN_NAMES
    }


_JOB_COLUMNS = (
    *("job_id", "status", "progress", "created_at", "completed_at", "origin", "confidence", "owner"),
    *("attempt", "video_url", "error", "kind", "queue"),
)
"""What a list tells a pipe unless it is told which columns."""

_SCREEN_COLUMNS = {
    "job_id": 0,
    "status": 0,
    "progress": 0,
    "created_at": 0,
    "kind": 0,
    "queue": WIDE,
    "completed_at": WIDE,
    "owner": WIDE,
    "attempt": WIDER,
    "origin": WIDER,
    "confidence": WIDER,
    "video_url": 180,
}
"""What a list shows on a terminal, and from which width on."""

_LONG = {
    **dict.fromkeys(("owner", "kind", "queue", "error_code", "idempotency_key"), MOST_OF_A_NAME),
    **dict.fromkeys(
        ("error", "video_url", "thumbnail_url", "slide_image_path", "created_files"), _MOST_OF_A_REASON
    ),
}
"""What is in anybody's words, and how much of it a person reads of one job among many."""

_JOB_AGES = {
    "created_at": "age",
    "completed_at": "completed",
    "updated_at": "changed",
    "started_at": "started",
    "last_heartbeat": "beat",
    "recovered_at": "recovered",
}
_JOB_TITLES = {
    "kind": "task",
    "video_url": "video",
    "thumbnail_url": "thumbnail",
    "error_code": "code",
    "root_id": "root",
}

JOB_COLUMN_NAMES = (
    *_JOB_COLUMNS,
    *(
        "priority",
        "error_code",
        "updated_at",
        "started_at",
        "last_heartbeat",
        "recovered_at",
    ),
    *(
        "run_at",
        "max_attempts",
        "executor",
        "idempotency_key",
        "root_id",
        "thumbnail_url",
        "slide_image_path",
    ),
    *("created_files", "version"),
)
"""Every column that a list of jobs can have."""


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
        Column(name="actor", value=lambda run: run.actor, from_width=WIDE),
        Column(name="host", value=lambda run: run.host, from_width=WIDER),
        Column(name="undo_of", value=lambda run: run.undo_of, from_width=WIDE),
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
        Column(name="host", value=lambda root: root.host, from_width=WIDE),
        Column(name="generation", value=lambda root: root.generation, is_number=True, from_width=WIDE),
        Column(
            name="registered_at",
            title="age",
            value=lambda root: root.registered_at,
            shown=_age_at(now),
            is_number=True,
            from_width=WIDE,
        ),
        Column(name="state", value=lambda root: root.state, may_wrap=True),
    )


def _age_at(now: datetime) -> Callable[[Any], str]:
    return lambda moment: age_of(moment, now)
