"""Handlers that go wrong in every way a handler can."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import jobctl


@jobctl.task("fine")
def fine(attempt: jobctl.Attempt) -> str:
    return "fine"


@jobctl.task("gives-up")
def gives_up(attempt: jobctl.Attempt) -> None:
    raise jobctl.GiveUp("the template is gone")


@jobctl.task("exits")
def exits(attempt: jobctl.Attempt) -> None:
    sys.exit(3)


@jobctl.task("exits-hard")
def exits_hard(attempt: jobctl.Attempt) -> None:
    os._exit(7)


@jobctl.task("interrupts")
def interrupts(attempt: jobctl.Attempt) -> None:
    raise KeyboardInterrupt


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


@jobctl.task("unspeakable")
def unspeakable(attempt: jobctl.Attempt) -> None:
    raise Unspeakable


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("not even a name")


class Untellable(Exception, metaclass=Nameless):
    pass


@jobctl.task("untellable")
def untellable(attempt: jobctl.Attempt) -> None:
    raise Untellable


class interrupted(Exception):  # noqa: N801 - as jobctl writes it
    """What jobctl calls a failure that may turn out to have been none; this one was raised."""


@jobctl.task("speaks-for-jobctl")
def speaks_for_jobctl(attempt: jobctl.Attempt) -> None:
    raise interrupted("not by the end of its worker")


@jobctl.task("kills-itself")
def kills_itself(attempt: jobctl.Attempt) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@jobctl.task("kills-its-group")
def kills_its_group(attempt: jobctl.Attempt) -> None:
    os.killpg(0, signal.SIGKILL)
    time.sleep(60)


@jobctl.task("stops-itself", timeout="1s", cancel_grace="1s")
def stops_itself(attempt: jobctl.Attempt) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@jobctl.task("loses-its-directory")
def loses_its_directory(attempt: jobctl.Attempt) -> str:
    place = Path(attempt.scratch, "place")
    place.mkdir()
    os.chdir(place)
    place.rmdir()
    return "kept"


@jobctl.task("crashes")
def crashes(attempt: jobctl.Attempt) -> None:
    ctypes.string_at(0)


@jobctl.task("hoards", memory="300M")
def hoards(attempt: jobctl.Attempt) -> int:
    return len(bytearray(1 << 30))


@jobctl.task("loops", timeout="1s", cancel_grace="1s")
def loops(attempt: jobctl.Attempt) -> None:
    while True:
        pass


@jobctl.task("returns-a-set")
def returns_a_set(attempt: jobctl.Attempt) -> object:
    return {1, 2}


@jobctl.task("returns-too-much")
def returns_too_much(attempt: jobctl.Attempt) -> str:
    return "x" * (16 << 20)


@jobctl.task("babbles")
def babbles(attempt: jobctl.Attempt) -> str:
    """Writes what it is told to into every socket it has, which is the channel to its worker."""
    for fd in _sockets():
        os.write(fd, attempt.payload.encode())
    return "as if nothing had been"


@jobctl.task("hangs-up")
def hangs_up(attempt: jobctl.Attempt) -> str:
    os.closerange(3, 256)
    return "nobody hears this"


@jobctl.task("shuts-down")
def shuts_down(attempt: jobctl.Attempt) -> None:
    for fd in _sockets():
        with socket.socket(fileno=os.dup(fd)) as end:
            end.shutdown(socket.SHUT_RDWR)
    while True:
        time.sleep(60)


@jobctl.task("takes-stdout")
def takes_stdout(attempt: jobctl.Attempt) -> str:
    sys.stdout = sys.stderr = object()  # type: ignore[assignment]
    return "kept"


@jobctl.task("returns-twice")
def returns_twice(attempt: jobctl.Attempt) -> str:
    child = os.fork()
    if child == 0:
        return "of the child"
    os.waitpid(child, 0)
    return "of the attempt"


@jobctl.task("leaves-a-fork-and-dies")
def leaves_a_fork_and_dies(attempt: jobctl.Attempt) -> None:
    if os.fork() == 0:
        time.sleep(1000)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


@jobctl.task("leaves-a-fork")
def leaves_a_fork(attempt: jobctl.Attempt) -> int:
    """Forks as others do, too; the fork tells something, and goes on for ever. Its number is the result."""
    place, others = Path(attempt.payload["place"]), attempt.payload["at_once"]
    Path(place, f"{attempt.job_id}.begun").touch()
    while len(list(place.glob("*.begun"))) < others:
        attempt.progress(0.1, "waits")
    fork = os.fork()
    if fork == 0:
        attempt.log.warning("of a fork")
        attempt.progress(0.5, "of a fork")
        Path(place, f"{attempt.job_id}.told").touch()
        time.sleep(1000)
        os._exit(0)
    return fork


@jobctl.task("signs")
def signs(attempt: jobctl.Attempt) -> None:
    with Path(attempt.payload).open("a") as sheet:
        sheet.write(f"{attempt.job_id}\n")


@jobctl.task("asks-from-a-fork")
def asks_from_a_fork(attempt: jobctl.Attempt) -> None:
    if os.fork() == 0:
        attempt.artifact(__file__, "slide")
    _, status = os.wait()
    raise ValueError(f"its fork ended with {os.waitstatus_to_exitcode(status)}")


@jobctl.task("records-a-link")
def records_a_link(attempt: jobctl.Attempt) -> None:
    link = Path(attempt.scratch, "link")
    link.symlink_to(__file__)
    attempt.artifact(link, "slide")


@jobctl.task("reports-oddly")
def reports_oddly(attempt: jobctl.Attempt) -> str:
    for fraction in (float("nan"), float("inf"), 1e308, -1e300, 0.5):
        attempt.progress(fraction, "half\0way \udc80 " + "x" * 10_000)
        time.sleep(0.06)
    return "told"


@jobctl.task("fills-scratch")
def fills_scratch(attempt: jobctl.Attempt) -> None:
    with Path(attempt.scratch, "film").open("wb", buffering=0) as film:
        while True:
            film.write(bytes(4096))


@jobctl.task("needs-scratch")
def needs_scratch(attempt: jobctl.Attempt) -> int:
    return Path(attempt.scratch, "film").write_bytes(bytes(1 << 20))


@jobctl.task("digs")
def digs(attempt: jobctl.Attempt) -> None:
    """Leaves a tree that is deeper than Python calls functions within each other."""
    place = attempt.scratch
    for _ in range(1_200):
        place = f"{place}/d"
        os.mkdir(place)


@jobctl.task("digs-and-dies")
def digs_and_dies(attempt: jobctl.Attempt) -> None:
    digs(attempt)
    os.kill(os.getpid(), signal.SIGKILL)


@jobctl.task("leaves-children")
def leaves_children(attempt: jobctl.Attempt) -> str:
    """Leaves one child in its group, a daemon, and a daemon of that one, and returns once all run."""
    place = Path(attempt.payload)
    subprocess.Popen(["sleep", "1000"])
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            Path(place, "daemon").write_text(str(os.getpid()))
            time.sleep(1000)
        time.sleep(1000)
    while not Path(place, "daemon").exists():
        time.sleep(0.01)
    return "left them"


@jobctl.task("kills-its-crew", backoff="1s")
def kills_its_crew(attempt: jobctl.Attempt) -> None:
    """Kills what runs it, forked it or has it as a thread, once the sign for that attempt is there."""
    sign = Path(attempt.payload[min(attempt.number, len(attempt.payload)) - 1])
    while not sign.exists():
        time.sleep(0.01)
    in_thread = threading.current_thread() is not threading.main_thread()
    os.kill(os.getpid() if in_thread else os.getppid(), signal.SIGKILL)
    time.sleep(60)


@jobctl.task("kills-its-worker", backoff="1s")
def kills_its_worker(attempt: jobctl.Attempt) -> None:
    stat = Path(f"/proc/{os.getppid()}/stat").read_text()
    os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
    time.sleep(60)


@jobctl.task("starts-a-program")
def starts_a_program(attempt: jobctl.Attempt) -> None:
    apart = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    bare = subprocess.Popen(["sleep", "1000"], env={})
    in_thread = threading.current_thread() is not threading.main_thread()
    made = Path(attempt.payload, "made")
    made.write_text(f"{apart.pid} {bare.pid} {os.getpid() if in_thread else os.getppid()}")
    made.rename(made.with_name("pids"))
    apart.wait()


def _sockets() -> list[int]:
    fds = map(int, os.listdir("/proc/self/fd"))
    return [fd for fd in fds if fd > 2 and _is_socket(fd)]


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False
