"""The hook: who is told when an attribute of a service's own object is set.

The class stays the one it is, so that ``isinstance``, ``==``, ``pickle``, ``copy`` and
``dataclasses.replace`` do what they did: only the way it sets attributes is looked at. Who follows an
object is known here and not in it, so no copy of it is followed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

from pydantic import BaseModel

from jobctl.service.jobdict_containers import Home, Keeper, alive, keep_for_survivors


class Follower(Keeper, Protocol):
    """Who follows an object."""

    def settle(self, owner: Any, name: str) -> None:
        """Follow the value an attribute has now, too."""


class _Rest(NamedTuple):
    """What an object held that is gone; without keeping the object, while it is there."""

    kind: type[Any]
    values: dict[str, Any]
    extra: dict[str, Any] | None

    @classmethod
    def of(cls, part: Any) -> _Rest:
        return cls(type(part), vars(part), part.__pydantic_extra__ if isinstance(part, BaseModel) else None)

    def again(self) -> Any:
        """An object that says the same."""
        if issubclass(self.kind, BaseModel):
            return self.kind.model_construct(**self.values, **(self.extra or {}))
        made: Any = object.__new__(self.kind)
        vars(made).update(self.values)
        return made


class _Followed(NamedTuple):
    owner: weakref.ref[Any]
    follower: Follower
    home: Home | None = None
    """Of an object within another one."""
    rest: _Rest | None = None
    """Of one that is a whole value, for what is in it may outlive it."""


_FOLLOWED: dict[int, _Followed] = {}
_WATCHED: weakref.WeakSet[type[Any]] = weakref.WeakSet()
_HOOKS: weakref.WeakSet[Callable[..., None]] = weakref.WeakSet()


def follow(owner: Any, follower: Follower) -> None:
    """Tell ``follower`` of every attribute of ``owner`` that is set from now on."""
    _watch(type(owner))
    _FOLLOWED[id(owner)] = _Followed(_gone_with(owner), follower)


def unfollow(owner: Any) -> None:
    """Tell nobody any more."""
    _FOLLOWED.pop(id(owner), None)


def follower_of(owner: Any) -> Follower | None:
    """Who follows an object, if somebody does."""
    found = _found(owner)
    return found.follower if found and found.home is None else None


def follow_part(part: Any, home: Home) -> None:
    """Follow an object within another one, and what it holds itself, as a change of that one's attribute."""
    found = _found(part)
    if found is not None and (found.home is None or found.home.is_same(home)):
        return
    _watch(type(part))
    follower = cast(Follower, home.keeper)
    rest = _Rest.of(part) if home.top is None else None
    _FOLLOWED[id(part)] = _Followed(_gone_with(part), follower, home, rest)
    within = home.of_what_is_in(part)
    for name, value in list(vars(part).items()):
        vars(part)[name] = alive(value, within)


def _gone_with(owner: Any) -> weakref.ref[Any]:
    """A reference whose entry ends with its object."""
    number = id(owner)

    def forget(reference: weakref.ref[Any]) -> None:
        found = _FOLLOWED.get(number)
        if found is None or found.owner is not reference:
            return
        del _FOLLOWED[number]
        if found.home is not None and found.rest is not None:
            keep_for_survivors(found.rest.values, found.home, found.rest.again)

    return weakref.ref(owner, forget)


def _found(owner: Any) -> _Followed | None:
    found = _FOLLOWED.get(id(owner))
    return found if found is not None and found.owner() is owner else None


def _watch(kind: type[Any]) -> None:
    """Look at how objects of a class set attributes; once a class."""
    if kind in _WATCHED:
        return
    _WATCHED.add(kind)
    for name in ("__setattr__", "__delattr__"):
        plain = getattr(kind, name)
        # What is inherited of a class that is looked at tells already, and would be told twice.
        if plain not in _HOOKS:
            hook = _hook_around(plain)
            _HOOKS.add(hook)
            type.__setattr__(kind, name, hook)


def _hook_around(plain: Callable[..., None]) -> Callable[..., None]:
    def method(self: Any, name: str, *value: Any) -> None:
        _change(self, name, lambda: plain(self, name, *value))

    return method


def _change(owner: Any, name: str, carry_out: Callable[[], None]) -> None:
    found = _FOLLOWED.get(id(owner))
    if found is None or found.owner() is not owner:
        carry_out()
        return
    home = found.home or Home(found.follower, found.owner, name)
    whose, value = home.owner(), home.whole(owner)
    if whose is None and value is None:
        carry_out()
        return
    with found.follower.changing(whose, home.name, value):
        carry_out()
        if whose is not None:
            found.follower.settle(whose, home.name)
