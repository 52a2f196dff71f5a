"""Executors: who runs an attempt on this host, and whether it is still there.

A process is told from a later one with the same number by its start time, and from one
of an earlier boot by the boot id; see proc(5).
"""

from __future__ import annotations

import os
from contextlib import suppress

from jobctl.model.job import Executor

_START_FIELD = 19  # field 22 of /proc/PID/stat, counted behind the command name in field 2
_DEAD_STATES = frozenset("ZXx")


def this_boot_id() -> str:
    """What tells this boot of this host from any other."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return ""


def this_pid_namespace() -> str:
    """What tells this container's process numbers from another's."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def process_start(pid: int) -> int | None:
    """When a living process started, in clock ticks after boot; ``None`` for one that has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0].decode() in _DEAD_STATES:
        return None
    return int(fields[_START_FIELD])


def current_executor(host: str) -> Executor:
    """This very process."""
    pid = os.getpid()
    return Executor(host, this_boot_id(), pid, process_start(pid) or 0, this_pid_namespace())


def liveness(executor: Executor, *, host: str) -> str:
    """``alive``, ``dead`` or ``unknown``. Dead needs proof on this host: another boot, or the process gone.

    ``host`` is this host's id. A process of another container of this host cannot be seen
    from here: unknown, but for a boot in between, which no process survives.
    """
    if executor.host != host or not executor.boot_id:
        return "unknown"
    if executor.boot_id != this_boot_id():
        return "dead"
    if executor.instance and executor.instance != this_pid_namespace():
        return "unknown"
    try:
        started = process_start(executor.pid)
    except OSError:
        return "unknown"
    return "alive" if started == executor.pid_start else "dead"
