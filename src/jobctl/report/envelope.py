"""The one JSON object every command answers with, whatever became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple

from jobctl.errors import ExitCode, JobctlError
from jobctl.model.names import is_utf8, to_stored
from jobctl.model.timestamps import format_timestamp

SCHEMA = "jobctl/v1"


class Ending(NamedTuple):
    """What is known of a command once it has ended. ``data`` holds what only this command answers."""

    code: ExitCode = ExitCode.CLEAN
    run_id: str | None = None
    counts: Mapping[str, int] = {}
    errors: Sequence[JobctlError] = ()
    data: Mapping[str, Any] = {}


def closing_fields(ending: Ending, warnings: Sequence[str]) -> dict[str, Any]:
    """The fields of the envelope that can only be told at the end; ``status`` is the exit code's name."""
    return {
        "run_id": ending.run_id,
        "status": ending.code.name.lower().replace("_", "-"),
        "exit_code": int(ending.code),
        "counts": dict(ending.counts),
        "warnings": list(warnings),
        "errors": [error_entry(error) for error in ending.errors],
    }


def envelope(command: str, ending: Ending, warnings: Sequence[str]) -> dict[str, Any]:
    """The whole object. ``data`` is null where there is none, as after an error."""
    opening = {"schema": SCHEMA, "command": command}
    return {**opening, **closing_fields(ending, warnings), "data": dict(ending.data) or None}


def error_entry(error: JobctlError) -> dict[str, str]:
    """One error as scripts read it."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


def to_json(value: Any) -> str:
    """``value`` on one line of ASCII, which no terminal, locale or log can misread."""
    return json.dumps(_presentable(value), separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _presentable(value: Any) -> Any:
    """Moments as text; and nothing that JSON readers refuse: lone surrogates, NaN, which PostgreSQL keeps."""
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, str):
        return value if is_utf8(value) else to_stored(value)
    if isinstance(value, datetime):
        return format_timestamp(value)
    if isinstance(value, Mapping):
        return {_presentable(key): _presentable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_presentable(each) for each in value]
    return value
