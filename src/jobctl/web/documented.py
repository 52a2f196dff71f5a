"""What OpenAPI says of each endpoint: its answers, with examples."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from jobctl.model.status import Status

_ID = "8f14e45f-ceea-467f-ab5d-5f1bd7a1a3c9"
_OPEN: dict[str, Any] = {
    "success": True,
    "jobId": _ID,
    "status": "processing",
    "progress": 62.5,
    "videoUrl": None,
    "thumbnailUrl": None,
    "error": None,
    "createdAt": "2026-01-31T12:00:00.000000Z",
    "completedAt": None,
}
_ENDED: dict[str, Any] = {
    **_OPEN,
    "status": "completed",
    "progress": 100.0,
    "videoUrl": f"/presentations/{_ID}/video",
    "thumbnailUrl": f"/presentations/{_ID}/thumbnail",
    "completedAt": "2026-01-31T12:04:30.000000Z",
}


EXAMPLES = [_OPEN, _ENDED]
"""FastAPI drops every null of what it is told, so they are put into the document once that is made."""


class Presentation(BaseModel):
    """A job, as the service has always told it."""

    success: Literal[True]
    jobId: str  # noqa: N815 - the service's own name
    status: Status
    progress: float | None = Field(
        ge=0,
        le=100,
        description="The highest progress of the current attempt, in percent; 100 once completed.",
    )
    videoUrl: str | None = Field(description="Once it is completed.")  # noqa: N815
    thumbnailUrl: str | None = Field(description="Once it is completed; the file may be absent.")  # noqa: N815
    error: str | None = Field(description="Why it failed.")
    createdAt: datetime | None  # noqa: N815
    completedAt: datetime | None  # noqa: N815


class Problem(BaseModel):
    """Everything that is no plain answer."""

    success: Literal[False]
    jobId: str | None  # noqa: N815
    error: str = Field(description="What happened, in one sentence.")
    code: str = Field(description="Its stable name, for programs.")
    hint: str = Field(description="What to do next.")
    since: datetime | None = Field(description="Since when a job is gone.")


class Readiness(BaseModel):
    """Whether a server can do its work."""

    class Root(BaseModel):
        """A root that this server's host can see."""

        rootId: str  # noqa: N815
        state: Literal["ready", "unavailable"]

    ready: bool
    store: Literal["ready", "unavailable"]
    roots: list[Root]


_RETRY = {
    "Retry-After": {
        "description": "Seconds until it is worth while to ask again.",
        "schema": {"type": "integer"},
    }
}
_ETAG = {"ETag": {"description": "What the client knows now.", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "Where the job's status is.", "schema": {"type": "string"}}}


def _problem(code: str, said: str, *, status: int, headers: dict[str, Any] | None = None) -> dict[int, Any]:
    example = {"success": False, "jobId": _ID, "error": said, "code": code, "hint": "…", "since": None}
    told: dict[str, Any] = {
        "model": Problem,
        "description": said,
        "content": {"application/json": {"example": example}},
    }
    return {status: {**told, **({"headers": headers} if headers else {})}}


_COMMON = {
    **_problem("unauthorized", "a bearer token is needed", status=401),
    **_problem("invalid-request", "a parameter is not understood", status=422),
    **_problem(
        "store-unreachable", "it cannot be told at the moment, or its record is being recovered",
        status=503, headers=_RETRY,
    ),
}  # fmt: skip
_OF_A_JOB = {
    **_COMMON,
    **_problem("unknown-job", "no such job is known", status=404),
    **_problem("gone", "the job has expired or was deleted, since when it says", status=410),
}

STATUS: dict[str, Any] = {
    "status_code": 200,
    "response_description": "It is ended.",
    "responses": {
        200: {"model": Presentation, "headers": _ETAG},
        202: {"model": Presentation, "description": "It is open.", "headers": {**_ETAG, **_RETRY}},
        304: {"description": "It is as the client knows it."},
        **_OF_A_JOB,
    },
}
ENQUEUE: dict[str, Any] = {
    "status_code": 202,
    "response_description": "It is enqueued, or was before.",
    "responses": {
        200: {"model": Presentation, "description": "It was enqueued before, and is ended by now."},
        202: {"model": Presentation, "headers": {**_LOCATION, **_ETAG, **_RETRY}},
        **_COMMON,
        **_problem("gone", "the job of this key has expired", status=410),
        **_problem("request-timeout", "the body did not come in time", status=408),
        **_problem("body-too-large", "the body is too large", status=413),
        **_problem("unsupported-media-type", "the body is not JSON", status=415),
        **_problem("idempotency-key-reused", "the key was used with another body", status=422),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": "What the job is to work on: any JSON object.",
            "content": {
                "application/json": {
                    "schema": {"type": "object", "additionalProperties": True},
                    "examples": {
                        "slides": {"value": {"title": "Quarterly report", "slides": [{"text": "Hello"}]}}
                    },
                }
            },
        }
    },
}
EVENTS: dict[str, Any] = {
    "methods": ["GET"],
    "responses": {
        200: {
            "description": "Events named status, each with a job as data, until it is ended.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The client has heard of its end: there is nothing more to hear."},
        **_OF_A_JOB,
    },
}
READY: dict[str, Any] = {
    "responses": {
        200: {"model": Readiness},
        503: {"model": Readiness, "description": "It cannot.", "headers": _RETRY},
        401: _COMMON[401],
    },
}
METRICS: dict[str, Any] = {
    "responses": {
        200: {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        401: _COMMON[401],
        503: _COMMON[503],
    },
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_TYPES = {"video": ("video/mp4", "video/webm", "video/quicktime"), "thumbnail": ("image/jpeg", "image/png")}


def file_answers(what: str) -> dict[str, Any]:
    """The answers of an endpoint that hands out a file."""
    content = dict.fromkeys((*_TYPES[what], "application/octet-stream"), _BYTES)
    return {
        "responses": {
            200: {"description": f"The whole {what}.", "content": content},
            206: {
                "description": "The ranges that were asked for.",
                "content": {**content, "multipart/byteranges": _BYTES},
            },
            304: {"description": "It is as the client knows it."},
            **_OF_A_JOB,
            **_problem("not-completed", "the job is not completed", status=409, headers=_RETRY),
            **_problem("precondition-failed", "the file is another one by now", status=412),
            **_problem("range-not-satisfiable", "the file has none of these bytes", status=416),
        }
    }
