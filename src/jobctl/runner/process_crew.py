"""A crew whose attempts are processes of their own: what ends one costs no other."""

from __future__ import annotations

import json
import selectors
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jobctl.core.settling import Ending, Lost, NotBegun
from jobctl.model.attempts import AttemptId, Claim
from jobctl.runner.channel import Channel, Message
from jobctl.runner.crew import (
    BABBLED,
    NO_MESSAGE,
    Ended,
    Report,
    Setup,
    death_of,
    ending_in,
    launch,
    note_loaded,
    scratch_of,
    told_in,
)
from jobctl.runner.forkserver import LARGEST_ORDER
from jobctl.runner.scratch import remove
from jobctl.work import TaskSpec

_PAUSE_S = 5.0
_END_WITHIN_S = 1.0
_ENDED = "the process that runs handlers ended"
_NOT_TO_BEGIN = "it was asked to stop before it began"


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
        self.setup = setup
        self._selector = selector
        self._waiting: list[Claim] = []
        self._children: dict[AttemptId, _Child] = {}
        self._found: list[Report] = []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        self._control = ours
        with theirs:
            self._process = launch(setup, theirs)
        self.pid = self._process.pid
        selector.register(ours, selectors.EVENT_READ)

    def start(self, claims: Sequence[Claim]) -> None:
        self._waiting += claims
        if self.is_over:
            self._drop(lambda _: True, _ENDED)
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
            self._drop(lambda claim: claim.id == of, _NOT_TO_BEGIN)

    def signal(self, of: AttemptId, number: int) -> None:
        self._drop(lambda claim: claim.id == of, _NOT_TO_BEGIN)
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
        while self._waiting and self.is_ready and len(self._children) < self.setup.slots:
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
        scratch = scratch_of(self.setup.scratch, claim.id)
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
        except NO_MESSAGE:
            child.outcome = child.outcome or BABBLED
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
            note_loaded(self, message)
        elif message[0] == "exited":
            job_id, attempt, status, peak, was_oom = message[1:]
            self._end(AttemptId(job_id, attempt), death_of(status, peak, was_oom=was_oom))
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
        # One that hangs in the kernel runs nothing any more, and is not waited for without end.
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.returncode = -signal.SIGKILL
        for of in list(self._children):
            self._end(of, Lost("was killed"))
            remove(scratch_of(self.setup.scratch, of))
        self._drop(lambda _: True, _ENDED)
