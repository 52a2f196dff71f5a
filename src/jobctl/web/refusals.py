"""Everything that is no plain answer, in one JSON shape."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple, Self

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from jobctl.errors import (
    FileUnavailable,
    JobctlError,
    NotCompleted,
    RootUnavailable,
    StoreOlderThanRoot,
    StoreReplaced,
    StoreSchemaMismatch,
    StoreUninitialised,
    StoreUnreachable,
    UnknownJob,
)
from jobctl.model.names import to_shown
from jobctl.model.timestamps import format_timestamp
from jobctl.store.redact import redact_url

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
log = logging.getLogger("jobctl.web")
_COME_BACK_S = 5
_CLOSED_REQUEST = 499


class Refusal(Exception):
    """Why a request is not answered as asked: an HTTP status, a stable code, one sentence and a next step."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str,
        job_id: str | None = None,
        since: datetime | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.job_id, self.since = job_id, since
        self.headers = dict(headers or {})

    @classmethod
    def busy(cls, why: str) -> Self:
        """Come back a little later."""
        return cls(
            503, "busy", why, hint="ask again a little later", headers={"Retry-After": str(_COME_BACK_S)}
        )


class _Public(NamedTuple):
    """What a client is told of an error whose own words are for operators: they name paths and users."""

    status: int
    message: str
    hint: str = "ask again a little later"


_STORE_AWAY = _Public(503, "the job store does not answer at the moment")
_ROOT_AWAY = _Public(503, "the outputs directory is not available on this server at the moment")
_PUBLIC: Mapping[type[JobctlError], _Public] = {
    StoreUnreachable: _STORE_AWAY,
    StoreReplaced: _STORE_AWAY,
    StoreUninitialised: _STORE_AWAY,
    StoreSchemaMismatch: _STORE_AWAY,
    RootUnavailable: _ROOT_AWAY,
    StoreOlderThanRoot: _ROOT_AWAY,
}
_TOLD_AS_IT_IS: Mapping[type[JobctlError], int] = {UnknownJob: 404, NotCompleted: 409, FileUnavailable: 404}


class ToldRoute(APIRoute):
    """A route whose every ending is told in one shape, in whatever application it is mounted."""

    def get_route_handler(self) -> Handler:
        """The handler FastAPI made, with its endings told."""
        return told(super().get_route_handler())


def told(handler: Handler) -> Handler:
    """A handler of requests whose every ending is an answer."""

    async def telling(request: Request) -> Response:
        try:
            return await handler(request)
        except ClientDisconnect:
            return Response(status_code=_CLOSED_REQUEST)
        except Exception as error:  # noqa: BLE001 - every ending is told here
            return response_of(error)

    return telling


def response_of(error: Exception) -> Response:
    """Any error as an answer. What is no fault of the client's is also logged."""
    refusal = _refusal_of(error)
    since = None if refusal.since is None else format_timestamp(refusal.since)
    body = {
        "success": False,
        "jobId": refusal.job_id,
        "error": refusal.message,
        "code": refusal.code,
        "hint": refusal.hint,
        "since": since,
    }
    headers = {"Cache-Control": "no-store", **refusal.headers}
    return JSONResponse(_sayable(body), refusal.status, headers=headers)


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return Refusal(422, "invalid-request", _first_fault(error), hint="see /openapi.json")
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, JobctlError):
        return _of_jobctl(error)
    log.error("a fault in jobctl: %s", redact_url(repr(error)), exc_info=error)
    return Refusal(500, "internal", "a fault in this server; it was logged", hint="please report it")


def _of_jobctl(error: JobctlError) -> Refusal:
    public = next((told for kind, told in _PUBLIC.items() if isinstance(error, kind)), None)
    if public is not None:
        log.warning("%s", to_shown(redact_url(error.message)))
        headers = {"Retry-After": str(_COME_BACK_S)}
        return Refusal(public.status, error.code, public.message, hint=public.hint, headers=headers)
    status = next((status for kind, status in _TOLD_AS_IT_IS.items() if isinstance(error, kind)), None)
    if status is None:
        log.error("%s", to_shown(redact_url(error.message)), exc_info=error)
        return Refusal(500, "internal", "a fault in this server; it was logged", hint="please report it")
    return Refusal(status, error.code, error.message, hint="ask for its status")


def _of_http(error: HTTPException) -> Refusal:
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "-")
    message = str(error.detail)
    return Refusal(error.status_code, code, message, hint="see /openapi.json", headers=error.headers)


def _first_fault(error: RequestValidationError) -> str:
    faults = error.errors()
    if not faults:
        return "the request is not understood"
    where = ".".join(str(part) for part in faults[0].get("loc", ())[1:]) or "the request"
    return f"{where}: {faults[0].get('msg', 'it is not understood')}"


def _sayable(value: Any) -> Any:
    """Texts with lone surrogates, which no UTF-8 can say, written out."""
    if isinstance(value, dict):
        return {name: _sayable(each) for name, each in value.items()}
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
