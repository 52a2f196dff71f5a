"""The hook: who is told when an attribute of a service's own object is set.

The class stays the one it is, so that ``isinstance``, ``==``, ``pickle``, ``copy`` and
``dataclasses.replace`` do what they did: only the way it sets attributes is looked at. Who follows an
object is known here and not in it, so no copy of it is followed.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

from pydantic import BaseModel

from jobctl.service.jobdict_containers import Home, Keeper, alive


class Follower(Keeper, Protocol):
    """Who follows an object."""

    def settle(self, owner: Any, name: str) -> None:
        """Follow the value an attribute has now, too."""


class _Followed(NamedTuple):
    owner: weakref.ref[Any]
    follower: Follower
    name: str | None
    """Of an object within another one: the attribute of that one."""
    whole: weakref.ref[Any] | None


_FOLLOWED: dict[int, _Followed] = {}
_WATCHED: weakref.WeakSet[type[Any]] = weakref.WeakSet()


def follow(owner: Any, follower: Follower) -> None:
    """Tell ``follower`` of every attribute of ``owner`` that is set from now on."""
    _watch(type(owner))
    _FOLLOWED[id(owner)] = _Followed(_gone_with(owner), follower, None, None)


def unfollow(owner: Any) -> None:
    """Tell nobody any more."""
    _FOLLOWED.pop(id(owner), None)


def follower_of(owner: Any) -> Follower | None:
    """Who follows an object, if somebody does."""
    found = _found(owner)
    return found.follower if found and found.whole is None else None


def follow_part(part: Any, home: Home) -> None:
    """Follow an object within another one, and what it holds itself, as a change of that one's attribute."""
    if not _may_change(part):
        return
    found = _found(part)
    if found is not None and (found.whole is None or found.whole is home.owner):
        return
    _watch(type(part))
    follower = cast(Follower, home.keeper)
    _FOLLOWED[id(part)] = _Followed(_gone_with(part), follower, home.name, home.owner)
    within = home if home.top is not None else home._replace(top=part)
    for name, value in list(vars(part).items()):
        vars(part)[name] = alive(value, within)


def _may_change(part: Any) -> bool:
    kind = type(part)
    if not getattr(kind, "__dictoffset__", 0) or not getattr(kind, "__weakrefoffset__", 0):
        return False
    if isinstance(part, BaseModel):
        return not part.model_config.get("frozen")
    return dataclasses.is_dataclass(part) and not getattr(kind, "__dataclass_params__").frozen  # noqa: B009


def _gone_with(owner: Any) -> weakref.ref[Any]:
    """A reference whose entry ends with its object."""
    number = id(owner)

    def forget(reference: weakref.ref[Any]) -> None:
        found = _FOLLOWED.get(number)
        if found is not None and found.owner is reference:
            _FOLLOWED.pop(number, None)

    return weakref.ref(owner, forget)


def _found(owner: Any) -> _Followed | None:
    found = _FOLLOWED.get(id(owner))
    return found if found is not None and found.owner() is owner else None


def _watch(kind: type[Any]) -> None:
    """Look at how objects of a class set attributes; once a class."""
    if kind in _WATCHED:
        return
    _WATCHED.add(kind)
    plain_set: Any = kind.__setattr__
    plain_delete: Any = kind.__delattr__

    def set_attribute(self: Any, name: str, value: Any) -> None:
        _change(self, name, lambda: plain_set(self, name, value))

    def delete_attribute(self: Any, name: str) -> None:
        _change(self, name, lambda: plain_delete(self, name))

    type.__setattr__(kind, "__setattr__", set_attribute)
    type.__setattr__(kind, "__delattr__", delete_attribute)


def _change(owner: Any, name: str, carry_out: Callable[[], None]) -> None:
    found = _FOLLOWED.get(id(owner))
    if found is None or found.owner() is not owner:
        carry_out()
        return
    whole = owner if found.whole is None else found.whole()
    with found.follower.changing(whole, found.name or name, owner):
        carry_out()
        if whole is not None:
            found.follower.settle(whole, found.name or name)
