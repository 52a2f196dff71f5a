"""How long a connection may keep the server waiting: for a request's head, and for taking an answer.

uvicorn waits for both without end, so a few thousand clients that say nothing, or take nothing, would keep
everybody else out. Bodies are waited for where they are read.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from jobctl.web.packets import Gathering

HEAD_S = 20.0
"""For all headers of a request, from its first byte or from the connection on."""
HEAD_BYTES = 64 * 1024
"""Of the headers of a request that are not at their end yet."""
TAKE_S = 60.0
"""For a client to take what has piled up for it: 48 KiB, and what the kernel holds and has not sent."""
_UNSENT_BYTES = 128 * 1024
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# Which of uvicorn's two it is depends on what is installed.
_Protocol: Any = AutoHTTPProtocol


class PatientProtocol(_Protocol):  # type: ignore[misc]
    """uvicorn's protocol; what takes too long is closed."""

    head_s = HEAD_S
    head_bytes = HEAD_BYTES
    take_s = TAKE_S
    _head_due: asyncio.TimerHandle | None = None
    _taking_due: asyncio.TimerHandle | None = None
    _head_size = 0

    def connection_made(self, transport: Any) -> None:
        """A client is there, and is to say what it wants."""
        super().connection_made(Gathering(transport, self.loop))
        _keep_little(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Go on with a request, and look whether its head is complete."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._end_head()
            return
        # The rest of a body that nobody reads any more is waited for no longer than a head is.
        self._await_head()
        is_head = self.cycle is None or not self.cycle.more_body
        self._head_size += len(data) if is_head else 0
        if self._head_size > self.head_bytes:
            self._refuse(_TOO_LARGE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._end_head()
        self._end_taking()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """More has piled up for the client than it takes."""
        super().pause_writing()
        if self._taking_due is None:
            self._taking_due = self.loop.call_later(self.take_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has taken most of it."""
        self._end_taking()
        super().resume_writing()

    def _await_head(self) -> None:
        if self._head_due is None:
            self._head_due = self.loop.call_later(self.head_s, self._refuse, _TOO_LATE)

    def _end_head(self) -> None:
        self._head_size = 0
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _end_taking(self) -> None:
        if self._taking_due is not None:
            self._taking_due.cancel()
            self._taking_due = None

    def _refuse(self, answer: bytes) -> None:
        """Say why, unless an answer was given already, and close."""
        if not self.transport.is_closing():
            if self._head_size:
                self.transport.write(answer)
            self.transport.close()


def _keep_little(transport: Any) -> None:
    """Let the kernel hold little that is not sent yet.

    Else it holds megabytes for each slow client, and tells of room again only once a third of that is taken.
    """
    connected = transport.get_extra_info("socket")
    # Only TCP has it.
    with suppress(OSError):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
