"""Dead needs proof: real processes, alive, gone, stopped, half dead, and in other containers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobctl.evidence import executor as executors
from jobctl.evidence.executor import (
    current_executor,
    liveness,
    process_start,
    this_boot_id,
    this_pid_namespace,
)
from jobctl.model.job import Executor

SLEEPER = "import sys; print('up', flush=True); sys.stdin.read()"
LEADERLESS = """
import ctypes, sys, threading
threading.Thread(target=lambda: (print("up", flush=True), sys.stdin.read())).start()
ctypes.CDLL(None).pthread_exit(None)
"""
# Another process in its place, whose /proc shows its own namespace or its host's.
CONTAINER = (
    "from jobctl.evidence.executor import *; import json; print(json.dumps(current_executor('host-a')))"
)


def started(program: str = SLEEPER, *command: str) -> subprocess.Popen[str]:
    arguments = [*command, sys.executable, "-c", program]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    process = started()
    yield process
    process.kill()
    process.communicate()


def executor_of(pid: int) -> Executor:
    return current_executor("host-a")._replace(pid=pid, pid_start=process_start(pid) or 0)


def test_this_process_is_alive() -> None:
    here = current_executor("host-a", "instance-1")
    assert liveness(here, host="host-a") == "alive"
    assert (here.host, here.pid, here.instance) == ("host-a", os.getpid(), "instance-1")


def test_a_killed_process_is_dead_before_and_after_it_is_reaped(process: subprocess.Popen[str]) -> None:
    executor = executor_of(process.pid)
    assert liveness(executor, host="host-a") == "alive"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert liveness(executor, host="host-a") == "dead"
    process.wait()
    assert liveness(executor, host="host-a") == "dead"


def test_a_stopped_process_is_alive(process: subprocess.Popen[str]) -> None:
    executor = executor_of(process.pid)
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert liveness(executor, host="host-a") == "alive"


def test_a_process_whose_first_thread_ended_is_alive_while_others_work() -> None:
    process = started(LEADERLESS)
    executor = executor_of(process.pid)
    assert executor.pid_start
    assert liveness(executor, host="host-a") == "alive"
    process.kill()
    process.communicate()
    assert liveness(executor, host="host-a") == "dead"


def test_a_later_process_with_the_same_number_is_not_the_executor(process: subprocess.Popen[str]) -> None:
    executor = executor_of(process.pid)
    assert liveness(executor._replace(pid_start=executor.pid_start - 1), host="host-a") == "dead"


def test_nothing_survives_a_boot() -> None:
    executor = current_executor("host-a")
    for boot_id in ("an-earlier-boot", f"an-earlier-boot/{this_pid_namespace()}"):
        assert liveness(executor._replace(boot_id=boot_id), host="host-a") == "dead"


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "host-b"},
        {"host": "host-b", "boot_id": "an-earlier-boot"},
        {"boot_id": ""},
        {"boot_id": this_boot_id(), "pid": 2**22},
        {"boot_id": f"{this_boot_id()}/1", "pid": 2**22},
        {"pid": 0},
        {"pid": -1},
        {"pid": 2**40},
        {"pid_start": 0},
    ],
)
def test_what_cannot_be_seen_from_here_is_unknown(changes: dict[str, str | int]) -> None:
    executor = current_executor("host-a")._replace(**changes)  # type: ignore[arg-type]
    assert liveness(executor, host="host-a") == "unknown"


@pytest.mark.parametrize("proc", ["--mount-proc", "--"])
def test_an_executor_in_another_container_of_this_host_is_unknown(proc: str) -> None:
    """Also where that container is shown its host's /proc, which numbers processes differently."""
    command = ["unshare", "-Ur", "--pid", "--fork", proc, sys.executable, "-c", CONTAINER]
    told = subprocess.run([each for each in command if each != "--"], capture_output=True, check=False)
    if told.returncode and b"unshare" in told.stderr:
        pytest.skip("this machine allows no namespaces")
    there = Executor(*json.loads(told.stdout))
    assert there.pid != os.getpid()
    assert there.boot_id.startswith(this_boot_id())
    assert liveness(there, host="host-a") == "unknown"


def test_a_process_that_proc_hides_is_not_dead(
    process: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A /proc mounted with hidepid shows nothing of other users' processes; here one that shows none."""
    executor = executor_of(process.pid)
    (tmp_path / "self").symlink_to(str(os.getpid()))
    (tmp_path / str(os.getpid()) / "ns").mkdir(parents=True)
    (tmp_path / str(os.getpid()) / "ns" / "pid").symlink_to("/proc/self/ns/pid")
    (tmp_path / "sys").symlink_to("/proc/sys")
    monkeypatch.setattr(executors, "_PROC", str(tmp_path))
    assert liveness(executor, host="host-a") == "unknown"
    process.kill()
    process.wait()
    assert liveness(executor, host="host-a") == "dead"


def test_where_the_system_tells_nothing_all_is_unknown(
    process: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = executor_of(process.pid)
    process.kill()
    process.wait()
    monkeypatch.setattr(executors, "_PROC", str(tmp_path))
    assert (this_boot_id(), this_pid_namespace()) == ("", "")
    assert liveness(executor, host="host-a") == "unknown"
    assert liveness(current_executor("host-a"), host="host-a") == "unknown"


@pytest.mark.parametrize("name", ["plain", "two words", ") S 1 (", "(((", "new\nline"])
def test_the_start_is_read_whatever_the_command_is_called(name: str, tmp_path: Path) -> None:
    program = tmp_path / name
    program.symlink_to(sys.executable)
    process = subprocess.Popen([str(program), "-c", "input()"], stdin=subprocess.PIPE)
    try:
        start = process_start(process.pid)
        here = process_start(os.getpid())
        assert start is not None
        assert here is not None
        assert start >= here
    finally:
        process.communicate()
    assert process_start(process.pid) is None
