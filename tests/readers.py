"""The process that reads media, started once for all the tests that run operations in their own process.

A program starts it when a file first needs it, and ends it when it ends itself. Tests are thousands of
programs, and would spend a fifth of their time on starting it. That it is started, bounded and ended as
it should be, tests/outputs shows, and so do all programs that tests start.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

import pytest

from jobctl.outputs.decode import Decoder, _Worker

_start = Decoder._start


class Readers:
    """Processes that read media and whose decoder is done with them, for the thread that began them."""

    def __init__(self) -> None:
        self._place = _here()
        self._idle: list[_Worker] = []

    def share(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have each decoder use one of them, and leave it to the next."""

        def start(decoder: Decoder) -> _Worker:
            while self._place == _here() and self._idle:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    decoder._worker = worker
                    return worker
                worker.stop()
            return _start(decoder)

        def leave(
            decoder: Decoder,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            if self._place == _here() and decoder._worker is not None:
                self._idle.append(decoder._worker)
                decoder._worker = None
            decoder._stop()

        monkeypatch.setattr(Decoder, "_start", start)
        monkeypatch.setattr(Decoder, "__exit__", leave)

    def close(self) -> None:
        """End them."""
        for worker in self._idle:
            worker.stop()


def _here() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()
