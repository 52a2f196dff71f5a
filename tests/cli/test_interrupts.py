"""One rule for Ctrl-C: 0 where that is how a command ends, 130 with what is left where it breaks off work."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import jobctl
from cli.calling import PROGRAM, answer, read_until
from jobctl.errors import ExitCode
from ops.world import World, a_job_id

_IN_THE_MIDDLE = """
import os, signal, sys
from jobctl.cli import main
from jobctl.ops import apply

take, taken = apply._change_records, []

def change(*arguments):
    take(*arguments)
    taken.append(1)
    if len(taken) == 2:
        os.kill(os.getpid(), signal.SIGINT)

apply._FIRST_CHUNK = 1
apply._next_size = lambda size, seconds: 1
apply._change_records = change
main()
"""
"""The program, applying a plan step by step, and interrupted after the second one."""


class Case(NamedTuple):
    """A command, and what it says once it is at what it is there for: on its terminal, or without one."""

    name: str
    words: list[str]
    at_work: bytes
    code: ExitCode
    on_terminal: bool = False
    asks: str = ""
    """The path it is to answer by then, where it is a server."""


CASES = [
    Case("watch", ["status", "--watch"], b"\n\n", ExitCode.CLEAN),
    Case("watch-tells", ["status", "--watch", "--exit-code"], b"\n\n", ExitCode.FINDINGS),
    Case("watch-drawn", ["status", "--watch"], b"Ctrl-C ends", ExitCode.CLEAN, on_terminal=True),
    Case("top", ["top"], b"\n\n", ExitCode.CLEAN),
    Case("top-drawn", ["top"], b"workers", ExitCode.CLEAN, on_terminal=True),
    Case("follow", ["events", "--follow"], a_job_id(0).encode(), ExitCode.CLEAN),
    Case("follow-drawn", ["events", "--follow"], a_job_id(0).encode(), ExitCode.CLEAN, on_terminal=True),
    Case("metrics", ["metrics", "serve", "--port", "0"], b"/metrics until", ExitCode.CLEAN),
    Case("serve", ["serve", "--port", "0"], b"listening on ", ExitCode.CLEAN, asks="/healthz"),
    Case("worker", ["worker", "--tasks", "handlers"], b" serves ", ExitCode.CLEAN),
    Case("recover", ["recover"], b"[y/N]: ", ExitCode.INTERRUPTED, on_terminal=True),
]


@contextmanager
def started(case: Case, database: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[bytes], bytes]]]:
    """A command at work, and what reads on in all that it says until it says something, or ends."""
    ours, theirs = pty.openpty() if case.on_terminal else os.pipe()
    handlers = os.path.join(os.path.dirname(os.path.dirname(__file__)), "runner")
    surroundings = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", "PYTHONPATH": handlers}
    process = subprocess.Popen(
        [PROGRAM, *case.words, "--database", database],
        env={**os.environ, **surroundings},
        stdin=theirs if case.on_terminal else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, lambda words: read_until(ours, words)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def await_sleep(pid: int) -> None:
    """Python hears of a signal that comes just before it reads only once there is something to read."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.01)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_how_a_command_ends_on_ctrl_c(case: Case, world: World) -> None:
    with jobctl.Queue(world.url) as queue:
        queue.enqueue("render", job_id=a_job_id(0))
    world.video(1)
    with started(case, world.url) as (process, until):
        said = until(case.at_work)
        if case.asks:
            (address,) = re.findall(r"listening on (\S+)", said.decode())
            urllib.request.urlopen(f"{address}{case.asks}", timeout=60).close()
        if case.code is ExitCode.INTERRUPTED:
            await_sleep(process.pid)
        process.send_signal(signal.SIGINT)
        if case.code is ExitCode.INTERRUPTED:
            until(b"run the same command again")
        assert process.wait(60) == case.code


def test_of_a_plan_that_was_interrupted_is_told_how_far_it_came_and_the_same_command_goes_on(
    world: World,
) -> None:
    for number in range(4):
        world.video(number)
    ended = subprocess.run(
        [sys.executable, "-c", _IN_THE_MIDDLE, "recover", "--yes", "--database", world.url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == ExitCode.INTERRUPTED
    message, hint = ended.stderr.splitlines()
    assert message.startswith("error: interrupted; run ")
    assert message.endswith(" has taken 2 of 4 steps")
    assert hint == " hint: run the same command again to go on"
    assert answer("recover", "--yes", database=world.url)["counts"]["done"] == 2
    assert len(world.job_ids()) == 4
