"""The signals that ask a worker for something, heard between two steps of its loop."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(slots=True)
class Signals:
    """What was asked since it was last looked at."""

    stops: int = 0
    reloads: int = 0
    _fd: int = -1

    @contextmanager
    def heard_by(self, selector: selectors.BaseSelector) -> Iterator[None]:
        """Hear signals within the block; each wakes the selector.

        What was held back before is heard as well, and afterwards it is held back again.
        """
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        selector.register(reading, selectors.EVENT_READ)
        self._fd = reading
        before = {number: signal.getsignal(number) for number in _HEARD}
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            for number in before:
                signal.signal(number, self._hear)
            held_back = signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            try:
                yield
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            selector.unregister(reading)
            os.close(reading)
            os.close(writing)

    def are_heard(self, found: list[tuple[selectors.SelectorKey, int]]) -> bool:
        """Whether it was one of them that woke the selector."""
        return any(key.fd == self._fd for key, _ in found)

    def drain(self, found: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Forget that the selector was woken; what was asked stays to be looked at."""
        if self.are_heard(found):
            with suppress(BlockingIOError):
                os.read(self._fd, 512)

    def _hear(self, number: int, _frame: Any) -> None:
        if number == signal.SIGHUP:
            self.reloads += 1
        else:
            self.stops += 1
