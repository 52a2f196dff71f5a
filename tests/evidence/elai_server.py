"""A server on loopback that behaves like the renderer's API, well or badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

KEY = "the-right-key"


@dataclass
class Answer:
    """One answer. ``claimed``: the length it says it has; ``headers`` beside it."""

    code: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    claimed: int | None = None


def as_json(document: Any, code: int = 200) -> Answer:
    return Answer(code, json.dumps(document).encode(), {"Content-Type": "application/json"})


def video(number: int, **changes: Any) -> dict[str, Any]:
    """A video as the API tells of it."""
    return {
        "_id": f"690a2adf{number:016x}",
        "status": "ready",
        "name": f"video {number}",
        "tags": [],
        **changes,
    }


class Server:
    """``script`` holds answers that are given before the ordinary ones, in their order."""

    def __init__(self, videos: list[dict[str, Any]] | None = None) -> None:
        self.videos = videos or []
        self.files: dict[str, Answer | Callable[[], Answer]] = {}
        self.script: list[Answer | Callable[[str], Answer]] = []
        self.asked: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.asked.append((self.path, self.headers.get("Authorization")))
                server.respond(self)

            def log_message(self, *_: Any) -> None:
                """A test is silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        # A client that has seen enough hangs up: that is no news.
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/api/v1"

    def file_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/files/{name}?signature=secret"

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        answer = self._answer(handler)
        handler.send_response(answer.code)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        length = len(answer.body) if answer.claimed is None else answer.claimed
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(answer.body)
        if length != len(answer.body):
            handler.close_connection = True

    def _answer(self, handler: BaseHTTPRequestHandler) -> Answer:
        parts = urlsplit(handler.path)
        if parts.path.startswith("/files/"):
            file = self.files.get(parts.path.removeprefix("/files/"), Answer(404))
            return file() if callable(file) else file
        if handler.headers.get("Authorization") != f"Bearer {KEY}":
            return as_json({"error": "unauthorized"}, 401)
        if self.script:
            scripted = self.script.pop(0)
            return scripted(handler.path) if callable(scripted) else scripted
        if parts.path == "/api/v1/videos":
            query = parse_qs(parts.query)
            page, limit = int(query["page"][0]), int(query["limit"][0])
            return as_json(
                {"videos": self.videos[(page - 1) * limit : page * limit], "total": len(self.videos)}
            )
        wanted = parts.path.removeprefix("/api/v1/videos/")
        found = next((each for each in self.videos if each.get("_id") == wanted), None)
        return as_json(found) if found else as_json({"error": "not found"}, 404)
