"""Executors: who runs an attempt on this host, and whether it is still there.

A process number means something only within one boot and one pid namespace, so an
executor's ``boot_id`` names both: ``<boot id>/<inode of the pid namespace>``. Within them
a process is told from a later one with the same number by its start time; see proc(5).
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Literal

from jobctl.model.job import Executor

State = Literal["alive", "dead", "unknown"]

_PROC = "/proc"
_MOST_PROCESSES = 1 << 22  # the kernel's own bound
# Fields 3, 20 and 22 of /proc/PID/stat, counted behind the command name in field 2.
_STATE, _THREADS, _START = 0, 17, 19
_DEAD_STATES = frozenset({b"Z", b"X", b"x"})


def this_boot_id() -> str:
    """What tells this boot of this host from any other; empty where the system does not say."""
    with suppress(OSError), open(f"{_PROC}/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return ""


def this_pid_namespace() -> str:
    """What tells this container's process numbers from another's; empty where the system does not say.

    A container may be shown its host's /proc, which counts processes differently.
    """
    with suppress(OSError):
        if os.readlink(f"{_PROC}/self") == str(os.getpid()):
            return str(os.stat(f"{_PROC}/self/ns/pid").st_ino)
    return ""


def current_executor(host: str, instance: str = "") -> Executor:
    """This very process. ``instance`` is the name a service gives itself in its log, if it does."""
    pid, start = os.getpid(), None
    with suppress(OSError):
        start = process_start(pid)
    return Executor(host, f"{this_boot_id()}/{this_pid_namespace()}", pid, start or 0, instance)


def process_start(pid: int) -> int | None:
    """When a process that still runs started, in clock ticks after boot; ``None`` for one that ended.

    A zombie has ended: it only waits to be reaped. Raises ``OSError`` where that cannot be told.
    """
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        # A /proc mounted with hidepid shows no process of other users.
        if _exists(pid):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), f"{_PROC}/{pid}") from None
        return None
    # The command name may hold spaces and parentheses of its own.
    fields = text[text.rindex(b")") + 2 :].split()
    # The first thread of a process may be a zombie while others still work.
    if fields[_STATE] in _DEAD_STATES and int(fields[_THREADS]) <= 1:
        return None
    return int(fields[_START])


def liveness(executor: Executor, *, host: str) -> State:
    """Say whether an executor still runs, where ``host`` is this host's id.

    ``dead`` needs proof on this very host: another boot since, the process gone, or its
    number with another process. An executor of another host or another container (or one
    that does not say of which) is ``unknown``, but for a boot in between, which nothing survives.
    """
    boot_id, _, namespace = executor.boot_id.partition("/")
    here = this_boot_id()
    if executor.host != host or not boot_id or not here:
        return "unknown"
    if boot_id != here:
        return "dead"
    if not namespace or namespace != this_pid_namespace():
        return "unknown"
    return _state_of(executor.pid, executor.pid_start)


def _state_of(pid: int, start: int) -> State:
    if not 0 < pid <= _MOST_PROCESSES:
        return "unknown"
    try:
        started = process_start(pid)
    except (OSError, ValueError, IndexError):
        return "unknown"
    if started is None:
        return "dead"
    if not start:
        return "unknown"
    return "alive" if started == start else "dead"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
