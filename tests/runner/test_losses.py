"""What is lost with the process that ran it: who pays for it; nothing outlives its worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import jobctl
from jobctl.runner.marks import make_marks
from runner.test_faults import is_running
from runner.working import Crewed


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_who_is_lost_with_others_pays_from_the_second_time_on(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path, isolation: str
) -> None:
    """What kills its crew each time ends failed; who ran beside it the first time has lost nothing."""
    signs = [str(tmp_path / "beside.1"), str(tmp_path / "alone")]
    queue.enqueue("kills-its-crew", signs, job_id="poison", max_attempts=2)
    queue.enqueue("wait", str(tmp_path), job_id="beside", max_attempts=1)
    worker = crew.start("--isolation", isolation, "--tasks", "tempers", slots=2)
    crew.until((tmp_path / "beside.2").exists)
    (tmp_path / "go").touch()
    beside = crew.until_ended("beside")
    assert (beside.status, beside.attempt, beside.tries) == ("completed", 2, 1)
    (tmp_path / "alone").touch()
    poison = crew.until_ended("poison")
    assert (poison.status, poison.error_code, poison.attempt) == ("failed", "killed", 3)
    assert worker.poll() is None
    reasons = [(event.detail or {}).get("reason") for event in crew.history("poison")]
    assert [said for said in reasons if said] == [LOST[isolation]]


LOST = {
    "process": "the process that ran it and others was killed",
    "thread": "the process that ran it and others was killed by SIGKILL",
}


def test_a_thread_that_ran_alone_is_known_to_have_ended_its_process(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("kills-its-crew", [str(tmp_path)], job_id="poison", max_attempts=1)
    for number in range(3):
        queue.enqueue("fine", job_id=f"f{number}", max_attempts=1, priority=-1)
    assert crew.run("--isolation", "thread", tasks="tempers", slots=1) == 0
    assert (crew.job("poison").status, crew.job("poison").attempt) == ("failed", 1)
    assert crew.shown("poison")["error"].startswith("killed by SIGKILL, peak ")
    assert {crew.job(f"f{number}").status for number in range(3)} == {"completed"}


@pytest.mark.parametrize("garbage", ["garbage", '["task",{}]', '["progress","x",1,1' + "0" * 400 + ",null]"])
def test_a_thread_that_writes_garbage_to_the_channel_ends_failed_and_the_worker_lives(
    crew: Crewed, queue: jobctl.Queue, garbage: str
) -> None:
    queue.enqueue("babbles", garbage + "\n", job_id="b1", max_attempts=1)
    worker = crew.start("--isolation", "thread", tasks="tempers", slots=1)
    crew.until_ended("b1")
    assert crew.shown("b1")["error"] == "its process wrote what is no message to its worker"
    queue.enqueue("fine", job_id="f1")
    assert crew.until_ended("f1").status == "completed"
    assert worker.poll() is None


def test_a_thread_that_forks_runs_nothing_twice_and_ends_as_it_says_itself(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    """The fork has a copy of all jobs that wait in the process; it must not run them as well."""
    sheet = tmp_path / "sheet"
    queue.enqueue("returns-twice", job_id="forks", max_attempts=1, priority=1)
    for number in range(3):
        queue.enqueue("signs", str(sheet), job_id=f"s{number}", max_attempts=1)
    assert crew.run("--isolation", "thread", tasks="tempers", slots=1) == 0
    assert crew.result("forks") == "of the attempt"
    assert sorted(sheet.read_text().split()) == ["s0", "s1", "s2"]


def test_a_thread_whose_error_cannot_be_told_ends_its_attempt_and_goes_on(
    crew: Crewed, queue: jobctl.Queue
) -> None:
    queue.enqueue("untellable", job_id="u1", max_attempts=1, priority=1)
    queue.enqueue("fine", job_id="f1", max_attempts=1)
    assert crew.run("--isolation", "thread", tasks="tempers", slots=1) == 0
    assert crew.shown("u1")["error"] == "the handler raised what cannot be told"
    assert crew.job("f1").status == "completed"


def test_a_process_of_threads_has_ended_also_where_a_fork_of_a_handler_holds_its_channel(
    crew: Crewed, queue: jobctl.Queue
) -> None:
    queue.enqueue("leaves-a-fork-and-dies", job_id="dies", max_attempts=1)
    assert crew.run("--isolation", "thread", tasks="tempers", slots=1) == 0
    assert crew.shown("dies")["error"].startswith("killed by SIGKILL, peak ")


FORKS_WHILE_ANOTHER_THREAD_TELLS = """
import os, signal, socket
from jobctl.model.attempts import AttemptId
from jobctl.runner.attempt import Attempt
from jobctl.runner.link import WorkerLink

ours, theirs = socket.socketpair()
link = WorkerLink(theirs)
attempt = Attempt(AttemptId("j", 1), "t", None, link, "nowhere")
with link._sending, attempt._telling:
    if os.fork() == 0:
        signal.alarm(20)
        attempt.progress(0.5)
        os._exit(0)
theirs.close()
print(ours.recv(100))
"""


def test_a_fork_may_tell_though_another_thread_was_telling_as_it_was_made() -> None:
    script = [sys.executable, "-c", FORKS_WHILE_ANOTHER_THREAD_TELLS]
    told = subprocess.run(script, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "progress" in told


@pytest.mark.parametrize("isolation", ["process", "thread"])
@pytest.mark.parametrize("victim", ["worker", "forkserver"])
def test_what_handlers_started_does_not_outlive_their_worker_or_their_crew(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path, victim: str, isolation: str
) -> None:
    """Neither what began a session of its own, nor what was given an empty environment."""
    queue.enqueue("starts-a-program", str(tmp_path), job_id="s1")
    worker = crew.start("--isolation", isolation, tasks="tempers")
    crew.until((tmp_path / "pids").exists)
    *programs, forkserver = map(int, (tmp_path / "pids").read_text().split())
    os.kill(worker.pid if victim == "worker" else forkserver, signal.SIGKILL)
    crew.until(lambda: not any(map(is_running, programs)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_forks_that_outlive_their_handlers_hang_nowhere_and_end_with_their_worker(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path, number: signal.Signals
) -> None:
    """Four threads fork at once: what one holds locked just then is locked in the forks of the others."""
    names = [f"f{each}" for each in range(4)]
    for name in names:
        queue.enqueue("leaves-a-fork", {"place": str(tmp_path), "at_once": 4}, job_id=name, max_attempts=1)
    worker = crew.start("--isolation", "thread", tasks="tempers", slots=4)
    assert {crew.until_ended(name).status for name in names} == {"completed"}
    crew.until(lambda: all((tmp_path / f"{name}.told").exists() for name in names))
    forks = [crew.result(name) for name in names]
    assert all(map(is_running, forks))
    worker.send_signal(number)
    assert worker.wait(timeout=120) in {0, -signal.SIGKILL}
    crew.until(lambda: not any(map(is_running, forks)))


def test_marks_tell_which_were_begun_and_which_were_not_ended() -> None:
    marks = make_marks(3)
    marks.begin(0, 1)
    marks.begin(1, 2)
    marks.end(0, 1)
    marks.begin(0, 3)
    assert (marks.last_begun(), marks.running()) == (3, {2, 3})
    marks.close()


ENDS_BEFORE_ITS_GROUP_IS_SIGNALLED = """
import os, socket
from jobctl.model.attempts import AttemptId
from jobctl.runner import forkserver

def note(pid, number):
    with open(f"/proc/{pid}/stat") as file:
        print(file.read().rpartition(")")[2].split()[0])

control, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
forks = forkserver.Forks(control, {})
forkserver._signal_group = note
pid = os.fork() or os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
forks._children[pid] = forkserver._Child(AttemptId("j", 1), "nowhere", 0)
forks._reap()
print(told.recv(1000).decode())
"""


def test_what_an_ended_attempt_left_is_killed_while_its_number_is_still_its_own() -> None:
    """Signalled once it was waited for, the number may be somebody else's process."""
    said = subprocess.run(
        [sys.executable, "-c", ENDS_BEFORE_ITS_GROUP_IS_SIGNALLED], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert said[0] == "Z", "it is a zombie: nobody has its number"
    assert json.loads(said[1])[:4] == ["exited", "j", 1, 0]
