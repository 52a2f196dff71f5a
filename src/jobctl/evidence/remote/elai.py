"""The renderer Elai, by its API (https://elai.readme.io/reference): videos, page by page.

What it answers is data from outside: bounded in size, checked field by field, and never
repeated where it may hold a secret. Download addresses are signed, so they get no key of
ours, and are neither shown nor kept.
"""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, TypeVar

import httpx
from pydantic import AliasChoices, AwareDatetime, BaseModel, Field, ValidationError, WrapValidator

from jobctl import clock
from jobctl.core.remote_ids import created_at_of
from jobctl.core.urls import without_queries
from jobctl.errors import (
    DownloadFailed,
    JobctlError,
    RendererRefused,
    RendererUnavailable,
    RenderNotReady,
    RenderUnreadable,
    UnknownRender,
)
from jobctl.evidence.remote import Write
from jobctl.model.renders import Render, RenderState
from jobctl.model.storable import storable_text

_TRIES = 5
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_INTERVAL_S = 0.1
_LARGEST_ANSWER = 16 << 20
_MOST_PAGES = 10_000
_IDLE_PAGES = 2
_SLOWEST_BYTES_S = 64 * 1024
_PIECE = 1 << 20
_BUSY = frozenset({408, 425, 429})
_FAULT_OF_THE_SERVER = 500
_LONGEST_TEXT = 1_000
_MOST_TAGS = 100
_ID = re.compile("[0-9A-Za-z_-]{1,100}")
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


# Told to a person in place of what httpx says, which may hold an address.
_FAILURES = (
    (httpx.TimeoutException, "no answer in time"),
    (httpx.ConnectError, "nobody can be reached there"),
    (httpx.TooManyRedirects, "it is sent from one address to the next"),
    (httpx.UnsupportedProtocol, "its address is none"),
    (httpx.InvalidURL, "its address is none"),
)

T = TypeVar("T")


class _Busy(Exception):
    """The server cannot answer now. ``after_s``: how long it asks to wait, in seconds."""

    def __init__(self, said: str, after_s: float | None = None) -> None:
        super().__init__(said)
        self.after_s = after_s


class _NotEncrypted(Exception):
    """An address leads where anybody could listen."""


def _or_nothing(value: Any, understand: Callable[[Any], Any]) -> Any:
    try:
        return understand(value)
    except ValidationError:
        return None


# Nothing but the id decides whether a video can be listed.
_Text = Annotated[str | None, WrapValidator(_or_nothing)]


class _Video(BaseModel):
    """One video as the API tells of it; what else it says is not looked at."""

    id: str = Field(validation_alias=AliasChoices("_id", "id"), pattern=f"^{_ID.pattern}$")
    status: _Text = None
    name: _Text = None
    tags: Annotated[list[str] | None, WrapValidator(_or_nothing)] = None
    created: Annotated[AwareDatetime | None, WrapValidator(_or_nothing)] = Field(None, alias="createdAt")
    duration: Annotated[float | None, WrapValidator(_or_nothing)] = Field(None, ge=0, allow_inf_nan=False)
    url: _Text = None
    error: Any = None


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
        # At its level INFO httpx logs every address, signed ones too.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._api = httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=limits)
        hooks = {"request": [] if url.startswith("http://") else [_expect_encrypted]}
        self._cdn = httpx.Client(timeout=limits, follow_redirects=True, max_redirects=5, event_hooks=hooks)

    def close(self) -> None:
        """Let go of the connections."""
        self._api.close()
        self._cdn.close()

    def renders(self, troubles: list[JobctlError]) -> Iterator[Render]:
        """Every render, newest first."""
        seen: set[str] = set()
        strange: list[str] = []
        idle = 0
        try:
            for page in range(1, _MOST_PAGES + 1):
                entries, before = self._page(page), len(seen)
                for entry in entries:
                    render = _understood(entry, strange)
                    if render is not None and render.remote_id not in seen:
                        seen.add(render.remote_id)
                        yield render
                idle = idle + 1 if len(seen) == before else 0
                # Pages may be shorter than asked for: an empty one is the last. A server that
                # gives the same page again and again has no more either.
                if not entries or idle == _IDLE_PAGES:
                    return
        finally:
            if strange:
                troubles.append(_unreadable(strange))

    def render(self, remote_id: str) -> Render:
        """One render, as it is now."""
        unknown = UnknownRender(
            f"the renderer knows no render {remote_id}", hint="see those it knows: jobctl remote list"
        )
        if not _ID.fullmatch(remote_id):
            raise unknown
        answer = self._ask(f"/videos/{remote_id}", {})
        if answer is None:
            raise unknown
        strange: list[str] = []
        render = _understood(answer, strange)
        if render is None:
            raise _unreadable(strange)
        if render.remote_id != remote_id:
            raise _unavailable(f"asked for {remote_id}, it told of {render.remote_id}")
        return render

    def download(self, render: Render, write: Write) -> int:
        """Hand the video to ``write``, piece by piece."""
        url = render.url
        if render.state is not RenderState.READY or not url:
            raise RenderNotReady(
                f"render {render.remote_id} is {render.said or render.state}; there is nothing to download",
                hint="see how it stands: jobctl remote list",
            )
        with self._downloading(render):
            answer = self._patiently(lambda: self._opened(url))
            with closing(answer):
                return self._received(render, answer, write)

    def _opened(self, url: str) -> httpx.Response:
        """The answer to a download, of which only the head was read."""
        answer = self._cdn.send(self._cdn.build_request("GET", url), stream=True)
        if _is_busy(answer):
            answer.close()
            raise _Busy(f"the server answered {answer.status_code}", _retry_after(answer))
        return answer

    def _received(self, render: Render, answer: httpx.Response, write: Write) -> int:
        if answer.status_code != httpx.codes.OK:
            raise _download_failed(render, f"the server answered {answer.status_code}")
        expected = _length_of(answer)
        if expected is not None and expected > self._largest_download:
            raise _download_failed(render, f"it has {expected:,} bytes, more than max_download_bytes allows")
        began, received = clock.monotonic(), 0
        for piece in answer.iter_bytes(_PIECE):
            received += len(piece)
            if received > self._largest_download:
                raise _download_failed(render, "it has more bytes than max_download_bytes allows")
            if is_too_slow(clock.monotonic() - began, received, self._timeout_s):
                raise _download_failed(render, "it came too slowly")
            write(piece)
        if expected is not None and received != expected:
            raise _download_failed(render, f"it broke off after {received:,} of {expected:,} bytes")
        return received

    @contextmanager
    def _downloading(self, render: Render) -> Iterator[None]:
        try:
            yield
        except _NotEncrypted:
            raise _download_failed(render, "its address is not encrypted") from None
        except _Busy as busy:
            raise _download_failed(render, str(busy)) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _download_failed(render, _why(error)) from None

    def _page(self, page: int) -> list[Any]:
        answer = self._ask("/videos", {"page": page, "limit": self._page_size})
        entries = answer.get("videos") if isinstance(answer, dict) else answer
        if not isinstance(entries, list):
            raise _unavailable("its answer is no list of videos")
        return entries

    def _ask(self, path: str, query: dict[str, int]) -> Any:
        """The JSON of an answer; ``None`` for 404."""

        def ask_once() -> Any:
            with self._api.stream("GET", f"{self._url}{path}", params=query) as answer:
                if _is_busy(answer):
                    raise _Busy(f"it answered {answer.status_code}", _retry_after(answer))
                return self._content(answer)

        try:
            return self._patiently(ask_once)
        except _Busy as busy:
            raise _unavailable(str(busy)) from None

    def _patiently(self, ask_once: Callable[[], T]) -> T:
        """Try again where the server is busy or away. Raises ``_Busy`` when it was asked often enough."""
        wait_s, last = 0.0, ""
        for attempt in range(_TRIES):
            self._wait(wait_s)
            self._keep_pace()
            try:
                return ask_once()
            except _Busy as busy:
                last, after_s = str(busy), busy.after_s
            except (httpx.TransportError, httpx.DecodingError) as error:
                last, after_s = _why(error), None
            backoff = _FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - spreads the load
            wait_s = min(_LONGEST_WAIT_S, after_s if after_s is not None else backoff)
        raise _Busy(f"{last}, {_TRIES} times")

    def _content(self, answer: httpx.Response) -> Any:
        code = answer.status_code
        if code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise RendererRefused(
                f"the renderer refused the key ({code}); nothing was changed",
                hint="renew JOBCTL_ELAI_API_KEY, and try again",
            )
        if code == httpx.codes.NOT_FOUND:
            return None
        if code != httpx.codes.OK:
            raise _unavailable(f"it answered {code}")
        began, content = clock.monotonic(), bytearray()
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > _LARGEST_ANSWER:
                raise _unavailable(f"its answer has more than {_LARGEST_ANSWER >> 20} MiB")
            if is_too_slow(clock.monotonic() - began, len(content), self._timeout_s):
                raise _unavailable("its answer came too slowly")
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise _unavailable("its answer is not JSON") from None

    def _keep_pace(self) -> None:
        since = clock.monotonic() - self._asked_at
        if since < _INTERVAL_S:
            self._wait(_INTERVAL_S - since)
        self._asked_at = clock.monotonic()


def is_too_slow(elapsed_s: float, received: int, patience_s: float) -> bool:
    """Whether so many bytes should have come sooner: what is larger may take longer."""
    return elapsed_s > patience_s + received / _SLOWEST_BYTES_S


def _understood(entry: Any, strange: list[str]) -> Render | None:
    """One video as a render; ``None``, and why in ``strange``, for what has no usable id."""
    try:
        video = _Video.model_validate(entry)
    except ValidationError as error:
        strange.append(".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole of it")
        return None
    said = video.error if isinstance(video.error, str) else json.dumps(video.error) if video.error else ""
    return Render(
        remote_id=video.id,
        state=_STATES.get((video.status or "").lower(), RenderState.UNKNOWN),
        said=_text(video.status) or "",
        name=_text(video.name),
        tags=tuple(text for tag in (video.tags or [])[:_MOST_TAGS] if (text := _text(tag))),
        created_at=_utc(video.created) or created_at_of(video.id),
        duration_s=video.duration,
        error=_text(said),
        url=video.url,
    )


def _text(said: str | None) -> str | None:
    """Text from outside: bounded, storable, and without what signs an address."""
    return storable_text(without_queries(said[:_LONGEST_TEXT])) if said else None


def _utc(moment: datetime | None) -> datetime | None:
    try:
        return moment.astimezone(UTC) if moment else None
    except OverflowError:
        return None


def _is_busy(answer: httpx.Response) -> bool:
    return answer.status_code in _BUSY or answer.status_code >= _FAULT_OF_THE_SERVER


def _expect_encrypted(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise _NotEncrypted


def _why(error: Exception) -> str:
    """What failed, in words that hold no address."""
    words = next((words for kind, words in _FAILURES if isinstance(error, kind)), "it broke off")
    return f"the connection failed: {words}"


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


def _unreadable(strange: list[str]) -> RenderUnreadable:
    number = "one" if len(strange) == 1 else f"{len(strange):,}"
    verb, what = ("is", "it was") if len(strange) == 1 else ("are", "they were")
    return RenderUnreadable(
        f"{number} of the renderer's videos {verb} not understood ({strange[0]}); {what} left out",
        hint="look at it where the renderer shows it; the others are listed",
    )


def _download_failed(render: Render, why: str) -> DownloadFailed:
    return DownloadFailed(
        f"render {render.remote_id} was not downloaded: {why}; nothing of it was kept",
        hint=f"try again: jobctl remote download {render.remote_id}",
    )
