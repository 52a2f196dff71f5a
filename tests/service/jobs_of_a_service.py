"""Job classes as services have them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


@dataclass
class Options:
    width: int = 1920
    tags: list[str] = field(default_factory=list)


@dataclass
class PresentationJob:
    job_id: str
    status: str = "queued"
    progress: float = 0.0
    error: str | None = None
    video_url: str | None = None
    thumbnail_url: str | None = None
    slide_image_path: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    last_heartbeat: datetime | None = None
    created_files: list[str] = field(default_factory=list)
    slides: list[dict[str, Any]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    options: Options = field(default_factory=Options)


@dataclass
class SmallJob:
    job_id: str
    status: str = "queued"
    created_files: list[str] = field(default_factory=list)
    slides: list[dict[str, Any]] = field(default_factory=list)


class Stage(enum.Enum):
    WAITING = "waiting"
    RENDERING = "rendering"
    UPLOADING = "uploading"
    COMPLETED = "completed"
    FAILED = "failed"


STAGES = {"waiting": "queued", "rendering": "processing", "uploading": "processing"}


class PresentationModel(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, validate_assignment=True, extra="allow"
    )

    id: str
    stage: Stage = Stage.WAITING
    progress: int = 0
    video_url: str | None = None
    created_at: datetime | None = None
    created_files: list[str] = Field(default_factory=list)
    slides: list[dict[str, Any]] = Field(default_factory=list)


MODEL_FIELDS = {"job_id": "id", "status": "stage"}
