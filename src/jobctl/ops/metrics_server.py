"""A server of metrics for one Prometheus: small, bounded, and by default for this machine alone.

It answers ``GET /metrics`` and nothing else. However many ask, the store is read once a second.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any

from jobctl import clock
from jobctl.errors import JobctlError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_AT_ONCE = 8
_HEAD_PATIENCE_S, _ANSWER_PATIENCE_S = 2.0, 5.0
"""How long to wait for all that is asked, and for all of the answer to be taken."""
_LARGEST_HEAD = 65_536
_NO_ROOM = b"too many ask at once; ask again\n"
_REFUSAL = (
    b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\nRetry-After: 1\r\n\r\n%b" % (len(_NO_ROOM), _NO_ROOM)
)
_FRESH_S = 1.0


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address; ``localhost`` is taken for one."""
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address.lower() == "localhost"


class Cached:
    """A text that is made at most once a second, by one of those who ask for it."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._turn = threading.Lock()
        self._text = ""
        self._made_at: float | None = None

    def get(self) -> str:
        """The text, not older than a second. Raises what making it raises."""
        with self._turn:
            now = clock.monotonic()
            if self._made_at is None or now - self._made_at >= _FRESH_S:
                self._text = self._make()
                self._made_at = now
            return self._text


class MetricsServer(ThreadingMixIn, HTTPServer):
    """Listens from the moment it is made; ``serve_forever`` answers. Raises ``OSError``.

    ``tell`` is told, in a sentence, of a fault that cost somebody the answer.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, address: str, port: int, make: Callable[[], str], tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.cached = Cached(make)
        self.is_local = is_loopback(address)
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        if ":" in address:
            self.address_family = socket.AF_INET6
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own would ask a name server for this machine's name.
        super(HTTPServer, self).server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, as long as there is room for one."""
        if not self._room.acquire(blocking=False):
            _refuse(request)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of one who went away in the middle; anything else is told."""
        del request, client_address
        error = sys.exception()
        if not isinstance(error, OSError):
            said = f"{error}".partition("\n")[0]
            self._tell(f"a request got no answer: {type(error).__name__}{f': {said}' if said else ''}")


def _refuse(request: socket.socket) -> None:
    """Say that there is no room, without waiting for what is asked."""
    with suppress(OSError):
        request.settimeout(0)
        request.send(_REFUSAL)
        # Closed with something unread the connection is reset, and the answer may be lost.
        request.recv(_LARGEST_HEAD)


class _Head(io.RawIOBase):
    """What a client asks, all of which has to be said within a time, be it byte by byte.

    Reading raises ``TimeoutError`` from then on.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = clock.monotonic() + _HEAD_PATIENCE_S

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - clock.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    server_version, sys_version = "jobctl", ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Head(self.connection))

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status, kind, text = self._found()
        body = text.encode(errors="backslashreplace")
        self.connection.settimeout(_ANSWER_PATIENCE_S)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _found(self) -> tuple[HTTPStatus, str, str]:
        plain = "text/plain; charset=utf-8"
        if self.server.is_local and not is_loopback(host_of(self.headers.get("Host") or "localhost")):
            # A page of the web whose name was made to lead here must not read this.
            return HTTPStatus.MISDIRECTED_REQUEST, plain, "this server is called by its own name only\n"
        if self.path.partition("?")[0] != "/metrics":
            return HTTPStatus.NOT_FOUND, plain, "there is /metrics and nothing else\n"
        try:
            return HTTPStatus.OK, CONTENT_TYPE, self.server.cached.get()
        except JobctlError as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, plain, f"{error.message}\n"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Keep no log of who asked."""


def host_of(header: str) -> str:
    """The name in a ``Host`` header, without the port."""
    if header.startswith("["):
        return header.partition("]")[0].strip("[]")
    return header.rpartition(":")[0] or header
