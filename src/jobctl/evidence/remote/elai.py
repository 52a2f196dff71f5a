"""The renderer Elai, by its API (https://elai.readme.io/reference): videos, page by page.

What it answers is data from outside: bounded in size, checked field by field, and never
repeated where it may hold a secret. Download addresses are signed, so they get no key of
ours, and are neither shown nor kept.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from pydantic import BaseModel, Field, ValidationError

from jobctl import clock
from jobctl.core.foreign import plain_text
from jobctl.core.remote_ids import created_at_of
from jobctl.core.urls import without_queries
from jobctl.errors import (
    DownloadFailed,
    JobctlError,
    RendererRefused,
    RendererUnavailable,
    RenderNotReady,
    UnknownRender,
)
from jobctl.evidence.remote import Write
from jobctl.model.renders import Render, RenderState

_TRIES = 5
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_INTERVAL_S = 0.1
_LARGEST_ANSWER = 16 << 20
_MOST_PAGES = 10_000
_SLOWEST_BYTES_S = 64 * 1024
_PIECE = 1 << 20
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_STATES = {
    "draft": RenderState.DRAFT,
    "queued": RenderState.RENDERING,
    "validating": RenderState.RENDERING,
    "rendering": RenderState.RENDERING,
    "rendered": RenderState.RENDERING,
    "ready": RenderState.READY,
    "error": RenderState.FAILED,
    "failed": RenderState.FAILED,
}


class _Video(BaseModel):
    """One video as the API tells of it; what else it says is not looked at."""

    id: str = Field(alias="_id", pattern=r"^[0-9A-Za-z_-]{1,100}$")
    status: str = Field(min_length=1, max_length=100)
    name: str | None = Field(default=None, max_length=1_000)
    tags: list[str] = Field(default_factory=list, max_length=100)
    created: datetime | None = Field(default=None, alias="createdAt")
    duration: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    url: str | None = None
    error: str | dict[str, Any] | None = None


class Elai:
    """A connection to the API. ``wait`` is what passes the time between tries."""

    name = "elai"

    def __init__(
        self,
        url: str,
        key: str,
        *,
        page_size: int,
        timeout_s: float,
        largest_download: int,
        wait: Callable[[float], None] = clock.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        self._page_size = page_size
        self._timeout_s = timeout_s
        self._largest_download = largest_download
        self._wait = wait
        self._asked_at = 0.0
        limits = httpx.Timeout(timeout_s)
        self._api = httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=limits)
        self._cdn = httpx.Client(timeout=limits, follow_redirects=True, max_redirects=5)

    def close(self) -> None:
        """Let go of the connections."""
        self._api.close()
        self._cdn.close()

    def renders(self, troubles: list[JobctlError]) -> Iterator[Render]:
        """Every render, newest first."""
        seen: set[str] = set()
        for page in range(1, _MOST_PAGES + 1):
            entries = self._page(page)
            news = [render for entry in entries if (render := self._understood(entry, troubles))]
            news = [render for render in news if render.remote_id not in seen]
            yield from news
            seen.update(render.remote_id for render in news)
            # A server that gives the same page again and again has no more.
            if len(entries) < self._page_size or not news:
                return

    def render(self, remote_id: str) -> Render:
        """One render, as it is now."""
        unknown = UnknownRender(
            f"the renderer knows no render {remote_id}", hint="see those it knows: jobctl remote list"
        )
        if not remote_id.isalnum() or not remote_id.isascii():
            raise unknown
        answer = self._ask(f"/videos/{remote_id}", {})
        if answer is None:
            raise unknown
        troubles: list[JobctlError] = []
        render = self._understood(answer, troubles)
        if render is None:
            raise troubles[0]
        return render

    def download(self, render: Render, write: Write) -> int:
        """Hand the video to ``write``, piece by piece."""
        if render.state is not RenderState.READY or not render.url:
            raise RenderNotReady(
                f"render {render.remote_id} is {render.said or render.state}; there is nothing to download",
                hint="see how it stands: jobctl remote list",
            )
        began = clock.monotonic()
        with self._downloading(render), self._cdn.stream("GET", render.url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _download_failed(render, f"the server answered {answer.status_code}")
            expected = _length_of(answer)
            if expected is not None and expected > self._largest_download:
                raise _download_failed(
                    render, f"it has {expected:,} bytes, more than max_download_bytes allows"
                )
            received = 0
            for piece in answer.iter_bytes(_PIECE):
                received += len(piece)
                if received > self._largest_download:
                    raise _download_failed(render, "it has more bytes than max_download_bytes allows")
                if clock.monotonic() - began > self._timeout_s + received / _SLOWEST_BYTES_S:
                    raise _download_failed(render, "it came too slowly")
                write(piece)
        if expected is not None and received != expected:
            raise _download_failed(render, f"it broke off after {received:,} of {expected:,} bytes")
        return received

    @contextmanager
    def _downloading(self, render: Render) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # What httpx says holds the address, which is a secret.
            raise _download_failed(render, f"the connection failed ({type(error).__name__})") from None

    def _page(self, page: int) -> list[Any]:
        answer = self._ask("/videos", {"page": page, "limit": self._page_size})
        entries = answer.get("videos") if isinstance(answer, dict) else answer
        if not isinstance(entries, list):
            raise _unavailable("its answer is no list of videos")
        return entries

    def _understood(self, entry: Any, troubles: list[JobctlError]) -> Render | None:
        try:
            video = _Video.model_validate(entry)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole of it"
            troubles.append(_unavailable(f"one of its videos is not understood ({where}); it was left out"))
            return None
        said = (
            video.error if isinstance(video.error, str) else json.dumps(video.error) if video.error else None
        )
        made = video.created.astimezone(UTC) if video.created and video.created.tzinfo else None
        return Render(
            remote_id=video.id,
            state=_STATES.get(video.status.lower(), RenderState.UNKNOWN),
            said=plain_text(video.status),
            name=plain_text(video.name) if video.name else None,
            tags=tuple(map(plain_text, video.tags)),
            created_at=made or created_at_of(video.id),
            duration_s=video.duration,
            error=plain_text(without_queries(said)[:1_000]) if said else None,
            url=video.url,
        )

    def _ask(self, path: str, query: dict[str, int]) -> Any:
        """The JSON of an answer; ``None`` for 404. Tries again where the server is busy or away."""
        said, wait_s = "", 0.0
        for attempt in range(_TRIES):
            self._wait(wait_s)
            self._keep_pace()
            try:
                with self._api.stream("GET", f"{self._url}{path}", params=query) as answer:
                    if answer.status_code not in _BUSY:
                        return _content(answer)
                    said = f"it answered {answer.status_code}"
                    asked_for = _retry_after(answer)
            except (httpx.TransportError, httpx.DecodingError) as error:
                said, asked_for = f"the connection failed ({type(error).__name__})", None
            backoff = _FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - spreads the load
            wait_s = min(_LONGEST_WAIT_S, asked_for if asked_for is not None else backoff)
        raise _unavailable(f"{said}, {_TRIES} times")

    def _keep_pace(self) -> None:
        since = clock.monotonic() - self._asked_at
        if since < _INTERVAL_S:
            self._wait(_INTERVAL_S - since)
        self._asked_at = clock.monotonic()


def _content(answer: httpx.Response) -> Any:
    code = answer.status_code
    if code in {401, 403}:
        raise RendererRefused(
            f"the renderer refused the key ({code}); nothing was changed",
            hint="renew JOBCTL_ELAI_API_KEY, and try again",
        )
    if code == httpx.codes.NOT_FOUND:
        return None
    if code != httpx.codes.OK:
        raise _unavailable(f"it answered {code}")
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > _LARGEST_ANSWER:
            raise _unavailable(f"its answer has more than {_LARGEST_ANSWER >> 20} MiB")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise _unavailable("its answer is not JSON") from None


def _length_of(answer: httpx.Response) -> int | None:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isdecimal() and "content-encoding" not in answer.headers else None


def _retry_after(answer: httpx.Response) -> float | None:
    """What the server asks to wait, in seconds; it says so in seconds or as a moment (RFC 9110, 10.2.3)."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - clock.now()).total_seconds())
    except (TypeError, ValueError):
        return None


def _unavailable(why: str) -> RendererUnavailable:
    return RendererUnavailable(
        f"the renderer cannot be asked: {why}; what is known of it is what it said before",
        hint="try again later: jobctl remote list",
    )


def _download_failed(render: Render, why: str) -> DownloadFailed:
    return DownloadFailed(
        f"render {render.remote_id} was not downloaded: {why}; nothing of it was kept",
        hint="try again: jobctl remote download",
    )
