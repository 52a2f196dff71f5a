"""A worker's handle on the program that runs its handlers: start attempts, stop them, hear how they end."""

from __future__ import annotations

import json
import math
import os
import secrets
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

from jobctl.core.settling import Died, Ending, Lost, NotBegun, Raised, Returned
from jobctl.model.attempts import AttemptId, Claim
from jobctl.model.storable import storable_text
from jobctl.runner import limits
from jobctl.runner.attempt import as_file_name
from jobctl.runner.channel import Channel, ChannelBroken, Message
from jobctl.runner.forkserver import LARGEST_ORDER, spec_from_json
from jobctl.runner.link import WORKER_IS_GONE
from jobctl.runner.marks import Marks, make_marks
from jobctl.runner.systemd import VARIABLES
from jobctl.work import TaskSpec, Work

MARK = ("JOBCTL_CREW", secrets.token_hex(8))
"""A variable that all processes of this worker's crews have in their environment, and its value."""

_WORDS = {"place": 2, "room": 1, "offer": 4, "published": 6, "withdraw": 1, "artifact": 4}
"""What an attempt may ask, and how many words belong to it."""

_NO_MESSAGE = (ChannelBroken, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of reading what a handler wrote into the channel of its process."""

_LONGEST_NOTE = 2_000
_PAUSE_S = 5.0
_END_WITHIN_S = 1.0

_BABBLED = Raised("its process wrote what is no message to its worker", "died", "", is_final=False)
_HUNG_UP = Raised(
    "its process lost its channel to its worker: its handler closed it", "died", "", is_final=False
)
_FOR_ANOTHER = "the process it ran in was ended for another attempt"


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

    @property
    def pid(self) -> int:
        """The process that the attempts are run by, or in."""

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

    def recall(self, why: str) -> None:
        """Have everything that was not begun reported as not begun, for that reason."""

    def kill(self) -> None:
        """End all of it, at once."""


def open_crew(setup: Setup, isolation: str, selector: selectors.BaseSelector) -> Crew:
    """Start the program that runs the handlers."""
    made: Crew = ProcessCrew(setup, selector) if isolation == "process" else ThreadCrew(setup, selector)
    return made


def _launch(setup: Setup, end: socket.socket, marks: Marks | None = None) -> subprocess.Popen[bytes]:
    overrides = {name: dict(fields) for name, fields in setup.work.overrides.items()}
    threads = {"threads": setup.slots, "marks": marks.fd} if marks else {"threads": 0}
    words = {"modules": setup.modules, "overrides": overrides, **threads}
    return subprocess.Popen(
        [sys.executable, "-m", "jobctl.runner.forkserver", str(end.fileno()), json.dumps(words)],
        pass_fds=[end.fileno(), *([marks.fd] if marks else [])],
        stdin=subprocess.DEVNULL,
        env={**{name: value for name, value in os.environ.items() if name not in VARIABLES}, **dict([MARK])},
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
            self._process = _launch(setup, theirs)
        selector.register(ours, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        return self._process.pid

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

    def recall(self, why: str) -> None:
        self._drop(lambda _: True, why)

    def kill(self) -> None:
        if self.is_over:
            return
        # It ends once nobody listens to it, and ends all it started first; unless it is stuck.
        self._selector.unregister(self._control)
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_WITHIN_S)
        self._lose_all()

    def _fill(self) -> None:
        while self._waiting and self.is_ready and len(self._children) < self._setup.slots:
            if not self._fork(self._waiting[0]):
                break

    def _fork(self, claim: Claim) -> bool:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            del self._waiting[0]
            why = f"no channel could be made for it: {error.strerror}"
            self._found.append(Ended(claim.id, NotBegun(why, _PAUSE_S)))
            return True
        scratch = scratch_of(self._setup.scratch, claim.id)
        with theirs:
            try:
                order = json.dumps(["fork", *claim.id, claim.kind, scratch]).encode()
                socket.send_fds(self._control, [order], [theirs.fileno()])
            except OSError:
                # Full or gone: what it was about to be told is tried again, or reported as lost.
                ours.close()
                self._over_if_gone()
                return False
        del self._waiting[0]
        child = _Child(Channel(ours))
        self._children[claim.id] = child
        self._selector.register(child.channel, selectors.EVENT_READ)
        self._send(child, ["run", claim.payload])
        return True

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
        except _NO_MESSAGE:
            child.outcome = child.outcome or _BABBLED
            self.signal(of, signal.SIGKILL)
        if channel.is_open:
            self._watch(child)
        else:
            self._selector.unregister(channel)
            channel.close()

    def _hear(self, of: AttemptId, child: _Child, message: Message) -> None:
        ending = ending_in(message)
        if ending is None:
            self._found.append(told_in(of, message))
        # The first one counts: an attempt ends once.
        child.outcome = child.outcome or ending

    def _listen_to_forkserver(self) -> None:
        while not self.is_over:
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
        if message[0] in {"task", "trouble", "ready"}:
            _note_loaded(self, message)
        elif message[0] == "exited":
            job_id, attempt, status, peak, was_oom = message[1:]
            self._end(AttemptId(job_id, attempt), _death(status, peak, was_oom=was_oom))
        elif message[0] == "not-begun":
            job_id, attempt, why = message[1:]
            self._end(AttemptId(job_id, attempt), NotBegun(why, _PAUSE_S))

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
            self._selector.unregister(self._control)
            self._control.close()
            self._lose_all()

    def _is_closed(self) -> bool:
        try:
            return self._control.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _lose_all(self) -> None:
        self.is_over, self.is_ready = True, False
        self._process.kill()
        self._process.wait()
        for of in list(self._children):
            self._end(of, Lost("was killed"))
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
        self._given = 0
        # Each with its number, in the order in which they were given to the process.
        self._running: dict[AttemptId, int] = {}
        self._found: list[Report] = []
        self._victim: AttemptId | None = None
        self._recalled_for = ""
        self._oom_kills = limits.oom_kills()
        self._marks = make_marks(setup.slots)
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        with theirs:
            self._process = _launch(setup, theirs, self._marks)
        selector.register(self._channel, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._given += 1
            scratch = scratch_of(self._setup.scratch, claim.id)
            self._running[claim.id] = self._given
            self._orders.append([self._given, *claim.id, claim.kind, claim.payload, scratch])
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

    def recall(self, why: str) -> None:
        self._recalled_for = why
        self._send_orders()
        self._send(["recall"])

    def kill(self) -> None:
        if not self.is_over:
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
        except _NO_MESSAGE:
            self._lose_all(_BABBLED)
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
                self._end(AttemptId(job_id, attempt), NotBegun(self._recalled_for))
        elif what in {"task", "trouble", "ready"}:
            _note_loaded(self, message)
            self._send_orders()
        else:
            self._found.append(told_in(AttemptId(message[1], message[2]), message))

    def _end(self, of: AttemptId, ending: Ending | None) -> None:
        if of in self._running and ending is not None:
            del self._running[of]
            self._found.append(Ended(of, ending))

    def _lose_all(self, why: Ending | None = None) -> None:
        self.is_over, self.is_ready = True, False
        self._selector.unregister(self._channel)
        self._channel.close()
        # Whoever hung up may go on: it must not. One that is ending already keeps how it ends, and
        # is not polled, as ``Popen.kill`` does, which would take that.
        os.kill(self._process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        was_oom = limits.oom_kills() > self._oom_kills
        death = why or _death(status, usage.ru_maxrss * 1024, was_oom=was_oom)
        last_begun = self._marks.last_begun()
        begun = frozenset(number for number in self._running.values() if number <= last_begun)
        # Where none was at work, one whose end was not heard any more.
        suspects = self._marks.running() or begun
        for of, number in list(self._running.items()):
            if number > last_begun:
                self._end(of, NotBegun("the process it was to run in ended"))
            elif self._victim is not None:
                self._end(of, death if of == self._victim else NotBegun(_FOR_ANOTHER))
            else:
                self._end(of, death if suspects == {number} else Lost(_how_ended(status)))
            shutil.rmtree(scratch_of(self._setup.scratch, of), ignore_errors=True)
        self._marks.close()


def _note_loaded(crew: Crew, message: Message) -> None:
    """Note a task that was found, or a trouble in finding it; after the last one the crew is ready."""
    what, *words = message
    if crew.is_ready:
        raise ValueError("handlers are imported once")
    if what == "task":
        crew.specs = {**crew.specs, **spec_from_json(words[0])}
    elif what == "trouble":
        crew.troubles = [*crew.troubles, str(words[0])]
    else:
        crew.is_ready = True


def scratch_of(base: str, of: AttemptId) -> str:
    """The scratch directory of an attempt; no job id can lead out of the base."""
    return os.path.join(base, f"{as_file_name(of.job_id)}.{of.attempt}")


def ending_in(message: Message) -> Ending | None:
    """How an attempt says it ended, where the message says that."""
    what, _, _, *words = message
    if what == "done":
        (result,) = words
        if not isinstance(result, str | None):
            raise TypeError("a result is JSON text")
        return Returned(result)
    if what == "failed":
        error, code, traceback, is_final = words
        return Raised(str(error), str(code), str(traceback), is_final=bool(is_final))
    return None


def told_in(of: AttemptId, message: Message) -> Told:
    """What else it says. Raises ``ValueError`` for what no attempt says, whatever handler wrote it."""
    what, _, _, *words = message
    if what == "progress":
        return Told(of, what, None, _progress(*words))
    number, *words = words
    if type(number) is not int or len(words) != _WORDS.get(str(what)):
        raise ValueError(f"no attempt says {what!r} like this")
    return Told(of, what, number, words)


def _progress(percent: Any, note: Any) -> list[Any]:
    said = None if note is None else storable_text(str(note)[:_LONGEST_NOTE])
    if not math.isfinite(percent):
        raise ValueError("progress is a number")
    return [float(percent), said]


def _how_ended(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"


def _death(status: int, peak: int, *, was_oom: bool) -> Ending:
    code = os.waitstatus_to_exitcode(status)
    if code == WORKER_IS_GONE:
        return _HUNG_UP
    if code >= 0:
        return Died(None, code, peak, was_oom=was_oom)
    return Died(signal.Signals(-code).name, 0, peak, was_oom=was_oom)
