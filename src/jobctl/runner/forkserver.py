"""The program that runs handlers, so that a worker never does: ``python -m jobctl.runner.forkserver``.

It imports the handler modules once. With process isolation it forks one child for each attempt
and reports how each ended; with thread isolation it runs attempts in threads of its own. It holds
no connection to the store. When its worker goes, however that ended, what it started ends too.
"""

from __future__ import annotations

import json
import os
import queue
import selectors
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, NamedTuple, NoReturn

from jobctl import clock
from jobctl.model.attempts import AttemptId
from jobctl.runner import limits
from jobctl.runner.attempt import Attempt
from jobctl.runner.channel import Message, encode
from jobctl.runner.handling import run
from jobctl.runner.link import WorkerLink
from jobctl.runner.marks import Marks
from jobctl.runner.scratch import remove
from jobctl.runner.tasks import Loaded, Task, load_tasks
from jobctl.work import TaskSpec, Work

LARGEST_ORDER = 1 << 16
"""Bytes of one message on the control socket of a forkserver that forks."""

_LONGEST_TROUBLE = 2_000
_RESULTS_AT_ONCE = 128
_RESULTS_WITHIN_S = 0.004


def main(arguments: list[str]) -> NoReturn:
    """Serve a worker on the inherited socket that the first argument numbers."""
    limits.die_with_parent()
    limits.adopt_orphans()
    # The worker alone decides when work ends; a signal for the whole group must not.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control, setup = socket.socket(fileno=int(arguments[0])), json.loads(arguments[1])
    if setup["threads"]:
        limits.guard(setup["worker"], bearing=setup["bearing"])
    overrides = {name: _with_vector(fields) for name, fields in setup["overrides"].items()}
    loaded = load_tasks(setup["modules"], Work(overrides=overrides))
    try:
        for message in _introduction(loaded):
            control.sendall(encode(message))
    except OSError:
        # The worker ended while the handlers were imported.
        sys.exit(0)
    if setup["threads"]:
        marks = Marks(setup["marks"], setup["threads"])
        Threads(WorkerLink(control), loaded.tasks, marks, setup["threads"]).serve()
    Forks(control, loaded.tasks).serve()


def spec_from_json(spec: Mapping[str, Any]) -> dict[str, TaskSpec]:
    """A task by its name, as the introduction tells of it."""
    return {spec["name"]: TaskSpec(**_with_vector(spec))}


def _introduction(loaded: Loaded) -> Iterator[Message]:
    """What was found: a message for each, since one has to fit into a packet."""
    for task in loaded.tasks.values():
        yield ["task", asdict(task.spec)]
    for trouble in loaded.troubles:
        yield ["trouble", trouble[:_LONGEST_TROUBLE]]
    yield ["ready"]


def _with_vector(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    command = fields.get("command")
    return {**fields, "command": tuple(command) if command else None}


class Forks:
    """One child process for each attempt."""

    def __init__(self, control: socket.socket, tasks: Mapping[str, Task]) -> None:
        self._control = control
        self._tasks = tasks
        self._children: dict[int, _Child] = {}
        # A module may have started processes as it was imported: they are no attempt's.
        self._known = frozenset(limits.strays())

    def serve(self) -> NoReturn:
        """Obey orders until the worker goes, and then end what runs: killed with it, this could not."""
        limits.outlive_parent()
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(reading, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._control:
                        self._obey()
                    else:
                        with suppress(BlockingIOError):
                            os.read(reading, 512)
                self._reap()

    def _obey(self) -> None:
        try:
            order, fds, _, _ = socket.recv_fds(self._control, LARGEST_ORDER, 1)
        except OSError:
            order, fds = b"", []
        if not order:
            self._end()
        what, *rest = json.loads(order)
        if what == "fork":
            self._fork(rest, fds[0])
        elif what == "signal":
            self._signal(AttemptId(rest[0], rest[1]), rest[2])

    def _fork(self, order: list[Any], fd: int) -> None:
        job_id, attempt, kind, scratch = order
        kills = limits.oom_kills()
        try:
            pid = os.fork()
        except OSError as error:
            # Out of processes or memory: that is nothing a job could be blamed for.
            self._tell(["not-begun", job_id, attempt, f"no process could be made for it: {error.strerror}"])
            os.close(fd)
            return
        if pid == 0:
            self._become_attempt(AttemptId(job_id, attempt), kind, scratch, fd)
        os.close(fd)
        self._children[pid] = _Child(AttemptId(job_id, attempt), scratch, kills)

    def _become_attempt(self, of: AttemptId, kind: str, scratch: str, fd: int) -> NoReturn:
        """Run one attempt in this process, which was just made for it."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            limits.die_with_parent()
            limits.adopt_orphans()
            self._control.close()
            _run_alone(self._tasks[kind], of, scratch, socket.socket(fileno=fd))
        finally:
            os._exit(1)

    def _signal(self, of: AttemptId, number: int) -> None:
        for pid, child in self._children.items():
            if child.of == of:
                _signal_group(pid, number)

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            child = self._children.pop(ended.si_pid, None)
            if child is not None:
                # Whatever it left running ends with it. Until it is waited for, its number is nobody else's.
                _signal_group(ended.si_pid, signal.SIGKILL)
            _, status, usage = os.wait4(ended.si_pid, 0)
            # Also what left its group: it was left to this process. So were the children of one that was.
            limits.kill(limits.strays({*self._children, *self._known}))
            if child is not None:
                was_oom = limits.oom_kills() > child.oom_kills
                # What it could not remove itself. It may be much: its worker would not beat for as long.
                remove(child.scratch)
                self._tell(["exited", *child.of, status, usage.ru_maxrss * 1024, was_oom])

    def _tell(self, message: Message) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            self._end()

    def _end(self) -> NoReturn:
        for pid in self._children:
            _signal_group(pid, signal.SIGKILL)
        if left := limits.end_strays(self._known):
            with suppress(OSError):
                os.write(sys.stderr.fileno(), f"{limits.said_of_left(left)}\n".encode())
        os._exit(0)


class _Child(NamedTuple):
    """An attempt that runs, and how many processes the kernel had killed for memory when it began."""

    of: AttemptId
    scratch: str
    oom_kills: int


def _signal_group(pid: int, number: int) -> None:
    """Signal an attempt and all it started; alone, where it has not made its group yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _run_alone(task: Task, of: AttemptId, scratch: str, end: socket.socket) -> NoReturn:
    """Run one attempt, its handler in the main thread, and end the process with it."""
    link = WorkerLink(end)
    _, payload = link.next_message()
    limits.restrict(memory=task.spec.memory, processes=task.spec.processes)
    attempt = Attempt(of, task.name, payload, link, scratch)

    def handle(message: Message) -> None:
        if message[0] == "stop":
            attempt.ask_to_stop()

    threading.Thread(target=link.read, args=(handle,), daemon=True).start()
    pid = os.getpid()
    outcome = run(task, attempt)
    for stream in (sys.stdout, sys.stderr):
        # A handler may have put anything in its place.
        with suppress(Exception):
            stream.flush()
    # A handler that forked may return in both processes: the attempt is the first one's.
    if os.getpid() == pid:
        link.tell([outcome[0], *of, *outcome[1:]])
        attempt.clean_up()
    os._exit(0)


class Threads:
    """Many attempts in threads of this process: for small work. What one of them breaks is broken for all."""

    def __init__(self, link: WorkerLink, tasks: Mapping[str, Task], marks: Marks, slots: int) -> None:
        self._link = link
        self._tasks = tasks
        self._marks = marks
        self._waiting: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self._running: dict[AttemptId, Attempt] = {}
        self._to_stop: set[AttemptId] = set()
        self._results: deque[Message] = deque()
        self._has_results = threading.Event()
        self._slots = slots

    def serve(self) -> NoReturn:
        """Obey orders until the worker goes."""
        for thread in range(self._slots):
            threading.Thread(target=self._work_for_ever, args=(thread,), daemon=True).start()
        threading.Thread(target=self._send_late_results, daemon=True).start()
        self._link.read(self._obey)

    def _obey(self, message: Message) -> None:
        what = message[0]
        if what == "run":
            for order in message[1]:
                self._waiting.put(order)
        elif what == "stop":
            of = AttemptId(message[1], message[2])
            # Noted first: one that is just being begun looks there after it was put among those that run.
            self._to_stop.add(of)
            running = self._running.get(of)
            if running is not None:
                running.ask_to_stop()
        elif what == "recall":
            self._recall()

    def _recall(self) -> None:
        """Give back what was not begun."""
        recalled = []
        with suppress(queue.Empty):
            while True:
                _, job_id, attempt, *_ = self._waiting.get_nowait()
                recalled.append([job_id, attempt])
        self._link.tell(["recalled", recalled])

    def _work_for_ever(self, thread: int) -> NoReturn:
        try:
            self._work(thread)
        finally:
            # Its attempt would seem to run for ever, and its slot be gone.
            os._exit(1)

    def _work(self, thread: int) -> None:
        pid = os.getpid()
        while True:
            order, job_id, number, kind, payload, scratch = self._waiting.get()
            self._marks.begin(thread, order)
            of = AttemptId(job_id, number)
            attempt = Attempt(of, kind, payload, self._link, scratch)
            self._running[of] = attempt
            if of in self._to_stop:
                attempt.ask_to_stop()
            outcome = run(self._tasks[kind], attempt)
            if os.getpid() != pid:
                # A handler that forked returned in both processes: this one has a copy of all that waits.
                os._exit(0)
            attempt.clean_up()
            del self._running[of]
            self._to_stop.discard(of)
            self._results.append([outcome[0], job_id, number, *outcome[1:]])
            self._marks.end(thread, order)
            # At the end of a batch at once; within one, a few at a time.
            if self._waiting.empty() or len(self._results) >= _RESULTS_AT_ONCE:
                self._send_results()
            else:
                self._has_results.set()

    def _send_late_results(self) -> None:
        while True:
            self._has_results.wait()
            clock.sleep(_RESULTS_WITHIN_S)
            self._has_results.clear()
            self._send_results()

    def _send_results(self) -> None:
        results = []
        with suppress(IndexError):
            while True:
                results.append(self._results.popleft())
        if results:
            self._link.tell(["results", results])


if __name__ == "__main__":
    main(sys.argv[1:])
