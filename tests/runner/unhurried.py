"""Tasks that take the time they are given."""

from __future__ import annotations

import os
import time

import jobctl


@jobctl.task("endless")
def endless(attempt: jobctl.Attempt) -> None:
    while True:
        time.sleep(60)


@jobctl.task("surroundings")
def surroundings(attempt: jobctl.Attempt) -> list[str]:
    return sorted(os.environ)
