"""Serve the API over HTTP until asked to stop, and then let every request end."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn

from jobctl import clock
from jobctl.errors import UsageError
from jobctl.model.names import to_shown
from jobctl.ops.metrics_server import host_of, is_loopback
from jobctl.store.redact import redact_url
from jobctl.web.api import Api
from jobctl.web.application import app_of
from jobctl.web.patience import PatientProtocol
from jobctl.web.refusals import Refusal, response_of

Say = Callable[[str], None]
_BACKLOG = 2_048
_KEEP_ALIVE_S = 30
_TAKES_NOTHING_MS = 60_000
_MOST_CONNECTIONS = 4_000
"""Beside those that wait for a change; more are told 503."""
_MOST_FILES = 65_536
_ACCESS = "uvicorn.access"
_SAME_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where and how to serve. ``grace_s``: how long requests may go on once it is asked to stop."""

    host: str
    port: int
    grace_s: int = 20
    root_path: str = ""
    logs_requests: bool = False
    own_name_only: bool = False
    """Whether it answers only what calls it by a name of this machine's own."""
    cors_origins: Sequence[str] = ()
    """The origins whose pages may read the answers."""


def serve(api: Api, serving: Serving, *, note: Say) -> int:
    """Serve until SIGTERM or Ctrl-C; how many requests were answered. Raises ``UsageError``."""
    configuration = _configuration(api, serving)
    listener = _listen(serving)
    _allow_many_files()
    with listener, _logged(note, requests=serving.logs_requests):
        server = _Server(configuration, api)
        # What is there by now stays: the collector need not go through it again between requests.
        gc.collect()
        gc.freeze()
        note(f"listening on {_address(listener)}")
        asyncio.run(server.serve(sockets=[listener]))
    return server.server_state.total_requests


class _Server(uvicorn.Server):
    """uvicorn's server; who waits for a change is let go as soon as it is to stop."""

    def __init__(self, config: uvicorn.Config, api: Api) -> None:
        super().__init__(config)
        self._api = api
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gently, a second Ctrl-C at once. The signal is not raised again: this is all it does."""
        del frame
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._api.stop)


def _configuration(api: Api, serving: Serving) -> uvicorn.Config:
    application: Any = app_of(api, cors_origins=serving.cors_origins)
    return uvicorn.Config(
        _OwnNameOnly(application) if serving.own_name_only else application,
        http=PatientProtocol,
        log_config=None,
        access_log=serving.logs_requests,
        server_header=False,
        proxy_headers=False,
        root_path=serving.root_path,
        backlog=_BACKLOG,
        limit_concurrency=_MOST_CONNECTIONS + api.limits.waiters,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=serving.grace_s,
        lifespan="on",
        ws="none",
    )


class _OwnNameOnly:
    """A page of the web whose name was made to lead to this machine must not read what is served here."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not all(is_loopback(host_of(name)) for name in _names(scope)):
            refusal = Refusal(
                421,
                "misdirected-request",
                "this server is called by its own name only",
                hint="see docs/web.md",
            )
            await response_of(refusal)(scope, receive, send)
            return
        await self._application(scope, receive, send)


def _names(scope: Any) -> list[str]:
    """By which names it is called: a client may send none, and one that lies may send several."""
    return [value.decode("latin-1") or "localhost" for key, value in scope["headers"] if key == b"host"]


def _listen(serving: Serving) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            serving.host, serving.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            # Inherited by every connection: a client that takes nothing of what it asked for is cut off.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TAKES_NOTHING_MS)
            # From now on clients are let in, and wait until the rest has started.
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{serving.host} port {serving.port} cannot be listened on: {why}",
            hint="name another address with --host and --port; 0 takes any free port",
        ) from None
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allow_many_files() -> None:
    """Every client is an open file, and 1,024 are few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(_MOST_FILES, hard) if hard != resource.RLIM_INFINITY else _MOST_FILES
    with suppress(OSError, ValueError):
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Noted(logging.Handler):
    """Hands log lines on to the program's own voice, defused; what is told already not again at once."""

    def __init__(self, note: Say) -> None:
        super().__init__()
        self._note = note
        self._told_at: tuple[str, float] = ("", 0.0)

    def emit(self, record: logging.LogRecord) -> None:
        text, now = self.format(record), clock.monotonic()
        before, at = self._told_at
        if record.name != _ACCESS and text == before and now - at < _SAME_AGAIN_S:
            return
        self._told_at = (text, now)
        self._note(to_shown(redact_url(text)))


@contextmanager
def _logged(note: Say, *, requests: bool) -> Iterator[None]:
    handler = _Noted(note)
    names = ["jobctl.web", "uvicorn.error", *([_ACCESS] if requests else [])]
    loggers = [logging.getLogger(name) for name in names]
    before = [(each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.INFO if each.name == _ACCESS else logging.WARNING)
        each.propagate = False
    try:
        yield
    finally:
        for each, (level, propagates) in zip(loggers, before, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
            each.propagate = propagates
