"""Values: how one attribute of a service's class is said in a record, and read back from it."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from jobctl.core.words import Words
from jobctl.errors import ClassRefused

FIELDS = (
    "job_id",
    "status",
    "progress",
    "error",
    "video_url",
    "thumbnail_url",
    "slide_image_path",
    "created_at",
    "completed_at",
    "last_heartbeat",
    "created_files",
)
"""The fields of a record that an attribute may stand for; all others of a class go to the payload."""

MOMENTS = frozenset({"created_at", "completed_at", "last_heartbeat"})
ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "ABSENT"})()
"""What an attribute is that is not there."""

_PLAIN = frozenset({str, int, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone in which moments without one are meant, and whether the class's moments are such."""

    zone: tzinfo = UTC
    is_naive: bool = False

    def aware(self, moment: datetime) -> datetime:
        """The moment in UTC."""
        return (moment.replace(tzinfo=self.zone) if moment.tzinfo is None else moment).astimezone(UTC)

    def shown(self, moment: datetime) -> datetime:
        """The moment as the class has it."""
        if not self.is_naive:
            return moment
        try:
            return moment.astimezone(self.zone).replace(tzinfo=None)
        except OverflowError:
            # The first and the last day there is, which begin and end elsewhere.
            return moment.replace(tzinfo=None)


@dataclass(slots=True)
class Attribute:
    """One attribute: its name, the field of the record it stands for, its type, and what it is by default."""

    name: str
    field: str | None
    annotation: Any
    adapter: TypeAdapter[Any]
    default: Callable[[], Any] | None
    takes_none: bool

    def to_json(self, value: Any) -> Any:
        """A value as JSON says it. Raises ``ValueError`` for one that it cannot."""
        if type(value) in _PLAIN:
            return value
        try:
            said = self.adapter.dump_python(value, mode="json", warnings=False)
        except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{self.name} cannot be kept, for JSON cannot say it: {error}; leave it out with "
                f'skip=("{self.name}",)'
            ) from None
        if not _is_json(said):
            raise ValueError(f"{self.name} cannot be kept, for JSON cannot say all of it")
        if not _has_all_keys(value, said):
            raise ValueError(f"{self.name} cannot be kept, for two keys of a dict in it are one in JSON")
        # A set has no order, and must not look changed because it was dumped in another one.
        return sorted(said, key=json.dumps) if isinstance(value, set | frozenset) else said

    def from_json(self, said: Any) -> Any:
        """A value of the attribute's type; as it is where it fits none."""
        if said is None:
            return None
        try:
            return self.adapter.validate_python(said)
        except ValidationError:
            return said

    def absent(self) -> Any:
        """What it is where nothing is known of it."""
        if self.takes_none or self.default is None:
            return None
        return self.default()

    def to_field(self, value: Any, words: Words, zone: Zone) -> Any:
        """What the record's field says of a value. Raises ``ValueError`` for what it cannot say at all."""
        if self.field == "status":
            return words.status_of(self.to_json(value))
        if self.field == "created_files":
            said = [] if value is None else self.to_json(value)
            return [each if isinstance(each, str) else json.dumps(each) for each in _as_list(said)]
        if value is None:
            return None
        if self.field == "progress":
            return _number(value)
        if self.field in MOMENTS:
            return _moment(value, zone)
        said = self.to_json(value)
        return said if isinstance(said, str) else json.dumps(said)

    def of_field(self, said: Any, words: Words, zone: Zone) -> Any:
        """The value that the record's field says, as the class has it."""
        if self.field == "status":
            return self.from_json(words.word_of(said))
        if said is None:
            return self.absent()
        if self.field in MOMENTS:
            return self._moment_shown(zone.shown(said), zone)
        return self.from_json(list(said) if self.field == "created_files" else said)

    def _moment_shown(self, moment: datetime, zone: Zone) -> Any:
        wanted = _types_in(self.annotation)
        if datetime in wanted or not wanted & {str, float, int}:
            return moment
        if str in wanted:
            return moment.isoformat()
        seconds = zone.aware(moment).timestamp()
        return seconds if float in wanted else int(seconds)


def adapter_of(annotation: Any, *, of: str, name: str) -> TypeAdapter[Any]:
    """What converts values of an attribute. Raises ``ClassRefused`` for a type that cannot be kept."""
    try:
        return TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, TypeError, NameError) as error:
        why = str(error).partition("\n")[0]
        raise ClassRefused(
            f"{of}.{name} cannot be kept in a record: {why}",
            hint=f'keep it in memory only, with skip=("{name}",)',
        ) from None


def takes_none(adapter: TypeAdapter[Any]) -> bool:
    """Whether ``None`` is a value of the type."""
    try:
        return adapter.validate_python(None) is None
    except ValidationError:
        return False


def is_equal(one: Any, other: Any) -> bool:
    """Whether two values are the same to a program: equal and, for numbers and truth, of one kind."""
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _types_in(annotation: Any) -> set[Any]:
    """The types that an annotation names, through unions and notes."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _types_in(typing.get_args(annotation)[0])
    if origin in {typing.Union, types.UnionType}:
        return set().union(*map(_types_in, typing.get_args(annotation)))
    return {annotation} if isinstance(annotation, type) else set()


def _as_list(said: Any) -> list[Any]:
    if isinstance(said, list):
        return said
    return list(said) if isinstance(said, dict) else [said]


def _number(value: Any) -> float | None:
    """A progress; what is no number says nothing."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _moment(value: Any, zone: Zone) -> datetime | None:
    """The moment that a datetime, an ISO text or seconds since 1970 mean; ``None`` for what means none."""
    try:
        if isinstance(value, datetime):
            return zone.aware(value)
        if isinstance(value, str):
            return zone.aware(datetime.fromisoformat(value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _has_all_keys(value: Any, said: Any) -> bool:
    """Whether no two keys of a dict became one, as 1 and "1" do, in what a value was dumped as."""
    if isinstance(value, dict) and isinstance(said, dict):
        return len(value) == len(said) and all(map(_has_all_keys, value.values(), said.values()))
    if isinstance(value, list | tuple) and isinstance(said, list):
        return all(map(_has_all_keys, value, said))
    held = getattr(value, "__dict__", None)
    if held and isinstance(said, dict):
        return all(_has_all_keys(held[name], said[name]) for name in held.keys() & said.keys())
    return True


def _is_json(said: Any) -> bool:
    """Whether a dumped value holds no number that JSON has no word for."""
    if isinstance(said, float):
        return math.isfinite(said)
    if isinstance(said, list):
        return all(map(_is_json, said))
    if isinstance(said, dict):
        return all(map(_is_json, said.values()))
    return True
