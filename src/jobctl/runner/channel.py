"""Messages between a worker and the processes that run its attempts: one JSON array a line, over a socket.

The worker's side never blocks: what an attempt does with its end of the socket (stop reading,
be stopped in the middle of a line, write garbage) costs that attempt alone.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

LONGEST_MESSAGE = 96 << 20
"""Bytes of one message: a payload of 64 MiB, quoted once more."""

_READ_AT_ONCE = 1 << 18

Message = list[Any]


class ChannelBroken(Exception):
    """The other side wrote what is no message."""


def encode(message: Message) -> bytes:
    """A message as it travels."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def messages_in(stream: Any) -> Iterator[Message]:
    """The messages of a blocking binary stream, until its end."""
    for line in stream:
        yield json.loads(line)


class Channel:
    """The worker's end of a channel."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(0)
        self._socket = end
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.is_open = True

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether something is left that the other side did not take yet."""
        return bool(self._outgoing) and self.is_open

    def send(self, message: Message) -> None:
        """Send as much as is taken now, and keep the rest."""
        self._outgoing += encode(message)
        self.flush()

    def flush(self) -> None:
        """Send what was kept."""
        try:
            while self._outgoing:
                sent = self._socket.send(self._outgoing)
                del self._outgoing[:sent]
        except BlockingIOError:
            return
        except OSError:
            # It ended; what it said before is read still.
            self._outgoing.clear()

    def receive(self) -> list[Message]:
        """The messages that are complete. Raises ``ChannelBroken``."""
        self._read()
        if len(self._incoming) > LONGEST_MESSAGE:
            raise ChannelBroken("it sent a message without end")
        *lines, rest = bytes(self._incoming).split(b"\n") if b"\n" in self._incoming else (b"",)
        if not lines:
            return []
        self._incoming = bytearray(rest)
        return [_decoded(line) for line in lines]

    def close(self) -> None:
        self.is_open = False
        self._socket.close()

    def _read(self) -> None:
        try:
            while chunk := self._socket.recv(_READ_AT_ONCE):
                self._incoming += chunk
                if len(chunk) < _READ_AT_ONCE or len(self._incoming) > LONGEST_MESSAGE:
                    return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.is_open = False


def _decoded(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, list) or not message or not isinstance(message[0], str):
        raise ChannelBroken("it sent what is no message")
    return message
