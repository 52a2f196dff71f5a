"""What a line may say of a job to enqueue. Imports pydantic: only for who reads such lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jobctl.model.enqueued import LATEST
from jobctl.work import HIGHEST_PRIORITY, LOWEST_PRIORITY, MOST_RETRIES

_A_TEXT = "a text"
_WANTED = {
    **dict.fromkeys(("key", "queue", "owner", "job_id"), _A_TEXT),
    "priority": f"a whole number from {LOWEST_PRIORITY:,} to {HIGHEST_PRIORITY:,}",
    "retries": f"a whole number from 0 to {MOST_RETRIES:,}",
    "delay": """such as "5m", or seconds""",
    "at": "a time with its offset, such as 2026-01-31T03:00Z",
}
"""What each field has to be."""


def _moment(said: object) -> datetime:
    """A time that a line names, in UTC. A number is none: it would be taken for seconds since 1970."""
    try:
        moment = datetime.fromisoformat(said) if isinstance(said, str) else None
        if moment is not None and moment.tzinfo is not None and moment < LATEST:
            return moment.astimezone(UTC)
    except OverflowError:
        pass
    raise ValueError("it names no moment")


class JobFields(BaseModel):
    """One job by its fields. ``at``: RFC 3339; ``delay``: ``"5m"``, or seconds."""

    model_config = ConfigDict(extra="forbid")

    payload: Any = None
    key: str | None = None
    queue: str | None = None
    priority: Annotated[int, Field(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] | None = None
    owner: str | None = None
    job_id: str | None = None
    retries: Annotated[int, Field(ge=0, le=MOST_RETRIES)] | None = None
    delay: str | float | None = None
    at: Annotated[AwareDatetime, BeforeValidator(_moment)] | None = None


def parse_fields(said: Any) -> JobFields:
    """The fields of one job. Raises ``ValueError`` in the words of whoever wrote the line."""
    try:
        return JobFields.model_validate(said)
    except ValidationError as error:
        raise ValueError(_explained(error)) from None


def _explained(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in found["loc"][:1])
    if found["type"] == "extra_forbidden":
        return f"{place!r} is no field of a job ({', '.join(JobFields.model_fields)})"
    return f"{place!r} has to be {_WANTED[place]}" if place else "it is no object of a job's fields"
