"""What /proc tells of processes on this host; see proc(5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

_PROC = "/proc"


def command_line(pid: int) -> list[str]:
    """The words a process was started with; empty where it is gone or is not shown to us."""
    with suppress(OSError), open(f"{_PROC}/{pid}/cmdline", "rb") as file:
        return [os.fsdecode(word) for word in file.read().split(b"\0") if word]
    return []


def program_of(pid: int) -> str:
    """The name of a process, for people."""
    with suppress(OSError), open(f"{_PROC}/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return "?"


def having_open(path: str) -> list[str]:
    """The other processes that have a file open, as far as they are shown to us: ``pid 4711 (python)``."""
    with suppress(OSError):
        wanted = os.stat(path)
        ours = {os.getpid(), os.getppid()}
        return [f"pid {pid} ({program_of(pid)})" for pid in _pids() if pid not in ours and _has(pid, wanted)]
    return []


def _pids() -> Iterator[int]:
    yield from sorted(int(name) for name in os.listdir(_PROC) if name.isdigit())


def _has(pid: int, wanted: os.stat_result) -> bool:
    with suppress(OSError), os.scandir(f"{_PROC}/{pid}/fd") as opened:
        return any(_is(entry, wanted) for entry in opened)
    return False


def _is(entry: os.DirEntry[str], wanted: os.stat_result) -> bool:
    with suppress(OSError):
        return os.path.samestat(entry.stat(), wanted)
    return False
