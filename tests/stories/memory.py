"""How much memory a process has."""

from __future__ import annotations

import re
from pathlib import Path


def resident_mib(pid: int) -> float:
    """What a process keeps in memory now, as ``/proc/PID/status`` has it."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
