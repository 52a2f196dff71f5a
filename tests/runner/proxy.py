"""A network between workers and PostgreSQL that can fail: cut, silent, or cut just before an answer."""

from __future__ import annotations

import re
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from jobctl import clock

_BLOCK = 1 << 16
_LOOK_AGAIN_S = 0.02
_SOCKET = ".s.PGSQL.5432"
# ReadyForQuery, but for its last byte: ``I`` outside of a transaction (PostgreSQL's documentation, 55.7).
_READY = b"Z\0\0\0\5"
# BackendKeyData: the process of a session, and what it takes to cancel what that does.
_WHOSE = re.compile(rb"(K\0\0\0\x0c).{8}", re.DOTALL)
_POOLERS = b"\x7fpoolers"
# Parse: the name that a statement is prepared under, and its words.
_PREPARED = re.compile(rb"P.{4}(_pg3_[0-9]+\0)([^\0]*)\0", re.DOTALL)


@dataclass(eq=False)
class _Pair:
    """Two ends of one connection, what was asked on it, and what was answered so far."""

    client: socket.socket
    server: socket.socket
    asked: bytes = b""
    answer: bytes = b""
    prepared: dict[bytes, bytes] = field(default_factory=dict)

    def has_asked(self, words: bytes) -> bool:
        """Whether a statement with these words was asked for, be it by its name."""
        named = (said for name, said in self.prepared.items() if name in self.asked)
        return words in self.asked or any(words in said for said in named)


class Proxy:
    """A socket that workers connect to in place of the server's, which is one of this machine's."""

    def __init__(self, server_url: str, directory: Path) -> None:
        server = conninfo_to_dict(server_url)
        self._server_at = f"{server['host']}/{_SOCKET}"
        self.url = f"postgresql://{server['user']}@/{server['dbname']}?host={directory}"
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(directory / _SOCKET))
        self._listening.listen(64)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, _Pair] = {}
        self._to_swallow: tuple[bytes, bytes] | None = None
        self._is_pooling = False
        self._is_cut = self._is_silent = self._is_over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End every connection, and each new one at once."""
        self._is_cut = True

    def fall_silent(self) -> None:
        """Pass nothing on any more, and end nothing."""
        self._is_silent = True

    def mend(self) -> None:
        """Pass everything on, also what was held back."""
        self._is_cut = self._is_silent = False

    def swallow_answer(self, to: str, about: str) -> None:
        """Once: when a statement with ``to`` is committed and its answer has ``about``, cut the line."""
        self._to_swallow = (to.encode(), about.encode())

    def answer_as_a_pooler(self) -> None:
        """Name a process of one's own to who connects, as a proxy does that shares sessions out."""
        self._is_pooling = True

    @property
    def has_swallowed(self) -> bool:
        return self._to_swallow is None

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        for end in [*self._pairs, self._listening, self._selector]:
            end.close()

    def _serve(self) -> None:
        while not self._is_over:
            if self._is_silent:
                clock.sleep(_LOOK_AGAIN_S)
                continue
            if self._is_cut:
                for pair in set(self._pairs.values()):
                    self._end(pair)
            for key, _ in self._selector.select(_LOOK_AGAIN_S):
                if key.fileobj is self._listening:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._pairs:
                    self._hear(self._pairs[key.fileobj], key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listening.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._server_at)
        except OSError:
            client.close()
            server.close()
            return
        pair = _Pair(client, server)
        for end in (client, server):
            self._pairs[end] = pair
            self._selector.register(end, selectors.EVENT_READ)

    def _hear(self, pair: _Pair, end: socket.socket) -> None:
        try:
            read = end.recv(_BLOCK)
            if not read:
                self._end(pair)
            elif end is pair.client:
                pair.asked += read
                pair.prepared.update(_PREPARED.findall(read))
                pair.server.sendall(read)
            else:
                pair.answer += read
                self._answer(pair)
        except OSError:
            self._end(pair)

    def _answer(self, pair: _Pair) -> None:
        """Pass an answer on; only once it is whole, while there is one to be swallowed."""
        is_whole = pair.answer[-6:-1] == _READY
        if self._to_swallow is not None and not is_whole:
            return
        if self._to_swallow is not None and pair.answer.endswith(b"I"):
            to, about = self._to_swallow
            if pair.has_asked(to) and about in pair.answer:
                self._to_swallow = None
                self._end(pair)
                return
        told = _WHOSE.sub(lambda whose: whose[1] + _POOLERS, pair.answer) if self._is_pooling else pair.answer
        pair.client.sendall(told)
        pair.answer = b""
        if is_whole:
            pair.asked = b""

    def _end(self, pair: _Pair) -> None:
        for end in (pair.client, pair.server):
            if self._pairs.pop(end, None) is not None:
                self._selector.unregister(end)
                end.close()


@contextmanager
def between(server_url: str, directory: Path) -> Iterator[Proxy]:
    """A network to the server, for as long as the block."""
    proxy = Proxy(server_url, directory)
    try:
        yield proxy
    finally:
        proxy.close()
