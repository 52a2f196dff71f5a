"""Settling: a file counts as closed by proof, or after a long quiet; never by hope."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobctl.outputs import settle
from jobctl.outputs.settle import why_unsettled, writer_state

HOUR_NS = 3_600 * 10**9
OPEN_FOR_WRITING = "import sys; out = open(sys.argv[1], 'ab'); print(flush=True); sys.stdin.read()"
OPEN_AGAIN_AND_AGAIN = """
import os, select, sys
print(flush=True)
while not select.select([0], [], [], 0)[0]:
    try:
        os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK))
    except BlockingIOError:
        pass
"""
AS_NOBODY = """
import os, sys
from jobctl.outputs.settle import writer_state
fd = os.open(sys.argv[1], os.O_RDONLY)
os.setgid(65534); os.setuid(65534)
print(writer_state(fd))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path / "file"


def started(script: str, path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def state_of(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        return writer_state(fd)
    finally:
        os.close(fd)


def test_a_writer_in_another_process_is_seen_even_when_it_is_stopped(path: Path) -> None:
    assert state_of(path) == "closed"
    writer = started(OPEN_FOR_WRITING, path)
    assert state_of(path) == "open"
    writer.send_signal(signal.SIGSTOP)
    assert state_of(path) == "open"
    writer.kill()
    writer.communicate()
    assert state_of(path) == "closed"


def test_the_lease_is_given_back(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    assert writer_state(fd) == "closed"
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    assert writer_state(fd) == "closed"
    os.close(fd)


def test_readers_do_not_matter(path: Path) -> None:
    with open(path, "rb"):
        assert state_of(path) == "closed"


def test_a_writable_mapping_outlives_its_descriptor(path: Path) -> None:
    with open(path, "r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0)
    assert state_of(path) == "open"
    mapping.close()
    assert state_of(path) == "closed"


def test_a_writer_who_comes_while_the_lease_is_held_ends_nobody(path: Path) -> None:
    writer = started(OPEN_AGAIN_AND_AGAIN, path)
    assert {state_of(path) for _ in range(5_000)} <= {"open", "closed"}
    writer.communicate(b"\n")
    assert writer.returncode == 0


def test_no_signal_handler_of_the_program_is_touched(path: Path) -> None:
    kept = {number: signal.getsignal(number) for number in (signal.SIGIO, signal.SIGURG)}
    state_of(path)
    assert {number: signal.getsignal(number) for number in kept} == kept


def test_what_can_have_no_lease_is_unknown(tmp_path: Path) -> None:
    assert state_of(tmp_path) == "unknown"


def test_the_lease_of_another_users_file_is_unknown(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    said = subprocess.run([sys.executable, "-c", AS_NOBODY, str(path)], capture_output=True, check=True)
    assert said.stdout.strip() == b"unknown"


@pytest.mark.parametrize(
    ("writers", "is_shared", "age_ns", "settled"),
    [
        ("closed", False, 0, True),
        ("closed", False, -HOUR_NS, True),
        ("open", False, HOUR_NS, False),
        ("open", True, HOUR_NS, False),
        ("unknown", False, HOUR_NS, True),
        ("unknown", False, 120 * 10**9, True),
        ("unknown", False, 120 * 10**9 - 1, False),
        ("unknown", False, -HOUR_NS, False),
        ("closed", True, 10**9, False),
        ("closed", True, HOUR_NS, True),
        ("unknown", True, HOUR_NS, True),
    ],
)
def test_only_a_lease_on_our_own_disk_or_a_long_quiet_settles_a_file(
    path: Path, writers: settle.Writers, is_shared: bool, age_ns: int, settled: bool
) -> None:
    found = path.stat()
    now_ns = max(found.st_mtime_ns, found.st_ctime_ns) + age_ns
    reason = why_unsettled(found, writers=writers, is_shared=is_shared, now_ns=now_ns, quiet_s=120)
    assert (reason is None) == settled


@pytest.mark.parametrize("days", [-1_000, 1_000])
def test_a_file_is_quiet_only_if_neither_its_bytes_nor_its_inode_were_touched(path: Path, days: int) -> None:
    """An mtime can be set to anything; then the ctime is now."""
    now_ns = path.stat().st_ctime_ns
    os.utime(path, ns=(0, now_ns + days * 24 * HOUR_NS))
    reason = why_unsettled(path.stat(), writers="unknown", is_shared=False, now_ns=now_ns, quiet_s=120)
    assert reason is not None
    assert ("in the future" in reason) == (days > 0)


def test_without_a_clock_a_shared_file_is_never_settled(path: Path) -> None:
    assert why_unsettled(path.stat(), writers="closed", is_shared=True, now_ns=None, quiet_s=1)
