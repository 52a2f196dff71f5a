"""Enqueue a job, and tell how it stands: at once, once it changed, or as a stream of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from jobctl import clock
from jobctl.core.preconditions import knows
from jobctl.model.enqueued import New
from jobctl.model.job_summary import JobSummary
from jobctl.model.status import Status
from jobctl.ops.queue import enqueue_one, new_job
from jobctl.ops.site import Site
from jobctl.ops.whereabouts import summaries_of
from jobctl.web.answers import answer, body_of, etag_of
from jobctl.web.api import Api
from jobctl.web.limits import LONGEST_WAIT_S, Limits
from jobctl.web.refusals import Refusal
from jobctl.web.waiting import no_place

LONGEST_ID = 200
"""Characters of an id that is asked for."""

JobId = Annotated[
    str,
    Path(
        alias="job_id",
        min_length=1,
        max_length=LONGEST_ID,
        description="The job's id.",
        examples=["8f14e45f-ceea-467f-ab5d-5f1bd7a1a3c9"],
    ),
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Of your own making, the same for every try: the job is enqueued once.",
        examples=["order-4711"],
    ),
]
Wait = Annotated[
    int,
    Query(
        ge=0,
        le=LONGEST_WAIT_S,
        description="Answer once the job is no longer as the ETag in If-None-Match says, or, without one, "
        "as it was when asked; at the latest after so many seconds.",
    ),
]
_HEARD_EVERY_S = 5.0
_SIGN_OF_LIFE_S = 15.0
_COME_BACK_MS = 3_000
_CLOSE = {"Connection": "close"}
"""What is still to come of a body is not read."""


class StatusRoutes:
    """The endpoints of jobs."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def enqueue(self, request: Request, idempotency_key: Key = None) -> Response:
        """Enqueue a job. The body, a JSON object, is what its task is handed.

        A second request with the same Idempotency-Key gives the same job, and enqueues nothing.
        """
        payload = _payload(await _body(request, self._api.limits))
        key = _plain_key(idempotency_key)
        summary, existed = await self._api.call(_enqueue, self._api, payload, key)
        if summary.status is Status.EXPIRED:
            raise await self._api.refusal_of_expired(summary)
        place = f"{request.url.path.rstrip('/')}/{quote(summary.job_id, safe='')}"
        headers = {"Location": place, **({"Idempotent-Replayed": "true"} if existed else {})}
        return answer(summary, headers=headers)

    async def status(
        self,
        request: Request,
        job_id: JobId,
        wait: Wait = 0,
        if_none_match: Annotated[str | None, Header(description="An ETag told before.")] = None,
    ) -> Response:
        """How a job stands: 202 while it is open, 200 once it is ended."""
        summary = await self._api.summary(job_id)
        is_as_known = if_none_match is None or knows(if_none_match, etag_of(summary))
        if wait and is_as_known and not summary.is_ended:
            summary = await self._changed(request, summary, wait)
        if summary.status is Status.EXPIRED:
            raise await self._api.refusal_of_expired(summary)
        return answer(summary, if_none_match=if_none_match)

    async def events(
        self,
        job_id: JobId,
        last_event_id: Annotated[str | None, Header(description="The id of the last event heard.")] = None,
    ) -> Response:
        """Every change of a job until it is ended, as server-sent events named ``status``.

        A client that heard of the end and comes back is told to stop with 204.
        """
        summary = await self._api.summary(job_id)
        if summary.status is Status.EXPIRED:
            raise await self._api.refusal_of_expired(summary)
        if summary.is_ended and last_event_id == etag_of(summary).strip('"'):
            return Response(status_code=204)
        if not self._api.watcher.take_place():
            raise no_place()
        return _EventStream(self._events(summary, last_event_id), self._api)

    async def _changed(self, request: Request, summary: JobSummary, wait_s: float) -> JobSummary:
        """How the job stands once it changed, or when the time is over.

        Where too many wait already, how it stands now: the client is told when to ask again.
        """
        watcher = self._api.watcher
        if not watcher.take_place():
            return summary
        try:
            while wait_s > 0 and not watcher.is_stopped:
                now = await watcher.wait(summary, min(wait_s, _HEARD_EVERY_S))
                if now is None:
                    return await self._api.summary(summary.job_id)
                if now is not summary or await request.is_disconnected():
                    return now
                wait_s -= _HEARD_EVERY_S
        finally:
            watcher.give_back()
        return summary

    async def _events(self, summary: JobSummary, heard: str | None) -> AsyncIterator[bytes]:
        yield f"retry: {_COME_BACK_MS}\n\n".encode()
        if etag_of(summary).strip('"') != heard:
            yield _event(summary)
        until = clock.monotonic() + self._api.limits.events_s
        while not summary.is_ended and not self._api.watcher.is_stopped:
            left_s = until - clock.monotonic()
            if left_s <= 0:
                return
            now = await self._api.watcher.wait(summary, min(_SIGN_OF_LIFE_S, left_s))
            if now is None:
                yield b"event: gone\ndata: {}\n\n"
                return
            yield b": nothing new\n\n" if now is summary else _event(now)
            summary = now


class _EventStream(StreamingResponse):
    """A stream that gives its place back however it ends."""

    def __init__(self, events: AsyncIterator[bytes], api: Api) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._api = api

    async def __call__(self, *call: Any) -> None:
        try:
            await super().__call__(*call)
        finally:
            self._api.watcher.give_back()


def _event(summary: JobSummary) -> bytes:
    etag = etag_of(summary).strip('"')
    return b"event: status\nid: %b\ndata: %b\n\n" % (etag.encode(), body_of(summary))


def _enqueue(site: Site, api: Api, payload: dict[str, Any], key: str | None) -> tuple[JobSummary, bool]:
    """Enqueue a job, or find the one that has the key; how it stands, and whether it was there before."""
    try:
        spec = api.named.spec(site, api.task)
        made = enqueue_one(site, New(new_job(spec, key=key), payload))
    except (ValueError, RecursionError) as error:
        # Numbers beyond all bounds, and nesting that is just not too deep to be read.
        raise _no_payload(_why_no_json(error)) from None
    if made.existed and not made.has_same_payload:
        raise Refusal(
            422,
            "idempotency-key-reused",
            "this Idempotency-Key was used with another body; nothing was enqueued",
            hint="take a new key for a new job",
            job_id=made.job.job_id,
        )
    job_id = made.job.job_id
    return summaries_of(site, [job_id])[job_id], made.existed


async def _body(request: Request, limits: Limits) -> bytes:
    # Only what is said to be JSON: a page elsewhere can make a browser send anything but that unasked.
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise Refusal(415, "unsupported-media-type", "the body is not JSON", hint="send application/json")
    # Before a byte of it is asked for: some clients wait for that ("Expect: 100-continue").
    with suppress(ValueError):
        if int(request.headers.get("content-length", "0")) > limits.body_bytes:
            raise _too_large(limits.body_bytes)
    try:
        async with asyncio.timeout(limits.body_s):
            return await _read(request, limits.body_bytes)
    except TimeoutError:
        raise Refusal(
            408, "request-timeout", "the body did not come in time", hint="send it again", headers=_CLOSE
        ) from None


async def _read(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> Refusal:
    return Refusal(
        413,
        "body-too-large",
        f"the body has more than {most:,} bytes",
        hint="send references to large content",
        headers=_CLOSE,
    )


def _payload(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _no_payload(f"the body is no JSON: {_why_no_json(error)}") from None
    if not isinstance(payload, dict):
        raise _no_payload("the body is no JSON object")
    return payload


def _why_no_json(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _no_payload(why: str) -> Refusal:
    return Refusal(422, "invalid-body", why, hint="send a JSON object: what the job is to work on")


def _plain_key(key: str | None) -> str | None:
    """The key without the quotes that the header's draft standard puts around it."""
    if key is not None and len(key) > 2 and key[0] == key[-1] == '"':
        return key[1:-1]
    return key
