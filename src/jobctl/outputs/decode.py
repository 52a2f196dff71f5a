"""Tiers 2 and 3: every packet, every frame, read in a worker process with limits.

FFmpeg's libraries parse whatever they are given; a file that makes them die, hang or
swallow memory costs worker processes and is told as such, never called whole.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from jobctl import clock
from jobctl.errors import JobctlError
from jobctl.model.files import Check, Media, Tier, Verdict

_MODULE = "jobctl.outputs.decode_worker"
_START_LIMIT_S = 60.0
_LIMIT_S = {Tier.DEMUX: 60.0, Tier.DECODE: 1_800.0}
_BYTES_PER_S = 20e6
_ANSWER_CHUNK = 65_536
_LARGEST_ANSWER = 1 << 20
_SHORTEST_WAIT_S = 0.001
# The worker parses hostile files: it gets no secrets, only what the interpreter may need to start.
_ENVIRONMENT = ("LD_LIBRARY_PATH",)


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: socket.socket

    def stop(self) -> int:
        """End it; what it ended with."""
        self.channel.close()
        self.process.kill()
        return self.process.wait()


class Decoder:
    """Examines files one by one in a worker that is started when first needed, and again when it died.

    Used by one thread, which outlives it: the worker dies with the thread that started it.
    """

    def __init__(self, *, limit_s: float | None = None) -> None:
        self._limit_s = limit_s
        self._worker: _Worker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self, fd: int, size: int, depth: Tier) -> tuple[Check, Media | None]:
        """Read a file through: its packets, for ``Tier.DECODE`` also its frames. ``size`` in bytes.

        A worker may have died of something else before; only a file that ends a fresh one too
        is blamed. Raises ``JobctlError`` where no worker can be started.
        """
        limit_s = self._limit_s or _LIMIT_S[depth] + size / _BYTES_PER_S
        took_long = Check(Verdict.UNSUPPORTED, depth, f"reading it took longer than {limit_s:.0f} s")
        for _ in range(2):
            worker = self._worker or self._start()
            try:
                return _examine(worker, fd, depth, limit_s)
            except TimeoutError:
                self._stop()
                return took_long, None
            except (ConnectionError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
                # All but the first: an answer that is none. A worker that was taken over is not believed.
                if self._stop() == -signal.SIGXCPU:
                    return took_long, None
            except BaseException:
                # Interrupted between order and answer: the next file must not get this one's.
                self._stop()
                raise
        return Check(Verdict.UNSUPPORTED, depth, "reading it made its checker die"), None

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", _MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                cwd="/",
                process_group=0,  # Ctrl-C is for the parent to answer
            )
        self._worker = _Worker(process, ours)
        try:
            _receive(ours, clock.monotonic() + _START_LIMIT_S)
        except (TimeoutError, ConnectionError, ValueError):
            self._stop()
            raise JobctlError(
                "the process that reads media cannot be started; nothing was changed",
                hint=f"see why: {sys.executable} -I -c 'import {_MODULE}'",
            ) from None
        except BaseException:
            self._stop()
            raise
        return self._worker

    def _stop(self) -> int | None:
        """End the worker; what it ended with."""
        worker, self._worker = self._worker, None
        if worker is not None:
            with suppress(OSError):
                return worker.stop()
        return None


def _examine(worker: _Worker, fd: int, depth: Tier, limit_s: float) -> tuple[Check, Media | None]:
    deadline = clock.monotonic() + limit_s
    order = {"decode": depth is Tier.DECODE, "cpu_s": math.ceil(limit_s)}
    socket.send_fds(worker.channel, [json.dumps(order).encode()], [fd])
    answer = _receive(worker.channel, deadline)
    return Check(Verdict(answer["verdict"]), depth, str(answer["reason"])), _media(answer["media"])


def _receive(channel: socket.socket, deadline: float) -> dict[str, Any]:
    """One answer line. Raises ``TimeoutError``, ``ConnectionError``, or ``ValueError`` for what is none."""
    received = b""
    while not received.endswith(b"\n"):
        channel.settimeout(max(deadline - clock.monotonic(), _SHORTEST_WAIT_S))
        chunk = channel.recv(_ANSWER_CHUNK)
        if not chunk:
            raise ConnectionResetError
        received += chunk
        if len(received) > _LARGEST_ANSWER:
            raise ValueError("an answer without end")
    answer: dict[str, Any] = json.loads(received)
    return answer


def _media(found: dict[str, Any] | None) -> Media | None:
    if found is None:
        return None
    moment = found.pop("created_at")
    return Media(**found, created_at=datetime.fromisoformat(moment) if moment else None)
