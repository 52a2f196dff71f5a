"""A crew whose attempts are threads of one process: what ends that process ends all of them."""

from __future__ import annotations

import os
import selectors
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from jobctl.core.settling import Ending, Lost, NotBegun
from jobctl.model.attempts import AttemptId, Claim
from jobctl.runner import limits
from jobctl.runner.channel import Channel, Message
from jobctl.runner.crew import (
    BABBLED,
    NO_MESSAGE,
    Ended,
    Report,
    Setup,
    Shared,
    death_of,
    ending_in,
    how_ended,
    launch,
    note_loaded,
    scratch_of,
    told_in,
)
from jobctl.runner.marks import make_marks
from jobctl.runner.scratch import remove
from jobctl.work import TaskSpec

_ENDED = "the process it was to run in ended"
_FOR_ANOTHER = "the process it ran in was ended for another attempt"


class ThreadCrew:
    """All attempts in threads of one process: what ends that process ends all of them."""

    def __init__(self, setup: Setup, selector: selectors.BaseSelector) -> None:
        self.specs: Mapping[str, TaskSpec] = {}
        self.troubles: Sequence[str] = ()
        self.is_ready = False
        self.is_over = False
        self.setup = setup
        self._selector = selector
        self._orders: list[list[Any]] = []
        self._given = 0
        # Each with its number, in the order in which they were given to the process.
        self._running: dict[AttemptId, int] = {}
        self._found: list[Report] = []
        self._victim: AttemptId | None = None
        self._recalled_for = ""
        self._oom_kills = limits.oom_kills()
        with ExitStack() as where_it_cannot:
            self._marks = make_marks(setup.slots)
            where_it_cannot.callback(self._marks.close)
            # Never written to: it is closed when this worker ends, however that is.
            reading, self._life = os.pipe2(os.O_CLOEXEC)
            where_it_cannot.callback(os.close, self._life)
            with os.fdopen(reading, "rb"):
                ours, theirs = socket.socketpair()
                where_it_cannot.callback(ours.close)
                with theirs:
                    self._process = launch(setup, theirs, Shared(self._marks, reading))
            where_it_cannot.pop_all()
        self.pid = self._process.pid
        self._channel = Channel(ours)
        selector.register(self._channel, selectors.EVENT_READ)

    def start(self, claims: Sequence[Claim]) -> None:
        if self.is_over:
            self._found += [Ended(claim.id, NotBegun(_ENDED)) for claim in claims]
            return
        for claim in claims:
            self._given += 1
            scratch = scratch_of(self.setup.scratch, claim.id)
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
        # Looked at first: what it said before it ended is read still.
        has_ended = self._has_ended()
        self._channel.flush()
        try:
            for message in self._channel.receive():
                self._hear(message)
        except NO_MESSAGE:
            self._lose_all(BABBLED)
            return
        if self._channel.is_open and not has_ended:
            self._watch()
        else:
            self._lose_all()

    def _has_ended(self) -> bool:
        """Whether the process ended: a fork that a handler left has its end of the channel open still."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _hear(self, message: Message) -> None:
        what = message[0]
        if what == "results":
            for result in message[1]:
                self._end(AttemptId(result[1], result[2]), ending_in([result[0], *result[1:]]))
        elif what == "recalled":
            for job_id, attempt in message[1]:
                self._end(AttemptId(job_id, attempt), NotBegun(self._recalled_for))
        elif what in {"task", "trouble", "ready"}:
            note_loaded(self, message)
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
        status, peak = int(signal.SIGKILL), 0
        if (ended := limits.end(self.pid)) is not None:
            status, peak = ended[0], ended[1].ru_maxrss * 1024
        self._process.returncode = os.waitstatus_to_exitcode(status)
        was_oom = limits.oom_kills() > self._oom_kills
        death = why or death_of(status, peak, was_oom=was_oom)
        last_begun = self._marks.last_begun()
        begun = frozenset(number for number in self._running.values() if number <= last_begun)
        # Where none was at work, one whose end was not heard any more.
        suspects = self._marks.running() or begun
        for of, number in list(self._running.items()):
            if number > last_begun:
                self._end(of, NotBegun(_ENDED))
            elif self._victim is not None:
                self._end(of, death if of == self._victim else NotBegun(_FOR_ANOTHER))
            else:
                self._end(of, death if suspects == {number} else Lost(how_ended(status)))
            remove(scratch_of(self.setup.scratch, of))
        self._marks.close()
        os.close(self._life)
