"""Tasks of every temper, for workers under test."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import jobctl
from media import encode


@jobctl.task("greet")
async def greet(attempt: jobctl.Attempt) -> dict[str, object]:
    attempt.progress(0.5, "half way")
    return {"greeting": f"hello {attempt.payload}", "attempt": attempt.number}


@jobctl.task("fail", retries=1, backoff="1s", backoff_max="1s")
def fail(attempt: jobctl.Attempt) -> None:
    raise ValueError("no \x1b[31m such [bold]slide")


@jobctl.task("stubborn", timeout="1s", cancel_grace="1s")
def stubborn(attempt: jobctl.Attempt) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


@jobctl.task("endless", timeout="1s", cancel_grace="1s", retries=0)
def endless(attempt: jobctl.Attempt) -> None:
    while True:
        time.sleep(60)


@jobctl.task("overdue", timeout="1s", cancel_grace="2s", backoff="1s")
def overdue(attempt: jobctl.Attempt) -> None:
    while not attempt.cancelled:
        time.sleep(0.01)
    Path(attempt.payload, f"{attempt.job_id}.{attempt.number}").touch()
    time.sleep(60)


@jobctl.task("measure")
def measure(attempt: jobctl.Attempt) -> int:
    return len(attempt.payload)


@jobctl.task("wait")
def wait(attempt: jobctl.Attempt) -> str:
    Path(attempt.payload, f"{attempt.job_id}.{attempt.number}").touch()
    while not attempt.cancelled:
        if Path(attempt.payload, "go").exists():
            return "went"
        time.sleep(0.01)
    return "stopped"


@jobctl.task("hasty")
def hasty(attempt: jobctl.Attempt) -> None:
    """Tells three things in a moment, and nothing more."""
    for percent, note in ((10, "reading"), (40, "composing"), (75, "stalled")):
        attempt.progress(percent / 100, note)
    while not Path(attempt.payload).exists():
        time.sleep(0.01)


@jobctl.task("film", backoff="1s")
def film(attempt: jobctl.Attempt) -> str:
    made = encode(Path(attempt.scratch, "film.mp4"), seed=attempt.number)
    final = Path(attempt.payload["root"], f"presentation_{attempt.job_id}.mp4")
    published = attempt.publish(made, final)
    then = attempt.payload.get("then")
    if then == "raise" and attempt.number == 1:
        raise ValueError("after it was published")
    if then == "wait":
        Path(attempt.payload["root"], "published").touch()
        time.sleep(3600)
    return published.sha256
