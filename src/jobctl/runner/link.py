"""An attempt's end of the channel to its worker."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from jobctl.runner.attempt import answer_of
from jobctl.runner.channel import Message, encode, messages_in

WORKER_IS_GONE = 70
"""The exit code of an attempt whose worker is gone: nobody can be told anything any more."""


class WorkerLink:
    """Sends from any thread; one thread reads, and hands each answer to the one that waits for it."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(None)
        self._socket = end
        self._stream = end.makefile("rb")
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[threading.Event, list[Any]]] = {}
        self._pid = os.getpid()
        # A thread that is sending while another one forks is not there to let go of it in the fork.
        os.register_at_fork(after_in_child=self._begin_sending_anew)

    def _begin_sending_anew(self) -> None:
        self._sending = threading.Lock()

    def tell(self, message: Message) -> None:
        try:
            with self._sending:
                self._socket.sendall(encode(message))
        except OSError:
            _leave()

    def ask(self, message: Message) -> Any:
        if os.getpid() != self._pid:
            # Nothing reads the answer here: it would be waited for without end.
            raise RuntimeError("only the process that runs an attempt can publish for it, not one it forked")
        number, arrived, answer = next(self._numbers), threading.Event(), list[Any]()
        self._waiting[number] = (arrived, answer)
        # [what, job, attempt, number, …]: the number goes before what is asked.
        self.tell([*message[:3], number, *message[3:]])
        arrived.wait()
        return answer_of(answer)

    def next_message(self) -> Message:
        """The first thing the worker says."""
        first = next(messages_in(self._stream), None)
        return _leave() if first is None else first

    def read(self, handle: Callable[[Message], None]) -> NoReturn:
        """Hand on what the worker says until it ends; then end this process, at once."""
        try:
            for message in messages_in(self._stream):
                if message[0] == "answer":
                    self._hand_on(message)
                else:
                    handle(message)
        except (OSError, ValueError):
            pass
        _leave()

    def _hand_on(self, message: Message) -> None:
        arrived, answer = self._waiting.pop(message[1], (None, []))
        answer.extend(message)
        if arrived is not None:
            arrived.set()


def _leave() -> NoReturn:
    # No clean-up of the handler's: whatever it would do now, its attempt is somebody else's.
    os._exit(WORKER_IS_GONE)
