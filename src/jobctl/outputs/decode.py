"""Tiers 2 and 3: every packet, every frame, read in a worker process with limits.

FFmpeg's libraries parse whatever they are given; a file that makes them die, hang or
swallow memory costs one worker process and is told as such, never called whole.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from jobctl import clock
from jobctl.model.files import Check, Media, Tier, Verdict

_LIMIT_S = {Tier.DEMUX: 60.0, Tier.DECODE: 1_800.0}
_BYTES_PER_S = 20e6
_ANSWER_CHUNK = 65_536


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: socket.socket

    def stop(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()


class Decoder:
    """Examines files one by one in a worker that is started when first needed, and again when it died."""

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
        """Read a file through: its packets, for ``Tier.DECODE`` also its frames. ``size`` in bytes."""
        limit_s = self._limit_s or _LIMIT_S[depth] + size / _BYTES_PER_S
        worker = self._worker or self._start()
        order = json.dumps({"decode": depth is Tier.DECODE}).encode()
        try:
            socket.send_fds(worker.channel, [order], [fd])
            answer = _receive(worker.channel, clock.monotonic() + limit_s)
        except (TimeoutError, ConnectionError, BrokenPipeError) as error:
            self._stop()
            what = (
                f"took longer than {limit_s:.0f} s"
                if isinstance(error, TimeoutError)
                else "made its checker die"
            )
            return Check(Verdict.UNSUPPORTED, depth, f"reading it {what}"), None
        return Check(Verdict(answer["verdict"]), depth, answer["reason"]), _media(answer["media"])

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", "jobctl.outputs.decode_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
            )
        self._worker = _Worker(process, ours)
        return self._worker

    def _stop(self) -> None:
        if self._worker is not None:
            with suppress(OSError):
                self._worker.stop()
            self._worker = None


def _receive(channel: socket.socket, deadline: float) -> dict[str, Any]:
    """One answer line. Raises ``TimeoutError`` or ``ConnectionError``."""
    received = b""
    while not received.endswith(b"\n"):
        remaining = deadline - clock.monotonic()
        if remaining <= 0 or not select.select([channel], [], [], remaining)[0]:
            raise TimeoutError
        chunk = channel.recv(_ANSWER_CHUNK)
        if not chunk:
            raise ConnectionError
        received += chunk
    answer: dict[str, Any] = json.loads(received)
    return answer


def _media(found: dict[str, Any] | None) -> Media | None:
    if found is None:
        return None
    moment = found.pop("created_at")
    return Media(**found, created_at=datetime.fromisoformat(moment) if moment else None)
