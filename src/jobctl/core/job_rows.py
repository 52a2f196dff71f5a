"""Whole job rows: what they hold, why one cannot be recorded, and which values are the same. Pure.

A job row is the columns of a job but for version and time of change, which are each store's own, and
under ``body`` what hangs on it: payload, result, artifacts and events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jobctl.core.foreign import json_safe
from jobctl.model.enqueued import length_if_too_long
from jobctl.model.job import Artifact, Confidence, Event, Job, Origin
from jobctl.model.names import from_stored
from jobctl.model.plan import Row
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.work import LONGEST_NAME

_OWN_OF_A_STORE = ("version", "updated_at")
JOB_FIELDS = tuple(name for name in Job.__dataclass_fields__ if name not in _OWN_OF_A_STORE)
BODY_FIELDS = ("payload", "result", "artifacts", "events")
ARTIFACT_FIELDS = tuple(name for name in Artifact.__dataclass_fields__ if name not in {"job_id", "version"})
EVENT_FIELDS = tuple(name for name in Event._fields if name not in {"event_id", "job_id"})

_STATES = ("present", "missing", "quarantined", "purged")
_LONGEST_ID = 200
_INDEXED = {"kind": "task", "queue": "queue", "idempotency_key": "idempotency key"}
"""Fields that indexes hold whole, and what they are called; of an owner they hold the beginning."""
_INT32, _INT64 = 2**31, 2**63
_EXACT = 2**53
_FIRST_MOMENT, _LAST_MOMENT = "0001-01-02", "9999-12-31"
_LARGEST = 1.7976931348623157e308
_EXECUTOR = {"host": str, "boot_id": str, "pid": int, "pid_start": int, "instance": str}

KINDS = {
    **dict.fromkeys(
        ("error", "video_url", "thumbnail_url", "slide_image_path", "owner", "error_code"), "text?"
    ),
    **dict.fromkeys(("idempotency_key", "root_id"), "text?"),
    **dict.fromkeys(("job_id", "kind", "queue"), "text"),
    **dict.fromkeys(("created_at", "completed_at", "last_heartbeat", "run_at", "started_at"), "moment?"),
    "recovered_at": "moment?",
    **dict.fromkeys(("progress", "max_progress"), "number?"),
    **dict.fromkeys(("priority", "attempt", "spared", "max_attempts"), "int32"),
    "created_files": "texts?",
    "executor": "executor?",
    "provenance": "provenance?",
    "status": "status",
    "origin": "origin",
    "confidence": "confidence?",
}
"""What each field may hold, by the word for it; a word with "?" may be empty."""

_ARTIFACT_KINDS = {
    "root_id": "text",
    "path": "path",
    "role": "text",
    "state": "state",
    **dict.fromkeys(("size", "mtime_ns"), "int64?"),
    **dict.fromkeys(("sha256", "verdict", "tier", "run_id"), "text?"),
    "media": "media?",
    "noted_at": "moment?",
}
_EVENT_KINDS = {
    "at": "moment",
    **dict.fromkeys(("kind", "actor"), "text"),
    "run_id": "text?",
    **dict.fromkeys(("from_status", "to_status"), "status?"),
    "attempt": "int32?",
    "detail": "detail?",
}


def comparable(value: Any) -> Any:
    """A JSON value in which equal numbers are equal, whatever form a database gives them back in.

    ``jsonb`` makes 6e16 of 60000000000000000, and SQLite a bare integer of a bare float. Beyond
    2**53 numbers are those of double precision (RFC 8259, section 6).
    """
    if isinstance(value, int) and abs(value) > _EXACT:
        return _as_double(value)
    if isinstance(value, Mapping):
        return {name: comparable(each) for name, each in value.items()}
    return [comparable(each) for each in value] if isinstance(value, list) else value


def _as_double(value: int) -> float | int:
    try:
        return float(value)
    except OverflowError:
        return value


def why_no_job(row: Row) -> str | None:
    """The reason why a row cannot be recorded, whatever it came from; ``None`` for a sound one."""
    if set(row) != {*JOB_FIELDS, "body"}:
        return "its fields are not those of a job"
    body = row["body"]
    if not isinstance(body, Mapping) or set(body) != set(BODY_FIELDS):
        return "its body is none"
    if not _is_id(row["job_id"]):
        return "its job id is none"
    refused = _why_not_kinds(row, KINDS)
    refused = refused or _why_too_long(row)
    if refused:
        return refused
    for name, kinds in (("artifacts", _ARTIFACT_KINDS), ("events", _EVENT_KINDS)):
        refused = _why_no_list(body[name], kinds)
        if refused:
            return f"in its {name}: {refused}"
    places = [(artifact["root_id"], artifact["path"]) for artifact in body["artifacts"]]
    if len(places) != len(set(places)):
        return "it names a file twice"
    return None if json_safe(row) == row else "it holds text or numbers that no database takes"


def _why_too_long(row: Row) -> str | None:
    """As enqueueing refuses it: on PostgreSQL no index takes it, once the job is queued or given a key."""
    for name, what in _INDEXED.items():
        length = length_if_too_long(row[name])
        if length is not None:
            return f"its {what} is {length:,} bytes long, more than {LONGEST_NAME}"
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID


def _why_not_kinds(values: Mapping[str, Any], kinds: Mapping[str, str]) -> str | None:
    for name, kind in kinds.items():
        value = values.get(name)
        is_sound = kind.endswith("?") if value is None else _CHECKS[kind.removesuffix("?")](value)
        if not is_sound:
            return f"its {name} is no {_SHOWN_KINDS.get(kind.removesuffix('?'), kind.removesuffix('?'))}"
    return None


def _why_no_list(rows: Any, kinds: Mapping[str, str]) -> str | None:
    if not isinstance(rows, list):
        return "it is no list"
    for row in rows:
        if not isinstance(row, Mapping) or set(row) != set(kinds):
            return "its fields are not those of one"
        refused = _why_not_kinds(row, kinds)
        if refused:
            return refused
    return None


def _is_integer(value: Any, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit


def _is_moment(value: Any) -> bool:
    """In the form of text order, and not so near the end of the calendar that a clock elsewhere has none."""
    try:
        is_sound = isinstance(value, str) and format_timestamp(parse_timestamp(value)) == value
    except (ValueError, OverflowError):
        return False
    return is_sound and _FIRST_MOMENT <= value < _LAST_MOMENT


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_executor(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(_EXECUTOR)
        and all(type(value[name]) is kind for name, kind in _EXECUTOR.items())
    )


def _holds_number(value: Any, name: str) -> bool:
    """Whether it is an object in which databases find a number of that name, or nothing."""
    return isinstance(value, dict) and (value.get(name) is None or _is_number(value[name]))


def _is_provenance(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, dict) for entry in value.values())


def _is_path(value: Any) -> bool:
    try:
        path = from_stored(value) if isinstance(value, str) else ""
    except ValueError:
        return False
    return bool(path) and not path.startswith("/") and "\0" not in path and ".." not in path.split("/")


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "texts": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "media": lambda value: _holds_number(value, "duration_s"),
    "detail": lambda value: _holds_number(value, "retry_after_s"),
    "moment": _is_moment,
    "number": _is_number,
    "executor": _is_executor,
    "provenance": _is_provenance,
    "int32": lambda value: _is_integer(value, _INT32),
    "int64": lambda value: _is_integer(value, _INT64),
    "path": _is_path,
    "status": lambda value: isinstance(value, str) and value in list(Status),
    "origin": lambda value: isinstance(value, str) and value in list(Origin),
    "confidence": lambda value: isinstance(value, str) and value in list(Confidence),
    "state": lambda value: value in _STATES,
}
_SHOWN_KINDS = {
    "texts": "list of texts",
    "int32": "whole number",
    "int64": "whole number",
    "path": "path below a root",
}
