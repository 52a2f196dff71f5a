"""Tasks that leave nothing to others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import jobctl


@jobctl.task("hold-everything")
def hold_everything(attempt: jobctl.Attempt) -> None:
    """Burn every processor in other processes, and hold the interpreter in this one."""
    burn = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(burn) for _ in range(os.cpu_count() or 1)]
    Path(attempt.payload["place"], str(attempt.number)).touch()
    while not Path(attempt.payload["place"], "go").exists():
        # One match keeps the interpreter for a second or so: it is never let go of within.
        re.match(r"(a+)+$", "a" * 24 + "b")
    for burner in burners:
        burner.kill()
        burner.wait()


@jobctl.task("number", backoff="1s", backoff_max="1s")
def number(attempt: jobctl.Attempt) -> int:
    made = Path(attempt.payload, f".{attempt.number}")
    made.write_text(str(os.getpid()))
    made.rename(made.with_name(str(attempt.number)))
    while not Path(attempt.payload, f"go-{attempt.number}").exists():
        time.sleep(0.01)
    return attempt.number


@jobctl.task("outgrows")
def outgrows(attempt: jobctl.Attempt) -> None:
    """Enter a group of processes that may have little memory, and take more."""
    Path(attempt.payload, "cgroup.procs").write_text(str(os.getpid()))
    kept = [b"x" * (8 << 20) for _ in range(64)]
    raise MemoryError(f"{len(kept)} pieces of 8 MiB were to be had")


@jobctl.task("modest")
def modest(attempt: jobctl.Attempt) -> str:
    return "done"
