"""Lists, dicts and sets that tell when they are changed in place. Copied or pickled they are plain ones."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol


class Keeper(Protocol):
    """Who is told of changes to an object."""

    def changing(self, owner: Any, name: str, value: Any) -> AbstractContextManager[None]:
        """Enclose a change of an attribute's ``value`` in place. Raises where there may be none.

        ``owner`` is ``None`` where nobody has the object any more, but only the value.
        """

    def part(self, part: Any, home: Home) -> None:
        """Follow an object that is held within another one, where it can be changed."""


class Home(NamedTuple):
    """Whose value a container is, and of which attribute. ``top`` is the whole value, if not the container.

    The object is not kept: it would keep the container as well, and both would wait for the collector.
    """

    keeper: Keeper
    owner: weakref.ref[Any]
    name: str
    top: Any = None


class _Told:
    """What the containers have in common."""

    _home: Home | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind = _plain_kind(self)
        return kind, (kind(self),)

    def __repr__(self) -> str:
        return repr(_plain_kind(self)(self))


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
        return tuple(alive(each, home) for each in value)
    else:
        home.keeper.part(value, home)
    return value


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
    if home.top is None:
        home = home._replace(top=held)
    if isinstance(held, list):
        for number, each in enumerate(held):
            if type(each) not in _SCALARS:
                list.__setitem__(held, number, alive(each, home))
    elif isinstance(held, dict):
        for key, each in held.items():
            if type(each) not in _SCALARS:
                dict.__setitem__(held, key, alive(each, home))


_SCALARS = frozenset({str, int, float, bool, type(None), bytes})


def _telling(kind: type[Any], name: str) -> Callable[..., Any]:
    """A method that changes a container, and tells of it."""
    plain = getattr(kind, name)

    @functools.wraps(plain)
    def method(self: Any, /, *arguments: Any, **named: Any) -> Any:
        home = self._home
        if home is None:
            return plain(self, *arguments, **named)
        top = self if home.top is None else home.top
        with home.keeper.changing(home.owner(), home.name, top):
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
