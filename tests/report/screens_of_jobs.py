"""Screens of jobs: lists of them, one of them, what happened to them, and where their fields come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from rich.console import RenderableType

from jobctl.model.attempts import LeaseNote
from jobctl.model.detail import JobBody, JobDetail
from jobctl.model.job import Artifact, Confidence, Event, Executor, Job, Origin
from jobctl.model.status import Status
from jobctl.report.event_listing import event_screen_columns
from jobctl.report.job_screen import explanation_screen, job_screen
from jobctl.report.listings import chosen_job_columns, job_screen_columns
from jobctl.report.screen import table
from report.screens import HOSTILE, JOB, NOW, VIDEO, Screen, ago


def a_job() -> Job:
    return Job(
        job_id=JOB,
        status=Status.FAILED,
        progress=87.0,
        error="pid 4711 on host a is gone",
        error_code="interrupted",
        video_url=f"/presentations/{JOB}/video",
        created_at=ago(hours=30),
        started_at=ago(hours=29),
        last_heartbeat=ago(hours=28),
        created_files=[VIDEO],
        attempt=4,
        spared=2,
        max_attempts=3,
        executor=Executor("a", "boot", 4711, 12),
        owner="ada [bold]\x1b[31m",
        origin=Origin.RECOVERED,
        confidence=Confidence.MEDIUM,
        root_id="r0a1b2c3d",
    )


def _show(width: int) -> Iterable[RenderableType]:
    video = Artifact(
        job_id=JOB, root_id="r0a1b2c3d", path=VIDEO, role="video", size=13_841_203, verdict="whole", tier="2"
    )
    hostile = Artifact(job_id=JOB, root_id="r0a1b2c3d", path=HOSTILE, role="thumbnail", state="missing")
    events = [
        Event(1, JOB, ago(hours=30), "created", "service", None, None, None, "queued", None),
        Event(
            2, JOB, ago(hours=29), "status", "service", None, 1, "queued", "processing", {"cause": "claim"}
        ),
        Event(
            3,
            JOB,
            ago(hours=1),
            "status",
            "ada",
            "20261123-110000-4f1a",
            2,
            "processing",
            "failed",
            {"reason": "pid 4711 on host a is gone"},
        ),
    ]
    body = JobBody({"slides": 3, "title": "a \x1b[31m[red]title"}, None)
    lease = LeaseNote(2, "a-4f1a22e0", "composing \x1b[2J", ago(hours=1))
    return job_screen(JobDetail(a_job(), [video, hostile], events, NOW, body, lease), width=width)


def _show_attempts(width: int) -> Iterable[RenderableType]:
    trace = (
        'Traceback (most recent call last):\n  File "films.py", line 7, in render\nValueError: \x1b[31m[bold]'
    )
    failed = {"cause": "retry", "error": "ValueError: \x1b[31m[bold]", "error_code": "ValueError"}
    events = [
        Event(1, JOB, ago(hours=3), "created", "service", None, None, None, "queued", None),
        a_change(2, 3, 1, "queued", "processing", {"cause": "claim"}),
        a_change(3, 2, 1, "processing", "queued", {**failed, "traceback": trace, "retry_after_s": 9.7}),
        a_change(4, 1, 2, "queued", "processing", {"cause": "claim"}),
    ]
    job = replace(a_job(), status=Status.QUEUED, run_at=NOW + timedelta(minutes=5))
    return job_screen(JobDetail(job, [], events, NOW), width=width)


def _trail() -> list[Event]:
    reason = "no heartbeat for 20 min; \x1b[31m[bold]its worker\u202e is gone"
    rescue = a_change(4, 1, 2, "processing", "failed", {"cause": "proof-of-death", "reason": reason})
    long_ago = Event(1, JOB, ago(days=700), "created", "service", None, None, None, "queued", None)
    return [
        long_ago,
        a_change(2, 3, 1, "queued", "processing", {"cause": "claim"}),
        a_change(3, 2, 1, "processing", "completed", {"cause": "executor"}),
        rescue._replace(actor="ada", run_id="20261123-110000-4f1a"),
        Event(5, HOSTILE, NOW, "artifact", "worker \x1b[2J", None, 1, None, None, {"path": HOSTILE}),
    ]


def _events(width: int) -> Iterable[RenderableType]:
    return [table(event_screen_columns(NOW, width, of_one=False), _trail(), width)]


def _followed(width: int) -> Iterable[RenderableType]:
    """Tables that come one after another stand in line."""
    columns = event_screen_columns(NOW, width, of_one=False)
    for number, event in enumerate(_trail()[:4]):
        yield table(columns, [event], width, with_heading=not number)


def _events_of_one(width: int) -> Iterable[RenderableType]:
    return [table(event_screen_columns(NOW, width, of_one=True), _trail()[:4], width)]


def _listed(width: int) -> Iterable[RenderableType]:
    def job(digit: str, status: Status, **fields: Any) -> Job:
        return Job(job_id=digit * 36, status=status, created_at=ago(hours=2), **fields)

    error = "ValueError: " + "the renderer answered 502 and said why at length; " * 9
    jobs = [
        a_job(),
        job("b", Status.QUEUED),
        job("c", Status.QUEUED, kind="render", queue="video", error_code="timeout", error="after 20m"),
        job("d", Status.PROCESSING, kind="slides-to-video", progress=40.0, owner="ada"),
        job("e", Status.COMPLETED, error="of an attempt before", completed_at=ago(hours=1)),
        job("f", Status.FAILED, error_code="ValueError", error=error),
        job("0", Status.CANCELLED, kind=HOSTILE, owner="o" * 99),
    ]
    return [table(job_screen_columns(NOW), jobs, width)]


def _chosen_columns(width: int) -> Iterable[RenderableType]:
    names = ["job_id", "kind", "queue", "error_code", "started_at", "executor"]
    return [table(chosen_job_columns(NOW, names), [a_job(), Job(job_id=HOSTILE)], width)]


def _show_aside(width: int) -> Iterable[RenderableType]:
    aside = f"its file {VIDEO} is in quarantine until 2026-12-04 03:00:00; to give it back:"
    told = f"{aside} jobctl quarantine restore 20261120-030000-4f1a/2"
    return job_screen(
        JobDetail(replace(a_job(), status=Status.EXPIRED), [], [], NOW, aside=told), width=width
    )


def a_change(number: int, hours: float, attempt: int, before: str, after: str, detail: Any) -> Event:
    return Event(
        number, JOB, ago(hours=hours), "status", "worker a-4f1a22e0", None, attempt, before, after, detail
    )


def _explain(width: int) -> Iterable[RenderableType]:
    place = {"source": "video", "locator": f"r0a1b2c3d:{VIDEO}", "trust": "E1"}
    stamp = {"source": "stamp", "locator": VIDEO, "trust": "E4"}
    other = {"value": "2026-11-21T09:00:00.000000Z", **place}
    rows = [
        {
            "field": "status",
            "value": "completed",
            "note": "the file is whole",
            "others": [],
            "conflict": False,
            **place,
        },
        {
            "field": "completed_at",
            "value": "2026-11-22T09:00:00.000000Z",
            "note": "",
            "others": [other],
            "conflict": True,
            **stamp,
        },
        {"field": "created_files", "value": [VIDEO], "note": "", "others": [], "conflict": False, **place},
        {"field": "resolution", "value": "1920x1080", "note": "", "others": [], "conflict": False, **place},
    ]
    return explanation_screen(
        JOB, rows, [f"seen: thumbnail thumbnail_{JOB}.jpg in root r0a1b2c3d"], width=width
    )


SCREENS = [
    Screen("show", _show),
    Screen("show-attempts", _show_attempts),
    Screen("show-aside", _show_aside),
    Screen("explain", _explain),
    Screen("list", _listed),
    Screen("list-chosen", _chosen_columns),
    Screen("events", _events),
    Screen("events-followed", _followed),
    Screen("events-of-one", _events_of_one),
]
