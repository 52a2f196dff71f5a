"""A worker's handle on the program that runs its handlers: start attempts, stop them, hear how they end."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from jobctl.core.settling import Died, Ending, NotBegun, Raised, Returned
from jobctl.model.attempts import AttemptId, Claim
from jobctl.runner.channel import Channel, ChannelBroken, Message
from jobctl.runner.forkserver import LARGEST_ORDER, specs_from_json
from jobctl.work import TaskSpec, Work


class Ended(NamedTuple):
    """An attempt ended."""

    of: AttemptId
    ending: Ending


class Told(NamedTuple):
    """An attempt said something; where ``number`` is set it waits for an answer."""

    of: AttemptId
    what: str
    number: int | None
    words: list[Any]


Report = Ended | Told


class Setup(NamedTuple):
    """What a crew is started with."""

    modules: tuple[str, ...]
    work: Work
    slots: int
    scratch: str


class Crew(Protocol):
    """Runs attempts. Nothing an attempt does reaches the worker but as a report."""

    specs: Mapping[str, TaskSpec]
    troubles: Sequence[str]
    is_ready: bool
    is_over: bool

    def start(self, claims: Sequence[Claim]) -> None:
        """Begin attempts, or keep them until a slot is free."""

    def reports(self) -> list[Report]:
        """What happened since the last call."""

    def answer(self, of: AttemptId, number: int, kind: str, value: Any) -> None:
        """Answer what an attempt asked."""

    def ask_to_stop(self, of: AttemptId) -> None:
        """Let the handler know that it should stop."""

    def signal(self, of: AttemptId, number: int) -> None:
        """Signal an attempt and all it started."""

    def recall(self) -> None:
        """Have everything that was not begun reported as not begun."""

    def kill(self) -> None:
        """End all of it, at once."""


def open_crew(setup: Setup, isolation: str, selector: selectors.BaseSelector) -> Crew:
    """Start the program that runs the handlers."""
    made: Crew = ProcessCrew(setup, selector) if isolation == "process" else ThreadCrew(setup, selector)
    return made


def _launch(setup: Setup, end: socket.socket, threads: int) -> subprocess.Popen[bytes]:
    overrides = {name: dict(fields) for name, fields in setup.work.overrides.items()}
    words = {"modules": setup.modules, "overrides": overrides, "threads": threads}
    return subprocess.Popen(
        [sys.executable, "-m", "jobctl.runner.forkserver", str(end.fileno()), json.dumps(words)],
        pass_fds=[end.fileno()],
        stdin=subprocess.DEVNULL,
        # A key pressed at the terminal is for the worker, which tells the attempts itself.
        start_new_session=True,
    )


@dataclass(slots=True)
class _Child:
    """One forked attempt: its channel, and how it said it ended."""

    channel: Channel
    outcome: Ending | None = None


class ProcessCrew:
    """One child process for each attempt, forked from a program that has the handlers imported."""

    def __init__(self, setup: Setup, selector: selectors.BaseSelector) -> None:
        self.specs: Mapping[str, TaskSpec] = {}
        self.troubles: Sequence[str] = ()
        self.is_ready = False
        self.is_over = False
        self._setup = setup
        self._selector = selector
        self._waiting: list[Claim] = []
        self._children: dict[AttemptId, _Child] = {}
        self._found: list[Report] = []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        self._control = ours
        with theirs:
            self._process = _launch(setup, theirs, 0)
        selector.register(ours, selectors.EVENT_READ)

    def start(self, claims: Sequence[Claim]) -> None:
        self._waiting += claims
        self._fill()

    def reports(self) -> list[Report]:
        self._listen_to_forkserver()
        for of, child in list(self._children.items()):
            self._listen(of, child)
        self._fill()
        found, self._found = self._found, []
        return found

    def answer(self, of: AttemptId, number: int, kind: str, value: Any) -> None:
        if of in self._children:
            self._send(self._children[of], ["answer", number, kind, value])

    def ask_to_stop(self, of: AttemptId) -> None:
        if of in self._children:
            self._send(self._children[of], ["stop"])
        else:
            self._drop(lambda claim: claim.id == of, "it was asked to stop before it began")

    def signal(self, of: AttemptId, number: int) -> None:
        self._order(["signal", *of, number])

    def recall(self) -> None:
        self._drop(lambda _: True, "its worker was asked to stop")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._lose_all()

    def _fill(self) -> None:
        while (
            self._waiting and self.is_ready and not self.is_over and len(self._children) < self._setup.slots
        ):
            self._fork(self._waiting.pop(0))

    def _fork(self, claim: Claim) -> None:
        ours, theirs = socket.socketpair()
        scratch = scratch_of(self._setup.scratch, claim.id)
        with theirs:
            try:
                order = json.dumps(["fork", *claim.id, claim.kind, scratch]).encode()
                socket.send_fds(self._control, [order], [theirs.fileno()])
            except OSError:
                # Full or gone: what it was about to be told is tried again, or reported as lost.
                ours.close()
                self._waiting.insert(0, claim)
                self._over_if_gone()
                return
        child = _Child(Channel(ours))
        self._children[claim.id] = child
        self._selector.register(child.channel, selectors.EVENT_READ)
        self._send(child, ["run", claim.payload])

    def _send(self, child: _Child, message: Message) -> None:
        child.channel.send(message)
        self._watch(child)

    def _watch(self, child: _Child) -> None:
        """Hear of it when the other end can take more."""
        if child.channel.is_open:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.channel.wants_to_write else 0)
            self._selector.modify(child.channel, wanted)

    def _listen(self, of: AttemptId, child: _Child) -> None:
        channel = child.channel
        if not channel.is_open:
            return
        channel.flush()
        try:
            for message in channel.receive():
                self._hear(of, child, message)
        except (ChannelBroken, IndexError, TypeError, ValueError):
            child.outcome = Raised(
                "its process wrote what is no message to its worker", "died", "", is_final=False
            )
            self.signal(of, signal.SIGKILL)
        if channel.is_open:
            self._watch(child)
        else:
            self._selector.unregister(channel)
            channel.close()

    def _hear(self, of: AttemptId, child: _Child, message: Message) -> None:
        ending = ending_in(message)
        if ending is not None:
            child.outcome = ending
        else:
            self._found.append(told_in(of, message))

    def _listen_to_forkserver(self) -> None:
        while True:
            try:
                words = self._control.recv(LARGEST_ORDER)
            except BlockingIOError:
                break
            except OSError:
                words = b""
            if not words:
                self._over_if_gone()
                break
            self._obey(json.loads(words))

    def _obey(self, message: Message) -> None:
        if message[0] == "ready":
            self.specs, self.troubles = specs_from_json(message[1]), message[2]
            self.is_ready = True
        elif message[0] == "exited":
            job_id, attempt, status, peak, was_oom = message[1:]
            self._end(AttemptId(job_id, attempt), _death(status, peak, was_oom=was_oom))

    def _end(self, of: AttemptId, death: Ending) -> None:
        child = self._children.get(of)
        if child is None:
            return
        # What it said last may lie unread still.
        self._listen(of, child)
        if child.channel.is_open:
            self._selector.unregister(child.channel)
            child.channel.close()
        del self._children[of]
        shutil.rmtree(scratch_of(self._setup.scratch, of), ignore_errors=True)
        self._found.append(Ended(of, child.outcome or death))

    def _drop(self, condition: Callable[[Claim], bool], why: str) -> None:
        dropped = [claim for claim in self._waiting if condition(claim)]
        self._waiting = [claim for claim in self._waiting if claim not in dropped]
        self._found += [Ended(claim.id, NotBegun(why)) for claim in dropped]

    def _order(self, order: list[Any]) -> None:
        with suppress(OSError):
            self._control.send(json.dumps(order).encode())

    def _over_if_gone(self) -> None:
        if self._process.poll() is not None or self._is_closed():
            self._process.kill()
            self._process.wait()
            self._lose_all()

    def _is_closed(self) -> bool:
        try:
            return self._control.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _lose_all(self) -> None:
        if self.is_over:
            return
        self.is_over, self.is_ready = True, False
        self._selector.unregister(self._control)
        self._control.close()
        for of in list(self._children):
            self._end(of, Died("SIGKILL", 0, 0, was_oom=False))
        self._drop(lambda _: True, "the process that runs handlers ended")


class ThreadCrew:
    """All attempts in threads of one process: what ends that process ends all of them."""

    def __init__(self, setup: Setup, selector: selectors.BaseSelector) -> None:
        self.specs: Mapping[str, TaskSpec] = {}
        self.troubles: Sequence[str] = ()
        self.is_ready = False
        self.is_over = False
        self._setup = setup
        self._selector = selector
        self._orders: list[list[Any]] = []
        # In the order in which they begin: the first ones, as many as there are threads, may have begun.
        self._running: dict[AttemptId, None] = {}
        self._found: list[Report] = []
        self._victim: AttemptId | None = None
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        with theirs:
            self._process = _launch(setup, theirs, setup.slots)
        selector.register(self._channel, selectors.EVENT_READ)

    def start(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            scratch = scratch_of(self._setup.scratch, claim.id)
            self._running[claim.id] = None
            self._orders.append([*claim.id, claim.kind, claim.payload, scratch])
        self._send_orders()

    def reports(self) -> list[Report]:
        self._listen()
        found, self._found = self._found, []
        return found

    def answer(self, of: AttemptId, number: int, kind: str, value: Any) -> None:
        del of  # numbers are unique in one process
        self._send(["answer", number, kind, value])

    def ask_to_stop(self, of: AttemptId) -> None:
        self._send(["stop", *of])

    def signal(self, of: AttemptId, number: int) -> None:
        """Threads take no signals: what has to be killed takes the others with it, who are given back."""
        if number == signal.SIGKILL and of in self._running:
            self._victim = of
            self.kill()

    def recall(self) -> None:
        self._send_orders()
        self._send(["recall"])

    def kill(self) -> None:
        self._process.kill()
        self._lose_all()

    def _send_orders(self) -> None:
        if self._orders and self.is_ready:
            orders, self._orders = self._orders, []
            self._send(["run", orders])

    def _send(self, message: Message) -> None:
        if not self.is_over:
            self._channel.send(message)
            self._watch()

    def _watch(self) -> None:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._channel.wants_to_write else 0)
        self._selector.modify(self._channel, wanted)

    def _listen(self) -> None:
        if self.is_over:
            return
        self._channel.flush()
        try:
            for message in self._channel.receive():
                self._hear(message)
        except (ChannelBroken, IndexError, TypeError, ValueError):
            self.kill()
            return
        if self._channel.is_open:
            self._watch()
        else:
            self._lose_all()

    def _hear(self, message: Message) -> None:
        what = message[0]
        if what == "results":
            for result in message[1]:
                self._end(AttemptId(result[1], result[2]), ending_in([result[0], *result[1:]]))
        elif what == "recalled":
            for job_id, attempt in message[1]:
                self._end(AttemptId(job_id, attempt), NotBegun("its worker was asked to stop"))
        elif what == "ready":
            self.specs, self.troubles = specs_from_json(message[1]), message[2]
            self.is_ready = True
            self._send_orders()
        else:
            self._found.append(told_in(AttemptId(message[1], message[2]), message))

    def _end(self, of: AttemptId, ending: Ending | None) -> None:
        if of in self._running and ending is not None:
            del self._running[of]
            self._found.append(Ended(of, ending))

    def _lose_all(self) -> None:
        if self.is_over:
            return
        self.is_over, self.is_ready = True, False
        self._selector.unregister(self._channel)
        self._channel.close()
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        death = _death(status, usage.ru_maxrss * 1024, was_oom=False)
        for place, of in enumerate(list(self._running)):
            has_begun = place < self._setup.slots and self._victim in {None, of}
            self._end(of, death if has_begun else NotBegun("the process it was to run in ended"))


def scratch_of(base: str, of: AttemptId) -> str:
    """The scratch directory of an attempt; no job id can lead out of the base."""
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in of.job_id)
    return os.path.join(base, f"{name[:100]}.{of.attempt}")


def ending_in(message: Message) -> Ending | None:
    """How an attempt says it ended, where the message says that."""
    what, _, _, *words = message
    if what == "done":
        return Returned(words[0])
    if what == "failed":
        error, code, traceback, is_final = words
        return Raised(str(error), str(code), str(traceback), is_final=bool(is_final))
    return None


def told_in(of: AttemptId, message: Message) -> Told:
    """What else it says."""
    what, _, _, *words = message
    if what == "progress":
        return Told(of, what, None, words)
    return Told(of, what, int(words[0]), words[1:])


def _death(status: int, peak: int, *, was_oom: bool) -> Died:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return Died(None, code, peak, was_oom=was_oom)
    return Died(signal.Signals(-code).name, 0, peak, was_oom=was_oom)
