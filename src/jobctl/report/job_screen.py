"""How one job looks on a terminal: its record, its files, its history, and where each field comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding

from jobctl.model.job import Artifact, Event, Job
from jobctl.report.columns import plain as shown
from jobctl.report.listings import ARTIFACT_COLUMNS, EVENT_COLUMNS, FIELD_COLUMNS
from jobctl.report.screen import line, pairs, spaced, table
from jobctl.report.units import age_of, local_time

_ROOMY = 140


def job_screen(
    job: Job, artifacts: Sequence[Artifact], events: Sequence[Event], now: datetime, *, width: int
) -> Iterator[RenderableType]:
    """One job's record, files and history."""
    blocks: list[RenderableType] = [pairs(_record(job, now))]
    if artifacts:
        blocks.append(Group(line(("Files", "bold")), table(ARTIFACT_COLUMNS, artifacts, width)))
    if events:
        blocks.append(Group(line(("History", "bold")), table(EVENT_COLUMNS, events, width)))
    return spaced(blocks)


def explanation_screen(
    job_id: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str], *, width: int
) -> Iterator[RenderableType]:
    """Where each field comes from; what the evidence disagrees on comes first."""
    blocks: list[RenderableType] = []
    disputed = [row for row in rows if row["conflict"]]
    if disputed:
        blocks.append(Group(line(("Evidence disagrees", "bold yellow")), *_disputes(disputed)))
    if rows:
        listed = [table(FIELD_COLUMNS, rows, width)] if width >= _ROOMY else list(_by_place(rows))
        blocks.append(Group(line((f"Job {job_id}", "bold")), *listed))
    if notes:
        blocks.append(Group(*(line(note) for note in notes)))
    return spaced(blocks)


def _disputes(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    for row in rows:
        yield line(f"{row['field']}: {shown(row['value']) or 'left empty'}  ", (_place(row), "dim"), indent=2)
        for other in row["others"]:
            yield line(f"but {shown(other.get('value'))}  ", (_place(other), "dim"), indent=4)


def _by_place(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """The fields under the place they come from, where a table would be too narrow to read."""
    places: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        places.setdefault(_place(row), []).append(row)
    longest = max(len(row["field"]) for row in rows)
    for place, found in places.items():
        yield line((place, "dim"), indent=2)
        fields = ((row["field"].ljust(longest), _with_note(row)) for row in found)
        yield Padding.indent(pairs(fields), 4)


def _with_note(row: Mapping[str, Any]) -> str:
    note = f" ({row['note']})" if row["note"] else ""
    return f"{shown(row['value'])}{note}"


def _place(claim: Mapping[str, Any]) -> str:
    told = [claim.get("source"), claim.get("locator"), f"({claim.get('trust') or 'no trust'})"]
    return " ".join(part for part in told if part)


def _record(job: Job, now: datetime) -> Iterator[tuple[str, str]]:
    def moment(value: datetime | None) -> str:
        return "" if value is None else f"{local_time(value)} ({age_of(value, now)} ago)"

    yield "job", job.job_id
    yield "status", job.status
    yield "progress", "" if job.shown_progress is None else f"{job.shown_progress:.0f} %"
    yield "error", " · ".join(part for part in (job.error_code, job.error) if part)
    yield "video", job.video_url or ""
    yield "thumbnail", job.thumbnail_url or ""
    yield "slide image", job.slide_image_path or ""
    yield "created", moment(job.created_at)
    yield "started", moment(job.started_at)
    yield "completed", moment(job.completed_at)
    yield "heartbeat", moment(job.last_heartbeat)
    yield "recovered", moment(job.recovered_at)
    yield "origin", " · ".join(part for part in (job.origin, _confidence(job)) if part)
    yield "owner", job.owner or ""
    yield "attempt", f"{job.attempt} of {job.max_attempts}" if job.attempt else ""
    yield "executor", "" if job.executor is None else f"pid {job.executor.pid} on {job.executor.host}"
    yield "created files", json.dumps(job.created_files, ensure_ascii=False) if job.created_files else ""
    yield "root", job.root_id or ""


def _confidence(job: Job) -> str:
    return f"{job.confidence} confidence" if job.confidence else ""
