"""Attempts, read off a history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from jobctl.core.attempts import attempts_of
from jobctl.model.job import Event

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def event(second: int, before: str | None, after: str | None, attempt: int | None, **detail: Any) -> Event:
    at = AT + timedelta(seconds=second)
    return Event(second, "j", at, "status", "worker w1", None, attempt, before, after, detail or None)


def test_each_attempt_tells_how_it_ended() -> None:
    lines = attempts_of(
        [
            event(0, None, "queued", None),
            event(1, "queued", "processing", 1, cause="claim"),
            event(3, "processing", "queued", 1, cause="retry", error="E", traceback="T", retry_after_s=9.5),
            event(13, "queued", "processing", 2, cause="claim"),
            event(14, "processing", "queued", 2, cause="hand-back", reason="asked to stop"),
            event(15, "queued", "processing", 3, cause="claim"),
            event(16, "processing", "queued", 3, cause="rescue", reason="worker w1 gave no sign of life"),
            event(17, "queued", "processing", 4, cause="claim"),
            event(18, "processing", "failed", 4, cause="executor", error="E", error_code="timeout"),
        ]
    )
    assert [(each.number, each.outcome, each.took_s) for each in lines] == [
        (1, "failed, tried again", 2.0),
        (2, "handed back", 1.0),
        (3, "lost, queued again", 1.0),
        (4, "failed", 1.0),
    ]
    assert (lines[0].error, lines[0].traceback, lines[0].next_after_s) == ("E", "T", 9.5)
    assert (lines[1].error, lines[3].error_code) == ("asked to stop", "timeout")


def test_one_that_runs_has_no_end() -> None:
    (line,) = attempts_of([event(1, "queued", "processing", 1, cause="claim")])
    assert (line.worker, line.outcome, line.ended_at, line.took_s) == ("w1", "running", None, None)


def test_what_is_no_attempt_is_passed_over() -> None:
    assert attempts_of([event(0, None, "queued", None), event(1, "queued", "cancelled", 0)]) == []
