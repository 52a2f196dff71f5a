"""How one job looks on a terminal: its record, its files, its history, and where each field comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding

from jobctl.core.attempts import AttemptLine, attempts_of
from jobctl.core.reasons import failure_said
from jobctl.durations import age_said, spoken_duration
from jobctl.model.amounts import counted
from jobctl.model.attempts import LeaseNote
from jobctl.model.detail import JobDetail
from jobctl.model.job import Job
from jobctl.model.names import to_shown
from jobctl.model.status import Status
from jobctl.report.columns import cut
from jobctl.report.columns import plain as shown
from jobctl.report.listings import ARTIFACT_COLUMNS, ATTEMPT_COLUMNS, EVENT_COLUMNS, FIELD_COLUMNS
from jobctl.report.screen import cut_text, line, pairs, spaced, table
from jobctl.report.units import local_time

_ROOMY = 140
_LONGEST_JSON = 200
_LONGEST_VALUE = 1_000
_LONGEST_LINE = 400
_MOST_LINES = 30


def job_screen(detail: JobDetail, *, width: int, is_verbose: bool = False) -> Iterator[RenderableType]:
    """One job's record, files, attempts and history.

    ``is_verbose``: every traceback, not the last alone, and texts to their end, however long.
    """
    fields = _record(detail) if is_verbose else ((name, _cut(value)) for name, value in _record(detail))
    blocks: list[RenderableType] = [pairs(fields)]
    if detail.artifacts:
        blocks.append(Group(line(("Files", "bold")), table(ARTIFACT_COLUMNS, detail.artifacts, width)))
    attempts = attempts_of(detail.events)
    if attempts:
        blocks.append(Group(line(("Attempts", "bold")), table(ATTEMPT_COLUMNS, attempts, width)))
    traced = [attempt for attempt in attempts if attempt.traceback]
    if is_verbose:
        blocks += [
            _traceback(attempt, map(to_shown, (attempt.traceback or "").splitlines())) for attempt in traced
        ]
    elif traced:
        blocks.append(_traceback(traced[-1], _end_of(traced[-1].traceback or ""), cuts=True))
    if detail.events:
        blocks.append(Group(line(("History", "bold")), table(EVENT_COLUMNS, detail.events, width)))
    return spaced(blocks)


def _traceback(attempt: AttemptLine, lines: Iterable[str], *, cuts: bool = False) -> RenderableType:
    """How an attempt ended. ``cuts``: each line is one on the screen, too."""
    title = line((f"How attempt {attempt.number} ended", "bold"))
    return Group(title, *(Padding.indent(cut_text(each) if cuts else line(each), 2) for each in lines))


def _end_of(traceback: str) -> Iterator[str]:
    """Its last lines, where what was raised stands, each no longer than a screen has room for."""
    lines = traceback.splitlines()
    left_out = len(lines) - _MOST_LINES
    if left_out > 0:
        yield f"({counted(left_out, 'line')} before; --verbose shows all)"
    yield from (cut(each, _LONGEST_LINE) for each in lines[-_MOST_LINES:])


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
        value = cut(shown(row["value"]), _LONGEST_VALUE) or "left empty"
        yield line(f"{row['field']}: {value}  ", (_place(row), "dim"), indent=2)
        for other in row["others"]:
            yield line(
                f"but {cut(shown(other.get('value')), _LONGEST_VALUE)}  ", (_place(other), "dim"), indent=4
            )


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
    return f"{cut(shown(row['value']), _LONGEST_VALUE)}{note}"


def _place(claim: Mapping[str, Any]) -> str:
    told = [claim.get("source"), f"({claim.get('trust') or 'no trust'})", claim.get("locator")]
    return " ".join(part for part in told if part)


def _record(detail: JobDetail) -> Iterator[tuple[str, str]]:
    job, now, lease = detail.job, detail.now, detail.lease

    def moment(value: datetime | None) -> str:
        return "" if value is None else f"{local_time(value)} ({age_said((now - value).total_seconds())} ago)"

    yield "job", job.job_id
    yield "status", job.status
    yield "progress", " · ".join(part for part in (_percent(job), (lease and lease.note) or "") if part)
    yield "waits for", _waits_for(detail)
    yield "error", failure_said(job.error_code, job.error)
    yield "video", job.video_url or ""
    yield "set aside", detail.aside or ""
    yield "thumbnail", job.thumbnail_url or ""
    yield "slide image", job.slide_image_path or ""
    yield "created", moment(job.created_at)
    yield "started", moment(job.started_at)
    yield "completed", moment(job.completed_at)
    yield "heartbeat", moment(job.last_heartbeat)
    yield "recovered", moment(job.recovered_at)
    yield "origin", " · ".join(part for part in (job.origin, _confidence(job)) if part)
    yield "owner", job.owner or ""
    yield "task", f"{job.kind} in queue {job.queue}" + (f", priority {job.priority}" if job.priority else "")
    yield "attempt", _attempt(job)
    yield "worker", "" if lease is None else f"{lease.worker}{_asked(lease, now)}"
    yield "payload", _short(detail.body.payload)
    yield "result", _short(detail.body.result)
    yield "executor", "" if job.executor is None else f"pid {job.executor.pid} on {job.executor.host}"
    yield "created files", json.dumps(job.created_files, ensure_ascii=False) if job.created_files else ""
    yield "root", job.root_id or ""


def _cut(value: str) -> str:
    """As much of a text as a person reads, and how to get the rest."""
    if len(value) <= _LONGEST_VALUE:
        return value
    return f"{cut(value, _LONGEST_VALUE)} ({len(value):,} characters; --verbose shows all)"


def _attempt(job: Job) -> str:
    if not job.attempt:
        return ""
    tries = f"{job.tries} of {job.max_attempts}"
    return f"{tries}, and {job.spared} more at no cost" if job.spared else tries


def _percent(job: Job) -> str:
    return "" if job.shown_progress is None else f"{job.shown_progress:.0f} %"


def _waits_for(detail: JobDetail) -> str:
    """What a queued job waits for."""
    job, now = detail.job, detail.now
    if job.status is not Status.QUEUED:
        return ""
    if job.run_at is not None and job.run_at > now:
        return f"{local_time(job.run_at)} (in {spoken_duration(job.run_at - now)})"
    return detail.lack or "a free worker"


def _asked(lease: LeaseNote, now: datetime) -> str:
    if lease.cancel_at is None:
        return ""
    return f" (asked to stop {age_said((now - lease.cancel_at).total_seconds())} ago)"


def _short(value: Any) -> str:
    """JSON in one line, cut; the whole is in ``--json``."""
    if value is None:
        return ""
    return cut(json.dumps(value, ensure_ascii=False), _LONGEST_JSON)


def _confidence(job: Job) -> str:
    return f"{job.confidence} confidence" if job.confidence else ""
