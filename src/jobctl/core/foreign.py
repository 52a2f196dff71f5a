"""What the rows of other tables say of jobs, in jobctl's own words. Pure.

Whatever type a column has and whatever was written into it: text becomes text that every
database holds, moments become UTC, and what fits no field of a job is told, not guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, tzinfo
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

from jobctl.core.layout import JOB_ID
from jobctl.core.urls import job_id_of
from jobctl.model.evidence import Fact, Trust
from jobctl.model.status import Status
from jobctl.model.storable import storable_text
from jobctl.model.timestamps import format_timestamp
from jobctl.source import NAMING_FIELDS

_is_job_id = re.compile(JOB_ID).fullmatch
# What programs write where they know no id.
_PLACEHOLDERS = frozenset(
    {"unknown", "none", "null", "undefined", "nan", "nil", "n.a.", "na", "false", "true"}
)
_SECRET = re.compile(r"(?i)token|signature|secret|passw|credential|\bsig|\bkey")
_PARAMETERS = re.compile("[&;]")
_USER = re.compile(r"^(?P<scheme>[a-zA-Z][\w+.-]*://)[^/?#]*@")
_DAY_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d.\d\d")
_ZERO_MOMENT = re.compile(r"0001-01-01[T ]00:00:00(?:\.0{1,9})?(?:Z|[+-]00:?00)?")
_LONGEST_MOMENT = 64
_FIRST, _LAST = "1980", "2100"
_FIRST_EPOCH_S, _LAST_EPOCH_S = 315_532_800, 4_102_444_800  # the same in seconds
_DEEPEST = 100

_WORDS = {
    Status.QUEUED: ("pending", "waiting", "created", "new", "scheduled", "submitted"),
    Status.PROCESSING: ("running", "in_progress", "started", "active", "generating", "rendering", "working"),
    Status.COMPLETED: ("complete", "done", "success", "succeeded", "successful", "finished", "ready"),
    Status.FAILED: ("failure", "error", "errored", "crashed"),
    Status.CANCELLED: ("canceled", "aborted", "stopped"),
    Status.EXPIRED: (),
}
_STATUSES = {word: status for status, words in _WORDS.items() for word in (status.value, *words)}


class SourceRow(NamedTuple):
    """One row of another table that names a job; ``fields`` are JSON, only those that have a value.

    ``locator`` is the table and the row's key or number, such as ``projects:17``.
    """

    job_id: str
    fields: Mapping[str, Any]
    locator: str


def job_id_named(fields: Mapping[str, Any]) -> str | None:
    """The job a row is about: its id, else the id in a URL; ``None`` where neither is one."""
    for name in NAMING_FIELDS:
        value = fields.get(name)
        if value is not None:
            found = as_job_id(value) if name == "job_id" else job_id_of(str(value))
            if found:
                return found
    return None


def as_job_id(value: Any) -> str | None:
    """``value`` as a job id, or ``None`` where it is none: another type, or a word for "not known"."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value).strip()
    if not _is_job_id(text) or text.lower() in _PLACEHOLDERS:
        return None
    return text.lower() if _is_uuid(text) else text


def facts_of_row(source: str, row: SourceRow, *, zone: tzinfo) -> Iterator[Fact]:
    """Everything one row says: that it names the job, with what could not be understood, then each field.

    Moments without an offset are meant in ``zone``.
    """
    values: dict[str, Any] = {}
    remarks = []
    for field, raw in row.fields.items():
        if field == "job_id":
            continue
        value = _understood(field, raw, zone)
        if value is None:
            remarks.append(f"its {field} {shortened(raw)} is not understood")
        else:
            values[field] = value
    yield Fact(
        row.job_id,
        "job_id",
        row.job_id,
        source,
        row.locator,
        Trust.SIDECAR,
        "; ".join(remarks) or "it names the job",
    )
    for field, value in values.items():
        yield Fact(row.job_id, field, value, source, row.locator, Trust.SIDECAR)


def status_named(value: Any) -> Status | None:
    """The status a word of another program stands for, or ``None``."""
    if not isinstance(value, str):
        return None
    return _STATUSES.get(re.sub(r"[\s-]+", "_", value.strip().lower()))


def moment_text(value: Any, zone: tzinfo) -> str | None:
    """A moment as 27 characters of UTC: from ISO 8601 text, or seconds or milliseconds since 1970.

    ``None`` where it is no moment of a job, which lies between 1980 and 2100: programs write the
    year 1 or 9999 where they know none. A bare date is none either, since it names no time.
    """
    if isinstance(value, str):
        return _moment_of_text(value.strip(), zone)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LAST_EPOCH_S * 1000:
        return None
    seconds = value / 1000 if abs(value) > _LAST_EPOCH_S else value
    if not _FIRST_EPOCH_S <= seconds < _LAST_EPOCH_S:
        return None
    return format_timestamp(datetime.fromtimestamp(seconds, UTC))


def is_no_moment_yet(value: Any) -> bool:
    """Whether a program wrote the first moment of its calendar, as Go and .NET do where they know none."""
    return isinstance(value, str) and _ZERO_MOMENT.fullmatch(value.strip()) is not None


def number(value: Any) -> float | None:
    """A finite number, also from text such as ``75`` or ``75%``; else ``None``."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value.strip().removesuffix("%") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def file_list(value: Any) -> list[str] | None:
    """A list of file names, also from its JSON text; else ``None``."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return None
    return [storable_text(name) for name in value]


def without_secrets(url: str) -> str:
    """A URL without the user in it, and without its query where that bears a signature or a token."""
    address, mark, rest = _USER.sub(r"\g<scheme>", url).partition("?")
    parameters = (each.partition("=") for each in _PARAMETERS.split(rest))
    is_secret = any(equals and _SECRET.search(name) for name, equals, _ in parameters)
    return address if is_secret else f"{address}{mark}{rest}"


def json_safe(value: Any, depth: int = 0) -> Any:
    """Any value as JSON that every database holds; a number that is none becomes ``None``."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if depth < _DEEPEST and isinstance(value, dict):
        return {storable_text(str(key)): json_safe(each, depth + 1) for key, each in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [json_safe(each, depth + 1) for each in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return storable_text(bytes(value).decode(errors="backslashreplace"))
    if isinstance(value, date):
        return value.isoformat()
    return storable_text(str(value))


def _moment_of_text(text: str, zone: tzinfo) -> str | None:
    if len(text) > _LONGEST_MOMENT or not _DAY_AND_TIME.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        written = format_timestamp(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        return None
    return written if _FIRST <= written < _LAST else None


def _text(value: Any) -> str | None:
    if isinstance(value, dict | list):
        return None
    return storable_text(str(value)).strip() or None


def _url(value: Any) -> str | None:
    text = _text(value)
    return without_secrets(text) if text else None


def _status_value(value: Any) -> str | None:
    status = status_named(value)
    return status.value if status else None


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "status": _status_value,
    "progress": number,
    "created_files": file_list,
    "video_url": _url,
    "thumbnail_url": _url,
}
_MOMENTS = frozenset({"created_at", "completed_at", "last_heartbeat"})


def _understood(field: str, raw: Any, zone: tzinfo) -> Any:
    if field in _MOMENTS:
        return moment_text(raw, zone)
    read: Callable[[Any], Any] = _READERS.get(field, _text)
    return read(raw)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def shortened(value: Any) -> str:
    """A value as a message names it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
