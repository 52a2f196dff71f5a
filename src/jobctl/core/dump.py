"""Dumps of jobs: documents of any origin into job rows, and job rows into documents. Pure.

A job row here is a whole record: the columns of the job but for version and time of change,
which are each store's own, and under ``body`` what hangs on it: payload, result, artifacts
and events. An exported document is the same, flat, and says so in ``format``; every other
document is what some program wrote of its jobs, with names and types of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import Any, NamedTuple

from jobctl.core.foreign import (
    as_job_id,
    file_list,
    json_safe,
    moment_text,
    number,
    plain_text,
    status_named,
    without_secrets,
)
from jobctl.model.enqueued import length_if_too_long
from jobctl.model.evidence import Trust
from jobctl.model.job import Artifact, Confidence, Event, Job, Origin
from jobctl.model.names import from_stored
from jobctl.model.plan import Row
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.work import LONGEST_NAME

FORMAT = "jobctl-job/v1"
"""What an exported document says of itself."""

_OWN_OF_A_STORE = ("version", "updated_at")
JOB_FIELDS = tuple(name for name in Job.__dataclass_fields__ if name not in _OWN_OF_A_STORE)
BODY_FIELDS = ("payload", "result", "artifacts", "events")
EXPORTED = ("format", *JOB_FIELDS, *BODY_FIELDS)
"""The names of an exported document, in the order of the columns of a table."""

ARTIFACT_FIELDS = tuple(name for name in Artifact.__dataclass_fields__ if name not in {"job_id", "version"})
EVENT_FIELDS = tuple(name for name in Event._fields if name not in {"event_id", "job_id"})

_STATES = ("present", "missing", "quarantined", "purged")
_LONGEST_ID = 200
_INDEXED = {"kind": "task", "queue": "queue", "idempotency_key": "idempotency key"}
"""Fields that indexes hold whole, and what they are called; of an owner they hold the beginning."""
_INT32, _INT64 = 2**31, 2**63
_EXACT = 2**53
_NOT_YET = {"spared": 0}
"""What the exports of earlier versions do not say, and what it was then."""

_LARGEST = 1.7976931348623157e308
_EXECUTOR = {"host": str, "boot_id": str, "pid": int, "pid_start": int, "instance": str}

# What a column may hold, by the word for it; a word with "?" may be empty.
_KINDS = {
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
_ARTIFACT_KINDS = {
    "root_id": "text",
    "path": "path",
    "role": "text",
    "state": "state",
    **dict.fromkeys(("size", "mtime_ns"), "int64?"),
    **dict.fromkeys(("sha256", "verdict", "tier", "run_id"), "text?"),
    "media": "object?",
    "noted_at": "moment?",
}
_EVENT_KINDS = {
    "at": "moment",
    **dict.fromkeys(("kind", "actor"), "text"),
    **dict.fromkeys(("run_id", "from_status", "to_status"), "text?"),
    "attempt": "int32?",
    "detail": "object?",
}
_JSON_FIELDS = frozenset({"created_files", "executor", "provenance", *BODY_FIELDS})
_NUMBER_FIELDS = frozenset({"progress", "max_progress"})
_INTEGER_FIELDS = frozenset({"priority", "attempt", "spared", "max_attempts"})

DUMPED = (
    *(
        "job_id",
        "status",
        "progress",
        "error",
        "video_url",
        "thumbnail_url",
        "slide_image_path",
        "created_at",
    ),
    *("completed_at", "last_heartbeat", "created_files", "kind", "queue", "owner", "priority", "run_at"),
    *("attempt", "max_attempts", "error_code", "started_at"),
)
"""The fields that are read from a dump of another program; all others become payload."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Before any of these a spreadsheet takes a cell for a formula; the mark itself is marked as well.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


class Wrong(ValueError):
    """A document that describes no job; the text says why."""


class Entry(NamedTuple):
    """One entry of a dump: where it stands, and its document, or else why there is none."""

    where: str
    document: Mapping[str, Any] | None
    fault: str = ""


class DumpTerms(NamedTuple):
    """What holds for a whole dump: what it is called, and the zone of moments without an offset."""

    source: str
    zone: tzinfo
    imported_at: str


def is_exported(document: Mapping[str, Any]) -> bool:
    """Whether a document is what ``jobctl export`` wrote."""
    return document.get("format") == FORMAT


def to_document(row: Row) -> dict[str, Any]:
    """A job row as the flat document that is exported."""
    return {"format": FORMAT, **{name: row.get(name) for name in JOB_FIELDS}, **row["body"]}


def from_document(document: Mapping[str, Any]) -> Row:
    """The job row of an exported document. Raises ``Wrong``."""
    unknown = sorted(set(document) - set(EXPORTED))
    if unknown:
        raise Wrong(f"it has a field no export has: {unknown[0]!r}")
    row: Row = {name: document.get(name, _NOT_YET.get(name)) for name in JOB_FIELDS}
    row["body"] = {name: document.get(name) for name in BODY_FIELDS}
    for name in ("artifacts", "events"):
        row["body"][name] = row["body"][name] or []
    _checked(row)
    row["body"]["artifacts"].sort(key=lambda artifact: (artifact["root_id"], artifact["path"]))
    return row


def split_fields(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a dumped job that are known, by jobctl's names, and all others as they were.

    ``createdAt`` and ``created_at`` are one field; both at once are ``Wrong`` where they differ.
    """
    known: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in document.items():
        field = _HUMP.sub("_", name).lower()
        if field not in DUMPED and field not in {"payload", "result"}:
            rest[name] = value
        elif field in known and known[field] != value:
            raise Wrong(f"it says two things as {field}")
        else:
            known[field] = value
    return known, rest


def from_dump(known: Mapping[str, Any], rest: Mapping[str, Any], where: str, terms: DumpTerms) -> Row:
    """The job row of a document of another program, ``where`` being its place. Raises ``Wrong``.

    What is not known stays empty; a field that no job has is kept in the payload.
    """
    values = {name: _dumped(name, known[name], terms) for name in DUMPED if known.get(name) not in (None, "")}
    if "job_id" not in values:
        raise Wrong("it names no job")
    if "status" not in values:
        raise Wrong("it says no status")
    payload = _payload(known.get("payload"), rest)
    row: Row = {
        **dict.fromkeys(JOB_FIELDS),
        "kind": "presentation",
        "queue": "default",
        "priority": 0,
        "attempt": 0,
        "spared": 0,
        "max_attempts": 1,
        **values,
        "origin": Origin.IMPORTED.value,
        "confidence": Confidence.HIGH.value,
        "provenance": {
            name: _provenance(value, where, terms) for name, value in values.items() if name != "job_id"
        },
        "recovered_at": terms.imported_at,
        "body": {"payload": payload, "result": json_safe(known.get("result")), "artifacts": [], "events": []},
    }
    return _checked(row)


def differences(row: Row, recorded: Row, *, exact: bool) -> list[str]:
    """The fields in which a recorded job is not what a dump says.

    ``exact``: of an exported document every field counts, of another only those it speaks of.
    History is not compared: it only ever grows.
    """
    names: Iterable[str] = JOB_FIELDS if exact else row["provenance"]
    found = [name for name in names if not _is_same(row.get(name), recorded.get(name))]
    for name in ("payload", "result", "artifacts"):
        value, other = row["body"][name], recorded["body"][name]
        if (exact or value) and not _is_same(value, other):
            found.append(name)
    return found


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
    refused = _why_not_kinds(row, _KINDS)
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


def to_columns(document: Mapping[str, Any]) -> dict[str, Any]:
    """An exported document as the values of a table's row: what has structure as JSON text."""
    return {
        name: _as_json(document.get(name))
        if name in _JSON_FIELDS and document.get(name) is not None
        else document.get(name)
        for name in EXPORTED
    }


def from_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """The exported document of a table's row, also where all its values are text. Raises ``Wrong``."""
    return {name: _from_column(name, value) for name, value in values.items()}


def to_cell(value: Any) -> str:
    """A value as a CSV cell that no spreadsheet takes for a formula; empty text is told from nothing."""
    if value is None:
        return ""
    text = repr(value) if isinstance(value, float) else str(value)
    return f"'{text}" if not text or text.startswith(_FORMULA) else text


def from_cell(cell: str) -> str | None:
    """The text that ``to_cell`` wrote; ``None`` for nothing."""
    return cell.removeprefix("'") if cell else None


def _is_same(value: Any, other: Any) -> bool:
    return bool(value == other) or bool(comparable(value) == comparable(other))


def _checked(row: Row) -> Row:
    refused = why_no_job(row)
    if refused:
        raise Wrong(refused)
    return row


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
    try:
        return isinstance(value, str) and format_timestamp(parse_timestamp(value)) == value
    except (ValueError, OverflowError):
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_executor(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(_EXECUTOR)
        and all(type(value[name]) is kind for name, kind in _EXECUTOR.items())
    )


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
    "object": lambda value: isinstance(value, dict),
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


def _dumped(name: str, value: Any, terms: DumpTerms) -> Any:
    understood = _understood(name, value, terms)
    if understood is None:
        raise Wrong(f"its {name} {_shortened(value)} is not understood")
    return understood


def _understood(name: str, value: Any, terms: DumpTerms) -> Any:
    kind = _KINDS[name].removesuffix("?")
    if name == "job_id":
        return as_job_id(value)
    if kind == "status":
        status = status_named(value)
        return status.value if status else None
    if kind == "moment":
        return moment_text(value, terms.zone)
    if kind == "number":
        return number(value)
    if kind == "int32":
        found = number(value)
        return int(found) if found is not None and found.is_integer() else None
    if kind == "texts":
        return file_list(value)
    if isinstance(value, bool | dict | list):
        return None
    text = plain_text(str(value))
    return without_secrets(text) if name.endswith("_url") else text


def _payload(payload: Any, rest: Mapping[str, Any]) -> Any:
    """What the job was asked to do, and beside it whatever else the dump knew."""
    if not rest:
        return json_safe(payload)
    own = payload if isinstance(payload, Mapping) else {} if payload is None else {"payload": payload}
    return json_safe({**rest, **own})


def _provenance(value: Any, where: str, terms: DumpTerms) -> dict[str, Any]:
    return {"value": value, "source": terms.source, "locator": where, "trust": Trust.SIDECAR.label}


def _as_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _from_column(name: str, value: Any) -> Any:
    if value is None or not isinstance(value, str):
        return value
    try:
        if name in _JSON_FIELDS:
            return json.loads(value)
        if name in _NUMBER_FIELDS:
            return float(value)
        return int(value) if name in _INTEGER_FIELDS else value
    except (ValueError, RecursionError):
        raise Wrong(f"its {name} {_shortened(value)} is not understood") from None


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
