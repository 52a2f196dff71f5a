"""Tasks that do nothing, for ``bench_runner``."""

from __future__ import annotations

import time
from pathlib import Path

from jobctl.runner.attempt import Attempt
from jobctl.runner.tasks import task


@task("noop")
def noop(_attempt: Attempt) -> None:
    """Do nothing."""


@task("moment")
def moment(attempt: Attempt) -> None:
    """Tell when it began, by the clock that all processes of a machine share."""
    began = time.monotonic()
    with open(attempt.payload, "w", encoding="ascii") as pipe:
        pipe.write(f"{began}\n")


@task("begin")
def begin(attempt: Attempt) -> None:
    """Leave a sign, and go on until somebody asks to stop."""
    Path(attempt.payload, str(attempt.number)).touch()
    while not attempt.cancelled:
        time.sleep(0.05)
