"""Tasks on a machine that is short of memory: its count of kills is in a file."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import jobctl
from jobctl.runner import limits

KILLS = Path(os.environ["OOM_KILLS"])
limits.oom_kills = lambda: int(KILLS.read_text())


@jobctl.task("starves")
def starves(attempt: jobctl.Attempt) -> None:
    KILLS.write_text(str(limits.oom_kills() + 1))
    os.kill(os.getpid(), signal.SIGKILL)


@jobctl.task("is-shot")
def is_shot(attempt: jobctl.Attempt) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
