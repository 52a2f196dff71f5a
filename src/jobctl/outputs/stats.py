"""Stat names by the hundred, most of them in a second process.

A stat costs more than all else a walk does with a file, and the kernel answers two
processes at once. The second one is handed open directories and names, and answers with
numbers; it is started once a walk proves long. What it cannot answer is asked again here.
"""

from __future__ import annotations

import marshal
import os
import select
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

Found = tuple[int, int, int, int, int, int]
"""Mode, device, inode, size, mtime_ns and ctime_ns; all zero for a name that is gone."""

_GONE: Found = (0, 0, 0, 0, 0, 0)
_SIGN = 1 << 63
_LENGTH = struct.Struct("!I")
# A few hundredths of a second of work; starting the other process takes less of this one's time.
_WORTHWHILE = 10_000
# So that the other process always has work while this one does its own, and no buffer fills up.
_IN_FLIGHT = 4


class Batch(Protocol):
    """Anything that says which names of one directory are to be looked at."""

    @property
    def names(self) -> list[str]: ...


B = TypeVar("B", bound=Batch)


def signed64(number: int) -> int:
    """A device or inode number as the databases hold it."""
    return number if number < _SIGN else number - 2 * _SIGN


def within64(moment_ns: int) -> int:
    """A file's time as the databases hold it: one before 1677 or after 2262 is as far off as they go."""
    return max(-_SIGN, min(moment_ns, _SIGN - 1))


def stat_all(directory_fd: int, names: Sequence[str]) -> list[Found]:
    """What lies behind each name; symlinks are not followed. Raises ``OSError``."""
    found: list[Found] = []
    append, stat = found.append, os.stat
    for name in names:
        try:
            seen = stat(name, dir_fd=directory_fd, follow_symlinks=False)
        except FileNotFoundError:
            append(_GONE)
            continue
        device, inode, mtime_ns = seen.st_dev, seen.st_ino, seen.st_mtime_ns
        if device >= _SIGN or inode >= _SIGN or not -_SIGN <= mtime_ns < _SIGN:
            device, inode, mtime_ns = signed64(device), signed64(inode), within64(mtime_ns)
        append((seen.st_mode, device, inode, seen.st_size, mtime_ns, seen.st_ctime_ns))
    return found


class SecondProcess(Generic[B]):
    """Takes batches while it has room for them, and gives them back answered, in the same order."""

    def __init__(self) -> None:
        self._waiting: deque[B] = deque()
        self._offered = 0
        self._is_useful = len(os.sched_getaffinity(0)) > 1
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def take(self, directory_fd: int, batch: B) -> bool:
        """Take a batch, if there is room: then its answer comes with ``answered``."""
        self._offered += len(batch.names)
        if self._channel is None and self._is_useful and self._offered >= _WORTHWHILE:
            self._start()
        if self._channel is None or len(self._waiting) >= _IN_FLIGHT:
            return False
        order = marshal.dumps(batch.names)
        try:
            socket.send_fds(self._channel, [_LENGTH.pack(len(order))], [directory_fd])
            self._channel.sendall(order)
        except OSError:
            self._give_up()
            return False
        self._waiting.append(batch)
        return True

    def answered(self, *, wait: bool) -> Iterator[tuple[B, list[Found] | OSError | None]]:
        """Give batches with their answers: those that are there, or ``wait`` for all.

        An answer is what ``stat_all`` says; ``None``: the process died, look yourself.
        """
        while self._waiting:
            channel = self._channel
            if channel is not None and not wait and not select.select([channel], [], [], 0)[0]:
                return
            yield self._waiting.popleft(), self._receive(channel) if channel is not None else None

    def _receive(self, channel: socket.socket) -> list[Found] | OSError | None:
        try:
            (length,) = _LENGTH.unpack(_receive_all(channel, _LENGTH.size))
            answer = marshal.loads(_receive_all(channel, length))  # noqa: S302 - written by our own process
        except OSError:
            self._give_up()
            return None
        return answer if isinstance(answer, list) else OSError(answer, os.strerror(answer))

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", __file__, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                )
            except OSError:
                ours.close()
                self._is_useful = False
                return
        self._channel = ours

    def _give_up(self) -> None:
        """Go on alone: the other process died."""
        self._is_useful = False
        self._stop()

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None


def serve(channel: socket.socket) -> None:
    """Answer orders until the other side goes away."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(channel, _LENGTH.size, 1)
        if not head:
            return
        names = marshal.loads(_receive_all(channel, _LENGTH.unpack(head)[0]))  # noqa: S302 - from our parent
        answer: list[Found] | int
        try:
            answer = stat_all(descriptors[0], names)
        except OSError as error:
            answer = error.errno or 0
        finally:
            os.close(descriptors[0])
        content = marshal.dumps(answer)
        channel.sendall(_LENGTH.pack(len(content)) + content)


def _receive_all(channel: socket.socket, length: int) -> bytes:
    """All of a message, however often a signal cuts it short. Raises ``ConnectionError``."""
    received = bytearray()
    while len(received) < length:
        chunk = channel.recv(length - len(received), socket.MSG_WAITALL)
        if not chunk:
            raise ConnectionError
        received += chunk
    return bytes(received)


if __name__ == "__main__":
    with suppress(ConnectionError):
        serve(socket.socket(fileno=int(sys.argv[1])))
