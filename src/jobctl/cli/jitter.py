"""A random wait, so that many machines do not begin at once."""

from __future__ import annotations

import random
from datetime import timedelta

from jobctl import clock


def wait_a_little(jitter: timedelta | None) -> None:
    """Wait for a random time below ``jitter``, before anything is opened or locked."""
    if jitter:
        clock.sleep(random.uniform(0, jitter.total_seconds()))  # noqa: S311 - nothing is secret about it
