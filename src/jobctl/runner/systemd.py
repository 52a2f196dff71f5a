"""What systemd is told of a service of ``Type=notify``: sd_notify(3), systemd.service(5)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from jobctl import clock

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""Meant for the worker alone: what it starts must not speak for it."""

_MESSAGES_PER_INTERVAL = 3


class Notifier:
    """Tells the service manager how the worker is, where there is one. Never raises."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        place = os.environ.get("NOTIFY_SOCKET", "")
        if place[:1] in {"/", "@"}:
            with suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                # An abstract name begins with NUL, which an environment cannot hold.
                self._socket.connect("\0" + place[1:] if place[0] == "@" else place)

    def ready(self, status: str) -> None:
        """It works; also again after a reload."""
        self._tell(f"READY=1\nSTATUS={status}")

    @property
    def alive_every_s(self) -> float:
        """How often its watchdog has to hear of it, in seconds; never, where it has none."""
        interval, of = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        if self._socket is None or not interval.isdecimal() or of not in {"", str(os.getpid())}:
            return float("inf")
        return int(interval) / 1e6 / _MESSAGES_PER_INTERVAL

    def alive(self) -> None:
        """It still works: what a watchdog waits for."""
        self._tell("WATCHDOG=1")

    def reloading(self) -> None:
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={clock.monotonic_us()}")

    def stopping(self) -> None:
        self._tell("STOPPING=1\nSTATUS=finishing what runs")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _tell(self, words: str) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(words.encode())
