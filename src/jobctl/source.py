"""Other tables that know of jobs: the ``[[source]]`` entries of the configuration, checked strictly."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobctl.errors import ConfigurationError

FIELDS = (
    "job_id",
    "owner",
    "title",
    "status",
    "progress",
    "error",
    "video_url",
    "thumbnail_url",
    "created_at",
    "completed_at",
    "slide_image_path",
    "created_files",
    "last_heartbeat",
)
"""What a column of another table may be mapped to."""

NAMING_FIELDS = ("job_id", "video_url", "thumbnail_url")
"""The fields that can tell whose row it is, the most direct first."""

SIDECAR_FIELDS = ("job_id", "size", "sha256", "owner", "title", "created_at", "started_at", "completed_at")
"""What a JSON file beside a video may tell. Its status is decided by the video."""

Scalar = str | int | float | bool


class ColumnPath(NamedTuple):
    """A column, and the keys that lead to a value in its JSON; none for a plain column."""

    column: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One table or view whose rows name jobs. It is only ever read."""

    name: str
    table: str
    columns: Mapping[str, ColumnPath]
    """Field to where its value stands."""
    schema: str | None = None
    database: str | None = None
    """A file or URL; ``None``: the database of the store."""
    filter: Mapping[str, Scalar]
    """Column to the value it must have."""
    timezone: str = "UTC"
    """The zone that moments without an offset are meant in."""
    references: bool = True
    """Whether a row that names a job protects the job's files from cleanup."""

    def shape(self) -> list[Any]:
        """All that decides what is read, as JSON."""
        paths = {field: [path.column, *path.keys] for field, path in self.columns.items()}
        place = [self.name, self.database, self.schema, self.table]
        return [*place, paths, dict(self.filter), self.timezone, self.references]


_PRESETS: Mapping[str, Mapping[str, Any]] = {
    # A project outlives its videos: when it was made says nothing of when the job was.
    "projects": {
        "table": "projects",
        "columns": {
            "job_id": "microproduct_content.videoJobId",
            "owner": "onyx_user_id",
            "title": "project_name",
            "video_url": "microproduct_content.videoUrl",
            "thumbnail_url": "microproduct_content.thumbnailUrl",
            "completed_at": "microproduct_content.generatedAt",
        },
    },
    "presentation_jobs": {
        "table": "presentation_jobs",
        "columns": {name: name for name in FIELDS if name not in {"owner", "title"}},
    },
}
_KEYS = (
    "name",
    "preset",
    "database",
    "schema",
    "table",
    "columns",
    "filter",
    "timezone",
    "references",
)
_TEXTS = ("database", "schema", "table")
_NAME = re.compile(r"[\w][\w .-]{0,63}")


def sources_from_list(entries: Any, where: str) -> tuple[Source, ...]:
    """The sources of the ``[[source]]`` entries of a configuration; ``where`` names the file.

    Raises ``ConfigurationError`` naming the entry and the key that is wrong.
    """
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigurationError(f"{where}: source must be a list of tables", hint="write [[source]]")
    sources = tuple(_source(number, entry, where) for number, entry in enumerate(entries, start=1))
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"{where}: two sources are called {name!r}", hint="give each [[source]] a name of its own"
            )
    return sources


def _source(number: int, entry: Mapping[str, Any], where: str) -> Source:
    name = entry.get("name")
    place = f"{where}: source {name if isinstance(name, str) else number}"
    _refuse_unknown(place, "key", entry, _KEYS)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{place}: name must be a short text without slashes or colons", hint='write name = "projects"'
        )
    given = {**_preset(place, entry), **entry}
    for key in _TEXTS:
        if key in given and not _is_text(given[key]):
            raise ConfigurationError(f"{place}: {key} must be text", hint=f'write {key} = "…"')
    if "table" not in given:
        raise ConfigurationError(f"{place}: it names no table", hint='write table = "…", or name a preset')
    return Source(
        name=name,
        table=given["table"],
        schema=given.get("schema"),
        database=given.get("database"),
        columns=_columns(place, {**_preset(place, entry).get("columns", {}), **_table(place, entry)}),
        filter=_filter(place, given.get("filter", {})),
        timezone=_timezone(place, given.get("timezone", "UTC")),
        references=_flag(place, given.get("references", True)),
    )


def _preset(place: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    named = entry.get("preset")
    if named is None:
        return {}
    if not isinstance(named, str) or named not in _PRESETS:
        known = " or ".join(f'"{name}"' for name in _PRESETS)
        raise ConfigurationError(f"{place}: there is no preset {named!r}", hint=f"write preset = {known}")
    return _PRESETS[named]


def _table(place: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    columns = entry.get("columns", {})
    if not isinstance(columns, Mapping):
        raise ConfigurationError(
            f"{place}: columns must be a table of field = column", hint='write columns = { job_id = "id" }'
        )
    return columns


def _columns(place: str, columns: Mapping[str, Any]) -> dict[str, ColumnPath]:
    _refuse_unknown(place, "field", columns, FIELDS)
    if not any(field in columns for field in NAMING_FIELDS):
        raise ConfigurationError(
            f"{place}: no column tells which job a row is about",
            hint=f"map one of {', '.join(NAMING_FIELDS)} under columns",
        )
    return {field: _path(place, field, columns[field]) for field in FIELDS if field in columns}


def _path(place: str, field: str, value: Any) -> ColumnPath:
    """``"content.video.id"``, or a list of names where one of them holds a dot."""
    parts = value.split(".") if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts or not all(_is_text(part) for part in parts):
        raise ConfigurationError(
            f"{place}: columns.{field} must name a column, or a column and the keys in its JSON",
            hint=f'write {field} = "column", {field} = "column.key" or {field} = ["column", "key"]',
        )
    return ColumnPath(parts[0], tuple(parts[1:]))


def _filter(place: str, value: Any) -> dict[str, Scalar]:
    sound = isinstance(value, Mapping) and all(
        _is_text(column) and isinstance(wanted, Scalar) for column, wanted in value.items()
    )
    if not sound:
        raise ConfigurationError(
            f"{place}: filter must be a table of column = value, each value text, a number, true or false",
            hint='write filter = { kind = "video" }',
        )
    return dict(value)


def _timezone(place: str, value: Any) -> str:
    if not isinstance(value, str) or not is_timezone(value):
        raise ConfigurationError(
            f"{place}: timezone {value!r} is none that this machine knows",
            hint='write timezone = "UTC" or timezone = "Europe/Berlin"',
        )
    return value


def is_timezone(name: str) -> bool:
    """Whether ``name`` is a time zone that this machine has the rules of."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _flag(place: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{place}: references must be true or false", hint="write references = false"
        )
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _refuse_unknown(place: str, what: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ConfigurationError(f"{place}: unknown {what} {key!r}", hint=hint)
