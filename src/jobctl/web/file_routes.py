"""Hand out a job's video and thumbnail: whole, or the ranges that a player asks for."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, NamedTuple
from urllib.parse import quote

from fastapi import Header
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from jobctl.core.byte_ranges import Span, Unsatisfiable, spans_of
from jobctl.core.preconditions import Conditions, Outcome, http_date, is_same_for_range, outcome_of
from jobctl.model.files import Role
from jobctl.model.status import Status
from jobctl.ops.handout import Handout, NotAsAccepted, open_handout
from jobctl.web.api import Api
from jobctl.web.refusals import Refusal, log
from jobctl.web.status_routes import JobId

_CHUNK = 256 * 1024
_COME_BACK_S = 5
Wanted = Annotated[
    str | None,
    Header(alias="Range", description="The bytes that are wanted: one range, or several (RFC 9110, 14.2)."),
]


class _Part(NamedTuple):
    """Some bytes of the file, and what is said before them."""

    said: bytes
    span: Span


class _Plan(NamedTuple):
    """What is answered: which bytes, and what is said around them."""

    status: int
    headers: Mapping[str, str]
    parts: Sequence[_Part] = ()
    end: bytes = b""


class FileRoutes:
    """The endpoints of files."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def video(self, request: Request, job_id: JobId, wanted: Wanted = None) -> Response:
        """The video of a completed job: only the bytes that were accepted and found whole."""
        return await self._hand_out(request, job_id, Role.VIDEO, wanted)

    async def thumbnail(self, request: Request, job_id: JobId, wanted: Wanted = None) -> Response:
        """The thumbnail of a completed job."""
        return await self._hand_out(request, job_id, Role.THUMBNAIL, wanted)

    async def _hand_out(self, request: Request, job_id: str, role: Role, wanted: str | None) -> Response:
        api = self._api
        await self._expect_completed(job_id, role)
        if api.downloads >= api.limits.downloads:
            raise Refusal.busy("as many files are handed out as this server can")
        api.downloads += 1
        try:
            handout = await api.checks.run(
                api.do, open_handout, job_id, role, api.proven, discard=lambda late: late.file.close()
            )
            try:
                return _Download(api, handout, _plan(request, handout, wanted))
            except BaseException:
                api.reads.soon(handout.file.close)
                raise
        except BaseException:
            api.downloads -= 1
            raise

    async def _expect_completed(self, job_id: str, role: Role) -> None:
        summary = await self._api.summary(job_id)
        if summary.status is Status.EXPIRED:
            raise await self._api.refusal_of_expired(summary)
        if summary.status is not Status.COMPLETED:
            raise Refusal(
                409,
                "not-completed",
                f"job {job_id} is {summary.status}: there is no {role} of it",
                hint="its error says why" if summary.is_ended else "ask for its status until it is completed",
                job_id=job_id,
                headers={} if summary.is_ended else {"Retry-After": str(_COME_BACK_S)},
            )


class _TooSlow(Exception):
    """A client does not take what it asked for."""


class _Download(StreamingResponse):
    """The bytes of a plan. The file is closed and its place given back however it ends."""

    def __init__(self, api: Api, handout: Handout, plan: _Plan) -> None:
        self._api, self._handout = api, handout
        super().__init__(self._bytes(plan), plan.status, plan.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._api.limits.send_s):
                    await send(message)
            except TimeoutError:
                raise _TooSlow from None

        # Left as it is, unfinished: the server closes the connection, and the client sees that.
        try:
            await super().__call__(scope, receive, send_in_time)
        except NotAsAccepted as error:
            log.warning("a file that was being handed out: %s", error)
        except _TooSlow:
            log.warning("a client took too long to receive %s", self._handout.name)
        finally:
            self._api.downloads -= 1
            self._api.reads.soon(self._handout.file.close)

    async def _bytes(self, plan: _Plan) -> AsyncIterator[bytes]:
        for said, span in plan.parts:
            if said:
                yield said
            position = span.start
            while position < span.end:
                # Of a file that changes meanwhile the answer ends short: nobody takes it for whole.
                length = min(_CHUNK, span.end - position)
                chunk = await self._api.reads.run(self._handout.file.read, position, length)
                position += len(chunk)
                yield chunk
        if plan.end:
            yield plan.end


def _plan(request: Request, handout: Handout, wanted: str | None) -> _Plan:
    """What a request for a file comes to. Raises ``Refusal`` with 412 or 416."""
    file, etag = handout.file, _etag(handout)
    headers = {
        "ETag": etag,
        "Last-Modified": http_date(handout.modified),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": _disposition(handout.name),
    }
    outcome = outcome_of(_conditions(request), etag, handout.modified)
    if outcome is Outcome.FAILED:
        raise Refusal(
            412, "precondition-failed", "the file is another one by now", hint="ask without If-Match"
        )
    if outcome is Outcome.NOT_MODIFIED:
        return _Plan(304, headers)
    whole = {**headers, "Content-Type": handout.media_type, "Content-Length": str(file.size)}
    if request.method == "HEAD":
        return _Plan(200, whole)
    if wanted is not None and is_same_for_range(request.headers.get("if-range"), etag, handout.modified):
        spans = _spans(wanted, file.size)
        if spans is not None:
            return _partial(spans, headers, handout)
    return _Plan(200, whole, [_Part(b"", Span(0, file.size))])


def _spans(wanted: str, size: int) -> list[Span] | None:
    try:
        return spans_of(wanted, size)
    except Unsatisfiable:
        raise Refusal(
            416,
            "range-not-satisfiable",
            f"the file has {size:,} bytes, and none of those that were asked for",
            hint="ask within its size",
            headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
        ) from None


def _partial(spans: Sequence[Span], headers: Mapping[str, str], handout: Handout) -> _Plan:
    size, media_type = handout.file.size, handout.media_type
    if len(spans) == 1:
        told = {
            **headers,
            "Content-Type": media_type,
            "Content-Length": str(spans[0].length),
            "Content-Range": _content_range(spans[0], size),
        }
        return _Plan(206, told, [_Part(b"", spans[0])])
    boundary = secrets.token_hex(16)
    parts = [
        _Part(
            f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: {_content_range(span, size)}\r\n\r\n".encode(),
            span,
        )
        for span in spans
    ]
    end = f"\r\n--{boundary}--\r\n".encode()
    length = sum(len(part.said) + part.span.length for part in parts) + len(end)
    told = {
        **headers,
        "Content-Type": f"multipart/byteranges; boundary={boundary}",
        "Content-Length": str(length),
    }
    return _Plan(206, told, parts, end)


def _content_range(span: Span, size: int) -> str:
    return f"bytes {span.start}-{span.end - 1}/{size}"


def _conditions(request: Request) -> Conditions:
    def told(name: str) -> str | None:
        values = request.headers.getlist(name)
        return ", ".join(values) if values else None

    return Conditions(
        told("if-match"), told("if-none-match"), told("if-modified-since"), told("if-unmodified-since")
    )


def _etag(handout: Handout) -> str:
    file = handout.file
    return f'"{file.sha256}"' if file.sha256 else f'"{file.mtime_ns:x}-{file.size:x}"'


def _disposition(name: str) -> str:
    """How a browser may call it, in a form that no name can break out of (RFC 6266)."""
    return f"inline; filename*=UTF-8''{quote(name.encode(errors='backslashreplace'), safe='')}"
