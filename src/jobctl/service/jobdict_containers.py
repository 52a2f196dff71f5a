"""Lists, dicts and sets that tell when they are changed in place. Copied or pickled they are plain ones.

None of them keeps what it is held by: an object and all it holds are gone once nobody uses them, and wait
for no collector. What is still used then, of a value that is not, keeps the rest of that value alive.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel


class Keeper(Protocol):
    """Who is told of changes to an object."""

    def changing(self, owner: Any, name: str, value: Any) -> AbstractContextManager[None]:
        """Enclose a change of an attribute's ``value`` in place. Raises where there may be none.

        ``owner`` is ``None`` where nobody has the object any more, but only the value.
        """

    def part(self, part: Any, home: Home) -> None:
        """Follow an object that is held within another one, where it can be changed."""


class Home(NamedTuple):
    """Whose value a container is, and of which attribute. ``top``: what gives the value it is only in."""

    keeper: Keeper
    owner: weakref.ref[Any]
    name: str
    top: Callable[[], Any] | None = None

    def of_what_is_in(self, held: Any) -> Home:
        """The home of what a value holds that lives here."""
        return self if self.top is not None else self._replace(top=weakref.ref(held))

    def kept_by(self, top: Any) -> Home:
        """The home of what outlives everybody else who had that value."""
        return self._replace(top=lambda: top)

    def whole(self, held: Any) -> Any:
        """The whole value that ``held`` is in; ``None`` where it was taken out of that, which is gone."""
        return held if self.top is None else self.top()

    def is_same(self, other: Home) -> bool:
        """Whether both are one place. To compare references would compare the objects."""
        same_name = self.name == other.name
        return (
            same_name and self.keeper is other.keeper and self.owner is other.owner and self.top is other.top
        )


class _Told:
    """What the containers have in common."""

    _home: Home | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind = _plain_kind(self)
        return kind, (kind(self),)

    def __repr__(self) -> str:
        return repr(_plain_kind(self)(self))

    def __del__(self) -> None:
        home = self._home
        if home is not None and home.top is None:
            keep_for_survivors(self, home, lambda: self)


def keep_for_survivors(value: Any, home: Home, rest: Callable[[], Any]) -> None:
    """Let what is still used, of a value that goes, keep the ``rest`` of it: it is written as a whole."""
    if home.owner() is None and _is_used(value):
        within = home.kept_by(rest())
        for each in _held_in(value):
            alive(each, within)


class LiveList(_Told, list[Any]):
    """A list that tells."""


class LiveDict(_Told, dict[Any, Any]):
    """A dict that tells."""


class LiveSet(_Told, set[Any]):
    """A set that tells."""


_LIVE: dict[type[Any], type[Any]] = {list: LiveList, dict: LiveDict, set: LiveSet}


def _plain_kind(value: Any) -> type[Any]:
    return next(kind for kind in _LIVE if isinstance(value, kind))


def alive(value: Any, home: Home) -> Any:
    """A value whose lists, dicts and sets tell, at any depth."""
    if type(value) in _SCALARS:
        return value
    live = _LIVE.get(type(value))
    if live is not None:
        # Only plain ones are replaced: those of other programs are what they are for a reason.
        made = live()
        _fill(made, value)
        _settle(made, home)
        return made
    if isinstance(value, _Told):
        _settle(value, home)
    elif isinstance(value, tuple) and type(value) is tuple:
        return _alive_tuple(value, home)
    elif is_part(value):
        home.keeper.part(value, home)
    return value


def _alive_tuple(value: tuple[Any, ...], home: Home) -> tuple[Any, ...]:
    made = tuple(alive(each, home) for each in value)
    if home.top is None:
        # Nothing can tell when a tuple goes: what is in one that is the whole value keeps it.
        within = home.kept_by(made)
        for each in made:
            alive(each, within)
    return made


def is_part(value: Any) -> bool:
    """Whether a value is an object that can be changed, and be followed."""
    kind = type(value)
    if not getattr(kind, "__dictoffset__", 0) or not getattr(kind, "__weakrefoffset__", 0):
        return False
    if isinstance(value, BaseModel):
        return not value.model_config.get("frozen")
    return dataclasses.is_dataclass(value) and not getattr(kind, "__dataclass_params__").frozen  # noqa: B009


def refill(held: Any, value: Any, home: Home) -> bool:
    """Give a container that tells another content, and tell nobody; whether it could be done."""
    if not isinstance(held, _Told) or _plain_kind(held) is not (
        type(value) if type(value) in _LIVE else None
    ):
        return False
    _plain_kind(held).clear(held)
    _fill(held, value)
    _settle(held, home)
    return True


def _fill(held: Any, value: Any) -> None:
    if isinstance(held, list):
        list.extend(held, value)
    elif isinstance(held, dict):
        dict.update(held, value)
    elif isinstance(held, set):
        set.update(held, value)


def _settle(held: Any, home: Home) -> None:
    """Give a container its home, and what it holds as well."""
    held._home = home
    home = home.of_what_is_in(held)
    if isinstance(held, list):
        for number, each in enumerate(held):
            if type(each) not in _SCALARS:
                list.__setitem__(held, number, alive(each, home))
    elif isinstance(held, dict):
        for key, each in held.items():
            if type(each) not in _SCALARS:
                dict.__setitem__(held, key, alive(each, home))


_SCALARS = frozenset({str, int, float, bool, type(None), bytes})


def _held_in(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return dict.values(value)
    if isinstance(value, list | tuple):
        return iter(value)
    return vars(value).values() if is_part(value) else ()


def _is_used(value: Any) -> bool:
    """Whether anybody else has something of what a value holds, at any depth, that tells of changes."""
    return any(
        count > _OF_NOBODY_ELSE or _is_used(each)
        for each, count in _referenced(value)
        if isinstance(each, _Told) or is_part(each) or (type(each) is tuple and each != ())
    )


def _referenced(value: Any) -> Iterator[tuple[Any, int]]:
    for each in _held_in(value):
        yield each, sys.getrefcount(each)


_OF_NOBODY_ELSE = next(count for _, count in _referenced([object()]))
"""Measured, for it is not the same in each version of Python."""


def _telling(kind: type[Any], name: str) -> Callable[..., Any]:
    """A method that changes a container, and tells of it."""
    plain = getattr(kind, name)

    @functools.wraps(plain)
    def method(self: Any, /, *arguments: Any, **named: Any) -> Any:
        home = self._home
        if home is None:
            return plain(self, *arguments, **named)
        owner, whole = home.owner(), home.whole(self)
        if owner is None and whole is None:
            return plain(self, *arguments, **named)
        with home.keeper.changing(owner, home.name, whole):
            result = plain(self, *arguments, **named)
            _settle(self, home)
            # Of a list that was put in, who changes it at once needs the one that tells.
            return dict.__getitem__(self, arguments[0]) if name == "setdefault" else result

    return method


_OF_ANY = ("clear", "pop")
_OF_LISTS = ("append", "extend", "insert", "remove", "reverse", "sort", "__setitem__", "__delitem__")
_OF_DICTS = ("popitem", "setdefault", "update", "__setitem__", "__delitem__", "__ior__")
_OF_SETS = ("add", "discard", "remove", "update", "difference_update", "intersection_update")
_ASSIGNING = ("__ior__", "__iand__", "__isub__", "__ixor__", "symmetric_difference_update")
_CHANGING = {
    LiveList: (*_OF_ANY, *_OF_LISTS, "__iadd__", "__imul__"),
    LiveDict: (*_OF_ANY, *_OF_DICTS),
    LiveSet: (*_OF_ANY, *_OF_SETS, *_ASSIGNING),
}
for _kind, _names in _CHANGING.items():
    for _name in _names:
        setattr(_kind, _name, _telling(_plain_kind(_kind()), _name))
