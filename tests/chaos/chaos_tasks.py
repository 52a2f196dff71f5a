"""Tasks for a storm: each writes what it does into a ledger of its own."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import jobctl

_PATIENT = {"retries": 8, "backoff": "1s", "backoff_max": "2s"}


def _enter(attempt: jobctl.Attempt, what: str) -> None:
    fd = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND)
    os.write(fd, f"{what} {attempt.job_id} {attempt.number}\n".encode())
    os.fsync(fd)
    os.close(fd)


@jobctl.task("quick", **_PATIENT)
def quick(attempt: jobctl.Attempt) -> int:
    _enter(attempt, "begin")
    _enter(attempt, "done")
    return attempt.number


@jobctl.task("slow", **_PATIENT)
def slow(attempt: jobctl.Attempt) -> int:
    _enter(attempt, "begin")
    for step in range(5):
        attempt.progress(step / 5, "at work")
        time.sleep(random.uniform(0.0, 0.2))
    _enter(attempt, "done")
    return attempt.number


@jobctl.task("long", **_PATIENT)
def long(attempt: jobctl.Attempt) -> int:
    _enter(attempt, "begin")
    time.sleep(random.uniform(2.0, 5.0))
    _enter(attempt, "done")
    return attempt.number


@jobctl.task("told", **_PATIENT)
def told(attempt: jobctl.Attempt) -> int:
    """End when told to: the attempt of this number, or all."""
    _enter(attempt, "begin")
    while not any(Path(attempt.payload, f"go-{which}").exists() for which in (attempt.number, "all")):
        time.sleep(0.01)
    _enter(attempt, "done")
    return attempt.number


@jobctl.task("flaky", **_PATIENT)
def flaky(attempt: jobctl.Attempt) -> int:
    _enter(attempt, "begin")
    if random.random() < 0.5:
        raise ValueError("not this time")
    _enter(attempt, "done")
    return attempt.number


@jobctl.task("dying", **_PATIENT)
def dying(attempt: jobctl.Attempt) -> int:
    _enter(attempt, "begin")
    if random.random() < 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
    _enter(attempt, "done")
    return attempt.number


@jobctl.task("film", **_PATIENT)
def film(attempt: jobctl.Attempt) -> int:
    _enter(attempt, "begin")
    made = Path(attempt.scratch, "made.mp4")
    # A box that players skip tells the files of the attempts apart.
    mark = f"attempt {attempt.number}".encode()
    made.write_bytes(Path(os.environ["CHAOS_FILM"]).read_bytes() + _skipped(mark))
    attempt.publish(made, Path(os.environ["CHAOS_ROOT"], f"presentation_{attempt.job_id}.mp4"))
    _enter(attempt, "done")
    return attempt.number


def _skipped(content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + b"free" + content
