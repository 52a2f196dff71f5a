"""Shape: which attributes of a service's class are which fields of a record, and the way there and back.

What a field cannot say exactly (a status of the service's own, a moment without a zone, an error that
is no text) is kept beside it in the payload, and believed as long as the field still says the same.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, RootModel
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticUndefined

from jobctl.core.threeway import is_same, with_unknown
from jobctl.core.words import Words
from jobctl.errors import ClassRefused, UsageError
from jobctl.model.job import Job
from jobctl.model.status import Status
from jobctl.service.jobdict_values import (
    ABSENT,
    FIELDS,
    MOMENTS,
    Attribute,
    Zone,
    adapter_of,
    is_equal,
    takes_none,
)

J = TypeVar("J")
_UNDECLARED = "an undeclared attribute"


class Said(NamedTuple):
    """An object, as the record and the payload say it."""

    fields: Mapping[str, Any]
    payload: Mapping[str, Any]


class Shape(Generic[J]):
    """How objects of one class are recorded."""

    def __init__(
        self,
        cls: type[J],
        *,
        fields: Mapping[str, str] | None = None,
        statuses: Mapping[str, str] | None = None,
        skip: Iterable[str] = (),
        zone: Zone | None = None,
    ) -> None:
        """Look at a class. Raises ``ClassRefused`` for one whose objects cannot be followed."""
        refuse_unless_followed(cls)
        self.cls = cls
        self._zone = zone or Zone()
        self._skipped = frozenset(skip)
        every = list(_declared(cls))
        self._left_out = [(each.name, each.default) for each in every if each.name in self._skipped]
        declared = {each.name: each for each in every if each.name not in self._skipped}
        self.attributes = _with_fields(cls, declared, fields or {})
        self.of_field = {each.field: each for each in self.attributes.values() if each.field}
        self._words = Words(statuses, known=_words_of(self.of_field.get("status")))
        self._runs_code = cls.__init__ is not object.__init__ and hasattr(cls, "__post_init__")
        self._anything = adapter_of(Any, of=cls.__name__, name=_UNDECLARED)

    def said(self, owner: J, only: Iterable[str] | None = None) -> Said:
        """What an object says, perhaps ``only`` of some attributes.

        Raises ``ValueError`` for what cannot be kept.
        """
        fields: dict[str, Any] = {}
        payload: dict[str, Any] = {}
        values = held_by(owner)
        names = values.keys() if only is None else only
        for name in names:
            if name not in values or not self.is_kept(name):
                continue
            attribute, value = self._attribute(name), values[name]
            if attribute.field is None:
                payload[name] = attribute.to_json(value)
                continue
            fields[attribute.field] = attribute.to_field(value, self._words, self._zone)
            shown = attribute.of_field(fields[attribute.field], self._words, self._zone)
            if not is_equal(shown, value):
                payload[name] = attribute.to_json(value)
        return Said(fields, payload)

    def said_anew(self, owner: J, before: Said, only: Iterable[str] | None = None) -> Said:
        """What an object says of which all attributes, or ``only`` some, may have changed.

        What its class knows nothing of, at any depth, stays as another program wrote it: while a service is
        deployed, servers of two versions are at work. Raises as ``said`` does.
        """
        names = None if only is None else set(only)
        return self._over(before, self.said(owner, names), names)

    def is_kept(self, name: str) -> bool:
        """Whether an attribute is recorded: others are the service's own business."""
        return name not in self._skipped and not name.startswith("_")

    def unsayable(self, owner: J) -> set[str]:
        """The attributes that cannot be kept as they are."""
        return {name for name in held_by(owner) if not self._is_sayable(owner, name)}

    def _is_sayable(self, owner: J, name: str) -> bool:
        try:
            self.said(owner, [name])
        except ValueError:
            return False
        return True

    def _over(self, before: Said, part: Said, names: set[str] | None) -> Said:
        payload = {
            name: value
            for name, value in before.payload.items()
            if (names is not None and name not in names) or not self._may_be_said(name)
        }
        for name, value in part.payload.items():
            payload[name] = self._with_unknown(name, before.payload.get(name, ABSENT), value)
        return Said({**before.fields, **part.fields}, payload)

    def _with_unknown(self, name: str, before: Any, mine: Any) -> Any:
        """What an object says of an attribute, with what of it was left out as it was read."""
        attribute = self._attribute(name)
        if not isinstance(before, dict | list) or attribute.field is not None or is_same(before, mine):
            return mine
        try:
            known = attribute.to_json(attribute.from_json(before))
        except ValueError:
            return mine
        return with_unknown(before, known, mine)

    def differing(self, one: Said, other: Said) -> list[str]:
        """The attributes of which two say different things."""
        names = dict.fromkeys([*self.attributes, *one.payload, *other.payload])
        return [name for name in names if not self._says_same(name, one, other)]

    def _says_same(self, name: str, one: Said, other: Said) -> bool:
        attribute = self.attributes.get(name)
        field = attribute.field if attribute else None
        # Of a job that no record is known of nothing is said.
        if field and not is_same(one.fields.get(field, ABSENT), other.fields.get(field, ABSENT)):
            return False
        return is_same(one.payload.get(name, ABSENT), other.payload.get(name, ABSENT))

    def recorded(self, job: Job, payload: Mapping[str, Any]) -> Said:
        """What a record says, in the same form."""
        fields = {name: getattr(job, name) for name in self.of_field}
        return Said(fields, dict(payload))

    def values(self, said: Said, only: Collection[str] | None = None) -> dict[str, Any]:
        """The attributes that an object has which says this, perhaps ``only`` some."""
        found: dict[str, Any] = {}
        zone = self._zone_of(said)
        for name, attribute in self.attributes.items():
            if only is not None and name not in only:
                continue
            if attribute.field is not None:
                found[name] = self._exact(attribute, said, zone)
            elif name in said.payload:
                found[name] = attribute.from_json(said.payload[name])
            else:
                found[name] = attribute.default() if attribute.default else None
        found.update(
            (name, value)
            for name, value in said.payload.items()
            if name not in found and name not in self.attributes and self._may_be_said(name)
        )
        return found

    def made(self, said: Said) -> J:
        """An object that says this."""
        values = self.values(said)
        if issubclass(self.cls, BaseModel):
            return self.cls.model_construct(**values)
        made = self._constructed(values) if self._runs_code else None
        if made is None:
            made = self.cls.__new__(self.cls)
            vars(made).update((name, default() if default else None) for name, default in self._left_out)
        vars(made).update(values)
        return made

    def _constructed(self, values: Mapping[str, Any]) -> J | None:
        """An object whose class does more than hold values; ``None`` where it cannot be made so."""
        given = {each.name for each in dataclasses.fields(self.cls) if each.init}  # type: ignore[arg-type]
        try:
            return self.cls(**{name: value for name, value in values.items() if name in given})
        except Exception:  # noqa: BLE001 - code of the service's, which may not take what is not known
            return None

    def _zone_of(self, said: Said) -> Zone:
        """How moments are shown: one job's are never some with a zone and some without."""
        moments = (each for each in self.attributes.values() if each.field in MOMENTS)
        kept = (each.from_json(said.payload[each.name]) for each in moments if each.name in said.payload)
        is_naive = any(isinstance(moment, datetime) and moment.tzinfo is None for moment in kept)
        return replace(self._zone, is_naive=True) if is_naive else self._zone

    def _exact(self, attribute: Attribute, said: Said, zone: Zone) -> Any:
        field = said.fields[attribute.field or ""]
        if attribute.name in said.payload:
            value = attribute.from_json(said.payload[attribute.name])
            try:
                means = attribute.to_field(value, self._words, self._zone)
            except ValueError:
                means = ABSENT
            if means == field:
                return value
        return attribute.of_field(field, self._words, zone)

    def _attribute(self, name: str) -> Attribute:
        found = self.attributes.get(name)
        return found or Attribute(name, None, Any, self._anything, None, takes_none=True)

    def _may_be_said(self, name: str) -> bool:
        return name in self.attributes or (name not in self._skipped and self._may_be_set(name))

    def _may_be_set(self, name: str) -> bool:
        """Whether a name of the payload may become an attribute: never one that the class uses itself."""
        takes_more = not issubclass(self.cls, BaseModel) or self.cls.model_config.get("extra") == "allow"
        return takes_more and name.isidentifier() and not name.startswith("_") and not hasattr(self.cls, name)


def held_by(owner: Any) -> Mapping[str, Any]:
    """The attributes of an object, those that its class does not declare too."""
    extra = owner.__pydantic_extra__ if isinstance(owner, BaseModel) else None
    return {**vars(owner), **extra} if extra else vars(owner)


def put(owner: Any, name: str, value: Any) -> None:
    """Set an attribute and tell nobody."""
    if isinstance(owner, BaseModel) and name not in type(owner).model_fields:
        extra = owner.__pydantic_extra__
        if extra is not None:
            extra[name] = value
            return
    vars(owner)[name] = value


def drop(owner: Any, name: str) -> None:
    """Take an attribute away and tell nobody."""
    vars(owner).pop(name, None)
    if isinstance(owner, BaseModel) and owner.__pydantic_extra__:
        owner.__pydantic_extra__.pop(name, None)


def refuse_unless_followed(cls: Any) -> None:
    """Raise ``ClassRefused`` for a class whose objects cannot be changed, or not be followed."""
    name = getattr(cls, "__name__", repr(cls))
    if not isinstance(cls, type) or not (dataclasses.is_dataclass(cls) or issubclass(cls, BaseModel)):
        raise ClassRefused(
            f"{name} is neither a dataclass nor a pydantic model", hint="make it one: @dataclass above it"
        )
    if issubclass(cls, RootModel):
        raise ClassRefused(f"{name} has no fields, for it is a RootModel", hint="use a BaseModel with fields")
    if _is_frozen(cls):
        raise ClassRefused(
            f"objects of {name} cannot be changed, for it is frozen",
            hint="take frozen=True away, or keep another class that is not frozen",
        )
    # Without the one there is nowhere to look, without the other no way to know that an object is gone.
    if not getattr(cls, "__dictoffset__", 0) or not getattr(cls, "__weakrefoffset__", 0):
        raise ClassRefused(
            f"objects of {name} cannot be followed, for it has __slots__",
            hint="take slots=True away (or __slots__), which is cheap: an object has some hundred bytes more",
        )


def _is_frozen(cls: type[Any]) -> bool:
    if issubclass(cls, BaseModel):
        return bool(cls.model_config.get("frozen")) or any(each.frozen for each in cls.model_fields.values())
    return bool(cls.__dataclass_params__.frozen)


def _declared(cls: type[Any]) -> Iterator[Attribute]:
    """The attributes a class declares, not yet known to stand for any field."""
    if issubclass(cls, BaseModel):
        for name, info in cls.model_fields.items():
            default = None if info.is_required() else partial(info.get_default, call_default_factory=True)
            yield _attribute(name, info.annotation, default)
        return
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise ClassRefused(
            f"the types of {cls.__name__} cannot be told: {error}",
            hint="define the class, and the types it names, at the top of a module",
        ) from None
    for each in dataclasses.fields(cls):
        yield _attribute(each.name, hints[each.name], _default_of(each))


def _default_of(declared: dataclasses.Field[Any]) -> Any:
    if declared.default_factory is not dataclasses.MISSING:
        return declared.default_factory
    if declared.default is not dataclasses.MISSING:
        return partial(_same, declared.default)
    return None


def _same(value: Any) -> Any:
    return None if value is PydanticUndefined else value


def _attribute(name: str, annotation: Any, default: Any) -> Attribute:
    return Attribute(name, None, annotation, Any, default, takes_none=True)  # type: ignore[arg-type]


def _with_fields(
    cls: type[Any], declared: Mapping[str, Attribute], given: Mapping[str, str]
) -> dict[str, Attribute]:
    """The attributes, each with the field it stands for and with what converts it."""
    for field, name in given.items():
        if field not in FIELDS or name not in declared:
            wrong = field if field not in FIELDS else name
            raise UsageError(
                f"fields names {wrong!r}, which is no field of a record and no attribute of {cls.__name__}",
                hint=f"write fields={{field: attribute}}; the fields are {', '.join(FIELDS)}",
            )
    named = {name: field for field, name in given.items()}
    for field in FIELDS:
        if field not in given:
            found = next((name for name in (field, to_camel(field)) if name in declared), None)
            if found is not None and found not in named:
                named[found] = field
    for name, attribute in declared.items():
        attribute.field = named.get(name)
        attribute.adapter = adapter_of(attribute.annotation, of=cls.__name__, name=name)
        attribute.takes_none = takes_none(attribute.adapter)
    return dict(declared)


def _words_of(attribute: Attribute | None) -> list[str]:
    """The words for statuses that a class itself lists."""
    if attribute is None:
        return []
    annotation = attribute.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return [str(word) for word in typing.get_args(annotation)]
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return [str(each.value) for each in annotation]
    return []


def status_in(said: Said) -> Status:
    """The status that an object says; queued where its class has none."""
    status: Status = said.fields.get("status", Status.QUEUED)
    return status
