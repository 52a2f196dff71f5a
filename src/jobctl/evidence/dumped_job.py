"""The types of a dumped job's known fields. Imports pydantic: only for who reads a dump."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

# Text as well wherever a number is meant, since CSV has nothing else.
_Number = int | float | str | None
_Text = str | None
# ISO 8601, or seconds or milliseconds since 1970.
_Moment = str | int | float | None


class DumpedJob(BaseModel):
    """One job as another program dumped it, by jobctl's names."""

    model_config = ConfigDict(strict=True, extra="forbid")

    job_id: str | int | None = None
    status: _Text = None
    progress: _Number = None
    error: _Text = None
    video_url: _Text = None
    thumbnail_url: _Text = None
    slide_image_path: _Text = None
    created_at: _Moment = None
    completed_at: _Moment = None
    last_heartbeat: _Moment = None
    created_files: list[str] | str | None = None
    kind: _Text = None
    queue: _Text = None
    owner: str | int | None = None
    priority: _Number = None
    run_at: _Moment = None
    attempt: _Number = None
    max_attempts: _Number = None
    error_code: _Text = None
    started_at: _Moment = None
    payload: Any = None
    result: Any = None
