"""Start workers beside the test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def start(*order: str) -> subprocess.Popen[str]:
    """Start ``worker.py`` with an order; the caller waits for it."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("worker.py")), *order],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def order(worker: subprocess.Popen[str], line: str) -> str:
    """Give a worker an order; what it answers."""
    assert worker.stdin is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()
    return heard(worker)


def heard(worker: subprocess.Popen[str]) -> str:
    """The next line a worker says."""
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def ended(worker: subprocess.Popen[str]) -> str:
    """Wait for a worker to end well; all that it said."""
    said, complained = worker.communicate()
    assert worker.returncode == 0, complained
    return said.strip()
