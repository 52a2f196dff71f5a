"""Dumps of jobs: documents of any origin into job rows, and job rows into documents. Pure.

An exported document is a job row (``core.job_rows``), flat, and says so in ``format``; every other
document is what some program wrote of its jobs, with names and types of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any, NamedTuple

from jobctl.core.foreign import (
    as_job_id,
    file_list,
    is_no_moment_yet,
    json_safe,
    moment_text,
    number,
    shortened,
    status_named,
    without_secrets,
)
from jobctl.core.job_rows import BODY_FIELDS, JOB_FIELDS, KINDS, comparable, why_no_job
from jobctl.model.evidence import Trust
from jobctl.model.job import Confidence, Origin
from jobctl.model.plan import Row
from jobctl.model.storable import storable_text

FORMAT = "jobctl-job/v1"
"""What an exported document says of itself."""

EXPORTED = ("format", *JOB_FIELDS, *BODY_FIELDS)
"""The names of an exported document, in the order of the columns of a table."""

_NOT_YET = {"spared": 0}
"""What the exports of earlier versions do not say, and what it was then."""

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
    values = {name: _dumped(name, known[name], terms) for name in DUMPED if _is_told(known.get(name))}
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


def _is_same(value: Any, other: Any) -> bool:
    return bool(value == other) or bool(comparable(value) == comparable(other))


def _checked(row: Row) -> Row:
    refused = why_no_job(row)
    if refused:
        raise Wrong(refused)
    return row


def _is_told(value: Any) -> bool:
    return value not in (None, "") and not is_no_moment_yet(value)


def _dumped(name: str, value: Any, terms: DumpTerms) -> Any:
    understood = _understood(name, value, terms)
    if understood is None:
        raise Wrong(f"its {name} {shortened(value)} is not understood")
    return understood


def _understood(name: str, value: Any, terms: DumpTerms) -> Any:
    kind = KINDS[name].removesuffix("?")
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
    text = storable_text(str(value))
    return without_secrets(text) if name.endswith("_url") else text


def _payload(payload: Any, rest: Mapping[str, Any]) -> Any:
    """What the job was asked to do, and beside it whatever else the dump knew."""
    if not rest:
        return json_safe(payload)
    own = payload if isinstance(payload, Mapping) else {} if payload is None else {"payload": payload}
    return json_safe({**rest, **own})


def _provenance(value: Any, where: str, terms: DumpTerms) -> dict[str, Any]:
    return {"value": value, "source": terms.source, "locator": where, "trust": Trust.SIDECAR.label}
