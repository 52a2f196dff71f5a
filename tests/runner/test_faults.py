"""Each way a handler or a command can go wrong has one clear outcome, and the worker lives."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

import jobctl
from jobctl import clock
from jobctl.core.reasons import failure_said
from jobctl.ops.init import initialise
from jobctl.runner import limits
from jobctl.settings import load_settings
from jobctl.store.engine import create_store
from runner.working import Crewed, crewed


class Fault(NamedTuple):
    """A job that goes wrong, and what ``jobctl show`` says of it then: status, and how its error begins."""

    job_id: str
    task: str
    status: str
    error: str
    payload: object = None


BABBLED = "died: its process wrote what is no message to its worker"
TIMEOUT = "timeout: it ran longer than its limit of 1 s"
FAULTS = [
    Fault("gives up", "gives-up", "failed", "gave-up: the template is gone"),
    Fault("sys.exit", "exits", "failed", "exit: the handler called exit(3)"),
    Fault("os._exit", "exits-hard", "failed", "died: its process ended without a result, with exit code 7"),
    Fault("interrupt", "interrupts", "failed", "KeyboardInterrupt"),
    Fault("unspeakable", "unspeakable", "failed", "Unspeakable: it cannot say what went wrong"),
    Fault("untellable", "untellable", "failed", "error: the handler raised what cannot be told"),
    Fault("a code of ours", "speaks-for-jobctl", "failed", "error: interrupted: not by the end"),
    Fault("SIGKILL", "kills-itself", "failed", "killed by SIGKILL, peak "),
    Fault("kills its group", "kills-its-group", "failed", "killed by SIGKILL, peak "),
    Fault("stops itself", "stops-itself", "failed", TIMEOUT),
    Fault("no directory", "loses-its-directory", "completed", ""),
    Fault("SIGSEGV", "crashes", "failed", "killed by SIGSEGV, peak "),
    Fault("memory limit", "hoards", "failed", "out-of-memory: MemoryError: the attempt ran into its memory"),
    Fault("endless loop", "loops", "failed", TIMEOUT),
    Fault("ignores SIGTERM", "stubborn", "failed", TIMEOUT),
    Fault("no JSON", "returns-a-set", "failed", "bad-result: the handler's result cannot be kept as JSON"),
    Fault(
        "large result", "returns-too-much", "failed", "bad-result: the handler's result is 16,777,218 bytes"
    ),
    Fault("garbage", "babbles", "failed", BABBLED, "garbage\n"),
    Fault("no list", "babbles", "failed", BABBLED, "{}\n"),
    Fault("no progress", "babbles", "failed", BABBLED, '["progress","x",1,"much",null]\n'),
    Fault("no number", "babbles", "failed", BABBLED, '["progress","x",1,NaN,null]\n'),
    Fault("no such number", "babbles", "failed", BABBLED, '["progress","x",1,1' + "0" * 400 + ",null]\n"),
    Fault("no question", "babbles", "failed", BABBLED, '["published","x",1,5]\n'),
    Fault("no result", "babbles", "failed", BABBLED, '["done","x",1]\n'),
    Fault("odd result", "babbles", "failed", BABBLED, '["done","x",1,5]\n'),
    Fault("hangs up", "hangs-up", "failed", "died: its process lost its channel to its worker"),
    Fault("shuts down", "shuts-down", "failed", "died: its process lost its channel to its worker"),
    Fault("forked question", "asks-from-a-fork", "failed", "ValueError: its fork ended with 0"),
    Fault("a link", "records-a-link", "failed", "PublishRefused: /"),
    Fault("takes stdout", "takes-stdout", "completed", ""),
    Fault("returns twice", "returns-twice", "completed", ""),
    Fault("odd progress", "reports-oddly", "completed", ""),
    Fault("10 MB", "measure", "completed", "", "x" * 10_000_000),
    Fault(
        "no such command", "missing", "failed", "exit-code: no-such-program cannot be started: No such file"
    ),
    Fault(
        "no program",
        "unexecutable",
        "failed",
        "exit-code: {place}/plain cannot be started: Permission denied",
    ),
    Fault("exit 3", "complains", "failed", "exit-code: sh ended with exit code 3: no template"),
    Fault("prints 100 MB", "chatty", "completed", ""),
    Fault("command ignores SIGTERM", "deaf", "failed", TIMEOUT),
]
COMMANDS = """
[tasks]
missing.command = ["no-such-program"]
unexecutable.command = ["{place}/plain"]
complains.command = ["sh", "-c", "echo 'no template' >&2; exit 3"]
chatty.command = ["head", "-c", "100M", "/dev/zero"]
deaf = {{ command = ["sh", "-c", "trap '' TERM; sleep 1000"], timeout = "1s", cancel_grace = "1s" }}
"""


def test_each_fault_has_one_clear_outcome_and_the_worker_lives(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    (tmp_path / "plain").write_text("no program")
    (tmp_path / "jobctl.toml").write_text(COMMANDS.format(place=tmp_path))
    for fault in FAULTS:
        queue.enqueue(fault.task, fault.payload, job_id=fault.job_id, max_attempts=1)
    queue.enqueue("fine", job_id="last", priority=-1)
    queue.enqueue("nobody", job_id="unknown", max_attempts=1)
    options = ("--tasks", "tempers", "--config", str(tmp_path / "jobctl.toml"))
    assert crew.run(*options, slots=4) == 0, crew.said()
    wrong = []
    for fault in FAULTS:
        shown, error = crew.shown(fault.job_id), fault.error.format(place=tmp_path)
        said = failure_said(shown["error_code"], shown["error"])
        if shown["status"] != fault.status or not said.startswith(error):
            wrong.append((fault.job_id, shown["status"], said))
    assert not wrong
    assert crew.shown("last")["status"] == "completed"
    assert crew.statuses("unknown") == ["queued"]
    assert "and no worker knows the task nobody; start one: jobctl worker --tasks MODULE" in crew.said()
    assert crew.result("10 MB") == 10_000_000
    assert crew.result("returns twice") == "of the attempt"
    assert crew.result("prints 100 MB") is None


def test_what_an_attempt_started_ends_with_it_daemons_too(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("leaves-children", str(tmp_path), job_id="l1")
    crew.start(tasks="tempers")
    assert crew.until_ended("l1").status == "completed"
    daemon = int((tmp_path / "daemon").read_text())
    crew.until(lambda: not is_running(daemon))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_fork_bomb_ends_at_its_limit_and_leaves_room(crew: Crewed, queue: jobctl.Queue) -> None:
    queue.enqueue("bomb", job_id="b1", max_attempts=1)
    queue.enqueue("fine-as-nobody", job_id="f1", priority=-1)
    assert crew.run(tasks="bombs", slots=1) == 0, crew.said()
    shown = crew.shown("b1")
    assert shown["status"] == "failed"
    assert shown["error"].startswith("BlockingIOError: [Errno 11] Resource temporarily unavailable")
    assert crew.shown("f1")["status"] == "completed"


def test_a_burst_says_at_its_end_what_came_of_it(crew: Crewed, queue: jobctl.Queue) -> None:
    queue.enqueue("kills-itself", max_attempts=1)
    assert crew.run(tasks="tempers", slots=1) == 0
    assert crew.said().endswith("1 started, 1 failed, 1 death\n")


def test_a_job_that_the_kernel_killed_for_memory_says_so(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    (tmp_path / "kills").write_text("3")
    for job_id, task in (("o1", "starves"), ("o2", "is-shot")):
        queue.enqueue(task, job_id=job_id, max_attempts=1)
    assert crew.run(tasks="starved", slots=1, OOM_KILLS=str(tmp_path / "kills")) == 0
    assert crew.shown("o1")["error_code"] == "out-of-memory"
    assert crew.shown("o1")["error"].endswith(", likely out of memory")
    # It died while nothing was killed for memory, although something was before.
    assert crew.shown("o2")["error_code"] == "killed"


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A control group of 96 MiB; see cgroups(7)."""
    for base, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(base, f"jobctl-test-{os.getpid()}")
        with suppress(OSError):
            group.mkdir()
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(96 << 20))
                yield group
                return
        finally:
            with suppress(FileNotFoundError):
                group.rmdir()
    pytest.skip("this machine allows no control groups")


def test_what_outgrows_the_memory_of_its_control_group_is_killed_and_told_and_the_worker_lives(
    crew: Crewed, queue: jobctl.Queue, little_memory: Path
) -> None:
    queue.enqueue("outgrows", str(little_memory), job_id="o1", max_attempts=1)
    queue.enqueue("modest", job_id="m1", priority=-1)
    assert crew.run(tasks="greedy", slots=1) == 0
    shown = crew.shown("o1")
    assert (shown["status"], shown["error_code"]) == ("failed", "out-of-memory")
    peak = re.fullmatch(r"killed by SIGKILL, peak ([0-9.]+) MiB, likely out of memory", shown["error"])
    assert peak, shown["error"]
    assert 48 < float(peak[1]) < 128
    assert crew.shown("m1")["status"] == "completed"


def test_the_count_of_such_kills_is_read_from_the_kernel() -> None:
    told = [line for line in Path("/proc/vmstat").read_text().splitlines() if line.startswith("oom_kill ")]
    assert [f"oom_kill {limits.oom_kills()}"] == told


def test_a_full_disk_under_scratch_fails_the_attempt_and_is_free_for_the_next(
    crew: Crewed, queue: jobctl.Queue, small_disk: Path
) -> None:
    queue.enqueue("fills-scratch", job_id="f1", max_attempts=1)
    queue.enqueue("needs-scratch", job_id="f2", priority=-1)
    assert crew.run(tasks="tempers", slots=1, TMPDIR=str(small_disk)) == 0, crew.said()
    assert crew.shown("f1")["error"].startswith("OSError: [Errno 28] No space left on device")
    assert crew.shown("f2")["status"] == "completed"


def test_a_full_disk_under_the_outputs_fails_the_attempt_and_leaves_nothing_there(
    crew: Crewed, queue: jobctl.Queue, small_disk: Path
) -> None:
    settings = load_settings(database=crew.url, environ={})
    initialise(settings, roots=[str(small_disk)], layout="presentations", host_local=False, now=clock.now())
    fill(small_disk)
    before = sorted(small_disk.iterdir())
    queue.enqueue("film", {"root": str(small_disk)}, job_id="film-1", max_attempts=2)
    crew.start()
    crew.until(lambda: crew.statuses("film-1")[1:] == ["processing", "queued"])
    (failed,) = [event for event in crew.history("film-1") if (event.detail or {}).get("error")]
    assert failed.detail is not None
    assert failed.detail["error"].startswith("OSError: [Errno 28] No space left on device")
    assert sorted(small_disk.iterdir()) == before
    (small_disk / "ballast").unlink()
    assert crew.until_ended("film-1").status == "completed"
    assert (small_disk / "presentation_film-1.mp4").exists()


def test_a_full_disk_under_the_store_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    url = str(small_disk / "jobs.db")
    create_store(url, now=clock.now(), version="test")[0].close()
    with crewed(url) as crew, jobctl.Queue(url) as queue:
        queue.enqueue("wait", str(tmp_path), job_id="w1")
        worker = crew.start()
        crew.until((tmp_path / "w1.1").exists)
        fill(small_disk)
        (tmp_path / "go").touch()
        crew.until(lambda: "database or disk is full" in crew.said())
        assert worker.poll() is None
        assert crew.job("w1").status == "processing"
        (small_disk / "ballast").unlink()
        assert crew.until_ended("w1").status == "completed"
        assert crew.job("w1").attempt == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine allows no mounting")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> None:
    with (disk / "ballast").open("ab", buffering=0) as ballast, pytest.raises(OSError, match="No space left"):
        while True:
            ballast.write(b"x" * 4096)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
