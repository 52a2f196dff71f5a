"""What the benchmarks share: timing in one run, and a line that prints a ratio beside its aim."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def seconds(work: Callable[[], object], *, times: int = 1) -> float:
    """The least time that ``work`` took."""
    best = float("inf")
    for _ in range(times):
        gc.collect()
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def tell(what: str, measured: float, floor: float, aim: float, *, at_least: bool = False) -> None:
    """Print a ratio beside its aim. ``at_least``: more is better."""
    ratio = measured / floor
    met = ratio >= aim if at_least else ratio <= aim
    sign = "≥" if at_least else "≤"
    print(f"{what:<58} {ratio:8.2f}  aim {sign} {aim:<6g} {'met' if met else 'MISSED'}", flush=True)


def peak_mib_of_children() -> float:
    """The most memory any child process had, in MiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def program(*arguments: str, database: str) -> tuple[float, float]:
    """Run the program; how long it took in seconds and its own peak memory in MiB."""
    command = [str(Path(sys.executable).with_name("jobctl")), *arguments]
    environment = {**os.environ, "JOBCTL_DATABASE_URL": database, "JOBCTL_CONFIG": os.devnull}
    began = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 3}:
        sys.exit(f"jobctl {' '.join(arguments)} ended with {process.returncode}: {said}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024
