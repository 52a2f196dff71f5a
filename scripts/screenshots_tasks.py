"""The tasks of the screenshots: one goes on for a while and tells how far it is, one fails."""

from __future__ import annotations

import time

from jobctl.runner.attempt import Attempt
from jobctl.runner.tasks import task


@task("render", retries=0)
def render(attempt: Attempt) -> None:
    """Take a minute, or as many seconds as the payload says, and begin some way on."""
    seconds, done = float(attempt.payload.get("seconds", 60)), float(attempt.payload.get("from", 0.0))
    began = time.monotonic()
    while (part := (time.monotonic() - began) / seconds + done) < 1:
        attempt.progress(part, f"slide {1 + int(part * 24)} of 24")
        time.sleep(0.2)


@task("thumbnail", retries=0)
def thumbnail(attempt: Attempt) -> None:
    """Fail as thumbnails do."""
    raise OSError(28, "No space left on device", f"thumbnail_{attempt.job_id}.jpg")
