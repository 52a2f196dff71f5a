"""What a process may use, and that it dies with its parent. See prctl(2), setrlimit(2)."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Container, Sequence
from contextlib import suppress

from jobctl import clock
from jobctl.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_HIGHEST_FD = 1 << 20
# One that hangs in the kernel, on a disk that is away, is not waited for without end.
_MOST_SWEEPS, _BETWEEN_SWEEPS_S = 100, 0.05
_ENDS_WITHIN_S, _LOOKS_EVERY_S = 2.0, 0.005
"""Far less than a lease: who waits does not beat meanwhile."""
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel kill this process as soon as the one that started it has ended."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def outlive_parent() -> None:
    """Go on when the process that started this one has ended: to clear up after it, and then end."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def allow_files(count: int) -> None:
    """Let this process have so many files open. Raises ``ConfigurationError`` where the system will not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise ConfigurationError(
            f"so many slots need {count:,} open files, and this process may have {hard:,}",
            hint="use fewer slots, or raise the limit: ulimit -n, LimitNOFILE= of systemd",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that none escapes."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def strays(known: Container[int] = ()) -> list[int]:
    """Children of this process in sessions of their own but for the known ones: orphans it adopted."""
    found = (pid for pid in _children() if pid not in known)
    return [pid for pid in found if _session_of(pid) not in {None, os.getsid(0)}]


def kill(pids: list[int]) -> None:
    """Kill processes; those that are gone already, or became another user's, are no error."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_strays(known: Container[int] = ()) -> list[int]:
    """Kill what this process adopted, and wait: each that ends leaves its own children to this process.

    Those that did not end within two seconds are given back: they hang in the kernel, and end once that
    lets go of them.
    """
    until = clock.monotonic() + _ENDS_WITHIN_S
    while found := strays(known):
        kill(found)
        left = [pid for pid in found if not _has_ended(pid)]
        if clock.monotonic() >= until:
            return left
        if left:
            clock.sleep(_LOOKS_EVERY_S)
    return []


def said_of_left(pids: Sequence[int]) -> str:
    """That processes were to be killed and do not end, in one sentence."""
    named = ", ".join(map(str, pids))
    return f"pid {named} was to be killed and does not end, as where a disk does not answer; it is left"


def end(pid: int) -> tuple[int, resource.struct_rusage] | None:
    """Kill a child, and wait: its wait status, and what it used. ``None`` where it hangs in the kernel."""
    until = clock.monotonic() + _ENDS_WITHIN_S
    kill([pid])
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, usage
        if clock.monotonic() >= until:
            return None
        clock.sleep(_LOOKS_EVERY_S)


def guard(worker: int, *, bearing: str) -> None:
    """Start a process that kills what this one started, once nobody holds ``worker`` open.

    ``worker``: the reading end of a pipe whose other end only the worker has. For a process that is
    killed with its worker, and so cannot end that itself. To be called before it has threads. What it
    started is in its session, which it is to lead, or has ``bearing``, a variable and its value, in its
    environment; who left both is not found.
    """
    if os.fork() == 0:
        try:
            # It stays in the session, whose number is nobody else's then, and leaves the group.
            os.setpgid(0, 0)
            os.closerange(3, worker)
            os.closerange(worker + 1, _HIGHEST_FD)
            os.read(worker, 1)
            _end_all(bearing)
        finally:
            os._exit(0)
    os.close(worker)


def _end_all(bearing: str) -> None:
    """Kill until none is left: one that was just being forked is found the next time."""
    session = os.getsid(0)
    for _ in range(_MOST_SWEEPS):
        with os.scandir("/proc") as entries:
            every = [int(entry.name) for entry in entries if entry.name.isdigit()]
        ours = [pid for pid in every if _session_of(pid) == session or _bears(pid, bearing)]
        found = [pid for pid in ours if pid != os.getpid() and not _is_zombie(pid)]
        if not found:
            return
        kill(found)
        clock.sleep(_BETWEEN_SWEEPS_S)


def restrict(*, memory: int | None, processes: int | None) -> None:
    """Limit this process and its children to bytes of address space, and to processes above today's.

    The kernel does not hold root to a number of processes.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if processes is not None:
        most = tasks_of_user() + processes
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def tasks_of_user() -> int:
    """How many tasks, which are threads, this process's user has now."""
    uid, count = os.getuid(), 0
    with os.scandir("/proc") as found:
        for entry in found:
            if entry.name.isdigit():
                try:
                    if entry.stat().st_uid == uid:
                        count += len(os.listdir(f"/proc/{entry.name}/task"))
                except OSError:
                    continue
    return count


def oom_kills() -> int:
    """How many processes this machine's kernel killed for want of memory since it booted."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except (OSError, ValueError):
        return 0


def _children() -> list[int]:
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            found += map(int, file.read().split())
    return found


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it is waited for then."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended, and only its parent does not know yet."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Its name may hold anything, brackets too.
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def _bears(pid: int, variable: str) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return variable.encode() in file.read().split(b"\0")
    return False


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
