"""Remote renders: what a renderer says of them, and which job each belongs to."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self

from jobctl.model.job import Confidence


class RenderState(StrEnum):
    """How far a remote render is, in words that are the same for every renderer."""

    RENDERING = "rendering"
    READY = "ready"
    FAILED = "failed"
    DRAFT = "draft"
    """Edited, and not given to the renderer, or changed since."""
    UNKNOWN = "unknown"


class Proof(StrEnum):
    """What ties a render to a job. ``meaning`` is the text shown to an operator."""

    meaning: str
    confidence: Confidence

    def __new__(cls, value: str, meaning: str, confidence: Confidence) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.confidence = confidence
        return member

    OPERATOR = "operator", "an operator said so", Confidence.CERTAIN
    LOG = "log", "a log names both in one line", Confidence.CERTAIN
    NAME = "name", "its name or a tag holds the job's id", Confidence.HIGH
    TIME = "time", "it was made when the job began", Confidence.MEDIUM


class Render(NamedTuple):
    """One render as its renderer tells of it.

    ``said`` is the renderer's own word for its state. ``url`` is where it can be downloaded:
    a signed address is a secret, so it is neither shown nor stored, nor part of the ``repr``.
    """

    remote_id: str
    state: RenderState
    said: str = ""
    name: str | None = None
    tags: tuple[str, ...] = ()
    created_at: datetime | None = None
    duration_s: float | None = None
    error: str | None = None
    url: str | None = None

    def __repr__(self) -> str:
        shown = {**self._asdict(), "url": "***" if self.url else None}
        return f"Render({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class KnownRender(NamedTuple):
    """A render as the store keeps it; ``seen_at`` is when its renderer last told of it."""

    renderer: str
    render: Render
    job_id: str | None
    matched_by: Proof | None
    seen_at: datetime
