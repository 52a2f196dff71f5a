"""The life of a worker: reloaded, asked to stop once and again, on a terminal and under a service manager."""

from __future__ import annotations

import fcntl
import os
import pty
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import jobctl
from jobctl import clock
from jobctl.errors import ExitCode
from jobctl.store.engine import create_store
from runner.working import Crewed, crewed

VERSION = """
import time
from pathlib import Path
import jobctl

@jobctl.task("tell")
def tell(attempt):
    return {version!r}

@jobctl.task("linger")
def linger(attempt):
    Path(attempt.payload, "lingers").touch()
    while not Path(attempt.payload, "go").exists():
        time.sleep(0.01)
    return {version!r}
"""


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Crewed]:
    """A store on SQLite, for what is the same whatever the database."""
    url = str(tmp_path / "jobs.db")
    create_store(url, now=clock.now(), version="test")[0].close()
    with crewed(url) as made:
        yield made


class Manager:
    """A service manager that listens to one worker."""

    def __init__(self, place: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(place))
        self.socket.settimeout(120)
        self.environment = {"NOTIFY_SOCKET": str(place)}

    def hears(self, beginning: str) -> str:
        """The next message that begins like this."""
        while not (said := self.socket.recv(1000).decode()).startswith(beginning):
            pass
        return said


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    with closing(made.socket):
        yield made


def test_a_reload_begins_with_the_new_handlers_and_keeps_the_old_where_they_are_broken(
    crew: Crewed, tmp_path: Path
) -> None:
    module, config = tmp_path / "changing.py", tmp_path / "jobctl.toml"
    module.write_text(VERSION.format(version="one"))
    config.write_text("")
    worker = crew.start("--config", str(config), tasks="changing", PYTHONPATH=str(tmp_path))

    def told(job_id: str) -> object:
        queue.enqueue("tell", job_id=job_id)
        assert crew.until_ended(job_id).status == "completed"
        return crew.result(job_id)

    def reloaded(said: str) -> None:
        before = crew.said().count(said)
        worker.send_signal(signal.SIGHUP)
        crew.until(lambda: crew.said().count(said) > before)

    with jobctl.Queue(crew.url) as queue:
        queue.enqueue("linger", str(tmp_path), job_id="lingers")
        crew.until((tmp_path / "lingers").exists)
        module.write_text(VERSION.format(version="number two"))
        reloaded("\nreloaded\n")
        assert told("second") == "number two"
        config.write_text("[worker]\nslots = 7\nqueues = ['other']\n")
        reloaded("\nreloaded; queues, slots in [worker] count only from its next start\n")
        module.write_text("this is no Python")
        reloaded(
            "changing does not import: SyntaxError: invalid syntax (changing.py, line 1); everything goes on"
        )
        assert told("third") == "number two"
        config.write_text("[worker]\nlease = 3\n")
        reloaded("lease must be a duration above 0; everything goes on as before")
        assert told("fourth") == "number two"
        (tmp_path / "go").touch()
        assert crew.until_ended("lingers").attempt == 1
        assert crew.result("lingers") == "one"


def test_a_reload_for_which_no_process_can_be_started_changes_nothing(local: Crewed, tmp_path: Path) -> None:
    worker = local.start()
    local.until(lambda: " serves " in local.said())
    soft, hard = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (3, hard))
    worker.send_signal(signal.SIGHUP)
    cannot = "the process that imports the handlers cannot be started: Too many open files"
    local.until(lambda: f"{cannot}; everything goes on as before" in local.said())
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (soft, hard))
    with jobctl.Queue(local.url) as queue:
        queue.enqueue("greet", job_id="g1")
    assert local.until_ended("g1").status == "completed"


def test_asked_a_second_time_a_worker_hands_back_at_once_and_nothing_is_charged(crew: Crewed) -> None:
    with jobctl.Queue(crew.url) as queue:
        queue.enqueue("endless", job_id="e1", max_attempts=1)
    worker = crew.start("--grace", "1h", tasks="unhurried")
    crew.until(lambda: crew.job("e1").status == "processing")
    worker.terminate()
    crew.until(lambda: "asked to stop: 1 attempt has 3600 s to finish" in crew.said())
    assert crew.job("e1").status == "processing"
    worker.terminate()
    assert worker.wait(timeout=120) == 0
    job = crew.job("e1")
    assert (job.status, job.attempt, job.tries, job.max_attempts) == ("queued", 1, 0, 1)


def test_interrupted_twice_on_a_terminal_it_hands_back_and_the_handler_never_sees_the_key(
    local: Crewed,
) -> None:
    with jobctl.Queue(local.url) as queue:
        queue.enqueue("endless", job_id="e1", max_attempts=1)
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    worker = local.start("--grace", "1h", tasks="unhurried", preexec_fn=take_terminal)
    local.until(lambda: local.job("e1").status == "processing")
    os.write(ours, b"\x03")
    local.until(lambda: "asked to stop" in local.said())
    assert local.job("e1").status == "processing"
    os.write(ours, b"\x03")
    assert worker.wait(timeout=120) == 0
    assert (local.job("e1").status, local.job("e1").error) == ("queued", None)
    os.close(ours)
    os.close(theirs)


def test_a_watchdog_hears_of_a_worker_twice_within_its_interval(local: Crewed, manager: Manager) -> None:
    interval_s = 3.0
    local.start("--lease", "1h", WATCHDOG_USEC=str(int(interval_s * 1e6)), **manager.environment)
    manager.hears("READY=1")
    manager.hears("WATCHDOG=1")
    heard, pauses = clock.monotonic(), []
    # A machine that is busy with something else may delay one, and not one after the other.
    while not pauses or (min(pauses) >= interval_s / 2 and len(pauses) < 10):
        manager.hears("WATCHDOG=1")
        pauses.append((now := clock.monotonic()) - heard)
        heard = now
    assert min(pauses) < interval_s / 2


def test_a_worker_whose_loop_stands_still_is_silent(local: Crewed, manager: Manager) -> None:
    local.start(WATCHDOG_USEC="900000", **manager.environment)
    manager.hears("READY=1")
    with closing(sqlite3.connect(local.url, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        manager.socket.settimeout(1.5)
        # What it said before it came to the lock.
        with pytest.raises(TimeoutError):
            for _ in range(20):
                manager.hears("WATCHDOG=1")
        other.execute("ROLLBACK")
    manager.socket.settimeout(120)
    manager.hears("WATCHDOG=1")


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_manager_is_told_when_a_reload_begins_and_ends(
    local: Crewed, manager: Manager, tmp_path: Path, is_broken: bool
) -> None:
    config = tmp_path / "jobctl.toml"
    config.write_text("")
    worker = local.start("--config", str(config), **manager.environment)
    manager.hears("READY=1")
    before = clock.monotonic_us()
    config.write_text("nonsense" if is_broken else "")
    worker.send_signal(signal.SIGHUP)
    began = manager.hears("RELOADING=1").partition("MONOTONIC_USEC=")[2]
    assert before <= int(began) <= clock.monotonic_us()
    assert ("not reloaded" in manager.hears("READY=1")) is is_broken
    worker.terminate()
    manager.hears("STOPPING=1")


def test_what_a_worker_starts_does_not_speak_to_its_manager(local: Crewed, manager: Manager) -> None:
    with jobctl.Queue(local.url) as queue:
        queue.enqueue("surroundings", job_id="s1")
    assert local.run(tasks="unhurried", WATCHDOG_USEC="900000", **manager.environment) == 0
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(local.result("s1"))


EARLY = """
import os, sys

place, number = sys.argv[1], int(sys.argv[2])

class Signalled:
    def find_spec(self, name, *rest):
        if name == place:
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Signalled())
del sys.argv[1:3]
"""
"""Send a signal to this process once it is just about to import something."""


@pytest.mark.parametrize(
    ("number", "while_importing", "codes"),
    [
        (signal.SIGHUP, "jobctl.cli.app", {0}),
        (signal.SIGHUP, "jobctl.runner.worker", {0}),
        (signal.SIGINT, "jobctl.cli.app", {130}),
        (signal.SIGINT, "jobctl.runner.worker", {130}),
        (signal.SIGTERM, "jobctl.cli.app", {143, -signal.SIGTERM}),
        (signal.SIGTERM, "jobctl.runner.worker", {143}),
    ],
)
def test_a_signal_that_comes_while_it_starts_is_taken_calmly(
    local: Crewed, number: int, while_importing: str, codes: set[int]
) -> None:
    program = [sys.executable, "-c", f"{EARLY}\nfrom jobctl.cli import main; main()"]
    command = [*program, while_importing, str(int(number)), "worker", "--tasks", "handlers", "--burst"]
    places = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    ended = subprocess.run(
        command,
        env={**os.environ, "JOBCTL_DATABASE_URL": local.url, "PYTHONPATH": places},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode in codes, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_burst_whose_modules_end_the_process_gives_up_and_says_so(local: Crewed, tmp_path: Path) -> None:
    (tmp_path / "ends_it.py").write_text("import os\nos._exit(7)\n")
    assert local.run(tasks="ends_it", slots=1, PYTHONPATH=str(tmp_path)) == 3
    assert "the process that imports the handlers ended before it had, 3 times in a row" in local.said()


def test_a_burst_whose_modules_do_not_all_import_says_so_by_its_exit_code(crew: Crewed) -> None:
    assert crew.run("--tasks", "no_such_module") == ExitCode.INCOMPLETE
    assert "no_such_module does not import: ModuleNotFoundError" in crew.said()


@pytest.mark.parametrize("option", [("--lease", "0s"), ("--queue", "")])
def test_a_worker_without_a_lease_or_a_queue_is_refused(crew: Crewed, option: tuple[str, str]) -> None:
    assert crew.run(*option) == ExitCode.USAGE
    assert option[0] in crew.said()


def test_a_worker_opens_as_many_files_as_its_slots_need(local: Crewed, tmp_path: Path) -> None:
    with jobctl.Queue(local.url) as queue:
        for number in range(30):
            queue.enqueue("wait", str(tmp_path), job_id=f"w{number}")
    local.start(slots=30, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 128)))
    local.until(lambda: len(list(tmp_path.glob("w*.1"))) == 30)


def test_a_worker_that_may_not_open_so_many_files_is_refused(local: Crewed) -> None:
    few = (32, 32)
    assert local.run(slots=30, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few)) == 2
    assert "so many slots need 94 open files, and this process may have 32" in local.said()


def test_no_grace_at_all_is_held_to(crew: Crewed) -> None:
    worker = crew.start("--grace", "0s")
    crew.until(lambda: " serves " in crew.said())
    worker.terminate()
    assert worker.wait(timeout=60) == 0
    assert "asked to stop: 0 attempts have 0 s to finish" in crew.said()
