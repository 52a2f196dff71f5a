"""One process at a time moves files below a root; the kernel keeps count."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobctl.errors import ExitCode, Locked, RootRefused
from jobctl.outputs.root import OpenRoot, open_root, register
from jobctl.outputs.turn import hold_files

HOLD = """
import sys
from jobctl.outputs.root import open_root
from jobctl.outputs.turn import hold_files
with open_root(sys.argv[1], root_id="r1", store_id="s1", generation=0) as root, hold_files(root):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    register(str(tmp_path / "outputs"), store_id="s1", root_id="r1", others=[], store_path=None)
    return tmp_path / "outputs"


def opened(path: Path) -> OpenRoot:
    return open_root(str(path), root_id="r1", store_id="s1", generation=0)


def expect_that_it_is_taken(path: Path) -> None:
    with opened(path) as root, pytest.raises(Locked, match="another run is moving files") as refusal:
        with hold_files(root):
            pytest.fail("two held it at once")
    assert refusal.value.exit_code is ExitCode.LOCKED
    assert str(path) in refusal.value.message


def test_it_is_held_by_one_process_even_while_that_is_stopped_and_by_none_once_it_died(outputs: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(outputs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdout is not None
    first.stdout.readline()
    expect_that_it_is_taken(outputs)
    first.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
    expect_that_it_is_taken(outputs)
    first.kill()
    first.communicate()
    with opened(outputs) as root, hold_files(root):
        pass


def test_it_is_given_back_at_the_end_of_the_block_however_that_ends(outputs: Path) -> None:
    with opened(outputs) as root:
        with pytest.raises(ZeroDivisionError), hold_files(root):
            raise ZeroDivisionError
        with hold_files(root):
            pass


def test_another_descriptor_of_the_same_process_is_refused_too(outputs: Path) -> None:
    with opened(outputs) as root, hold_files(root):
        expect_that_it_is_taken(outputs)


def test_a_program_that_is_started_meanwhile_does_not_keep_it(outputs: Path) -> None:
    with opened(outputs) as root:
        with hold_files(root):
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        with hold_files(root):
            child.communicate(b"\n")


def test_two_roots_do_not_hinder_each_other(outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    register(str(tmp_path / "other"), store_id="s1", root_id="r1", others=[], store_path=None)
    with opened(outputs) as one, opened(tmp_path / "other") as other, hold_files(one), hold_files(other):
        pass


def everybody_gets_it(fd: int, operation: int) -> None:
    """A file system that takes locks without keeping them."""


def nobody_gets_it(fd: int, operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def works_once() -> Callable[[int, int], None]:
    """A file system whose second answer is none."""
    asked: list[int] = []

    def flock(fd: int, operation: int) -> None:
        asked.append(fd)
        if len(asked) > 1:
            nobody_gets_it(fd, operation)

    return flock


@pytest.mark.parametrize("flock", [everybody_gets_it, nobody_gets_it, works_once()])
def test_where_locks_do_not_work_moving_is_refused(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, flock: Callable[[int, int], None]
) -> None:
    monkeypatch.setattr(fcntl, "flock", flock)
    with opened(outputs) as root, pytest.raises(RootRefused, match="moves refused") as refusal:
        with hold_files(root):
            pytest.fail("no lock was held")
    assert refusal.value.exit_code is ExitCode.ROOT


@pytest.mark.parametrize("there", ["directory", "symlink", "dangling symlink", "fifo"])
def test_a_lock_that_is_no_file_is_refused(outputs: Path, there: str) -> None:
    lock = outputs / ".jobctl" / "lock"
    if there == "directory":
        lock.mkdir()
    elif there == "fifo":
        os.mkfifo(lock)
    elif there == "symlink":
        lock.symlink_to(outputs / ".jobctl" / "root.json")
    else:
        lock.symlink_to("/nowhere/at/all")
    with opened(outputs) as root, pytest.raises(RootRefused), hold_files(root):
        pass


def test_the_lock_is_for_our_eyes(outputs: Path) -> None:
    with opened(outputs) as root, hold_files(root):
        assert (outputs / ".jobctl" / "lock").stat().st_mode & 0o777 == 0o600
