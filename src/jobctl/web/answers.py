"""How a job is told: in the service's own shape, each answer with its ETag."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from functools import lru_cache
from typing import Any

from starlette.responses import Response

from jobctl.core.preconditions import knows
from jobctl.model.job_summary import JobSummary
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp

_JSON = "application/json"
_TOLD_AGAIN = 256
_ASK_AGAIN_S = {Status.QUEUED: 5, Status.PROCESSING: 3}
"""When to ask again that does not wait for a change, in seconds."""


def fields_of(summary: JobSummary) -> dict[str, Any]:
    """The fields of a job as the service has always told them."""
    is_completed = summary.status is Status.COMPLETED
    return {
        "success": True,
        "jobId": summary.job_id,
        "status": summary.status.value,
        "progress": summary.shown_progress,
        "videoUrl": summary.video_url if is_completed else None,
        "thumbnailUrl": summary.thumbnail_url if is_completed else None,
        "error": summary.error,
        "createdAt": _moment(summary.created_at),
        "completedAt": _moment(summary.completed_at),
    }


def body_of(summary: JobSummary) -> bytes:
    """The fields as JSON, always written alike: the ETag is made of them."""
    return _told(summary)[0]


def etag_of(summary: JobSummary) -> str:
    """What changes whenever the answer does."""
    return _told(summary)[1]


def answer(
    summary: JobSummary, *, if_none_match: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """202 while the job is open, 200 once it is ended, 304 where the client knows it as it is."""
    body, etag = _told(summary)
    told = {"ETag": etag, "Cache-Control": "private, no-cache", **(headers or {})}
    if not summary.is_ended:
        told["Retry-After"] = str(_ASK_AGAIN_S[summary.status])
    if if_none_match is not None and knows(if_none_match, etag):
        return Response(status_code=304, headers=told)
    return Response(body, 200 if summary.is_ended else 202, told, _JSON)


@lru_cache(maxsize=_TOLD_AGAIN)
def _told(summary: JobSummary) -> tuple[bytes, str]:
    """Body and ETag. Whoever waits for the same job is told the same, thousands of them at once."""
    body = json.dumps(fields_of(summary), separators=(",", ":")).encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else format_timestamp(moment)
