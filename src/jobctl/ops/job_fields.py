"""What a line may say of a job to enqueue. Imports pydantic: only for who reads such lines."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from jobctl.work import HIGHEST_PRIORITY, LOWEST_PRIORITY, MOST_RETRIES


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
    at: AwareDatetime | None = None


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
    message = found["msg"]
    return f"{place}: {message[0].lower()}{message[1:]}" if place else "it is no object of a job's fields"
