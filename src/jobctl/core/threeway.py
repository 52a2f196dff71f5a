"""Merge: what two writers made of the same value, each knowing what it was before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


class Conflict(Exception):
    """Both changed the same thing, and not to the same. Its text says where."""


def merged(base: Any, mine: Any, theirs: Any, *, at: str = "") -> Any:
    """``theirs`` with what I changed of ``base`` put into it; all of them as JSON says them.

    Lists are joined: what either side added is there, what I removed is not. In a mapping each key
    is merged for itself. Raises ``Conflict`` for anything else that both sides changed.
    """
    if is_same(mine, base) or is_same(mine, theirs):
        return theirs
    if is_same(theirs, base):
        return mine
    if isinstance(mine, list) and isinstance(theirs, list):
        return _joined(base if isinstance(base, list) else [], mine, theirs)
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return merged_fields(base if isinstance(base, Mapping) else {}, mine, theirs, at=at)
    raise Conflict(at)


_ABSENT = object()
_PLAIN = frozenset({str, int, float, bool, type(None), datetime})


def merged_fields(
    base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any], *, at: str = ""
) -> dict[str, Any]:
    """Merge two mappings key by key, in their order and then in mine. Raises ``Conflict``."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys([*theirs, *mine]):
        where = f"{at}.{key}" if at else str(key)
        sides = (each.get(key, _ABSENT) for each in (base, mine, theirs))
        value = merged(*sides, at=where)
        if value is not _ABSENT:
            found[key] = value
    return found


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where ``true`` is no number."""
    if one is other:
        return True
    if type(one) is type(other) and type(one) in _PLAIN:
        return bool(one == other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def with_unknown(written: Any, known: Any, mine: Any) -> Any:
    """``mine`` with what was ``written`` and is not ``known`` to who read it and made ``mine`` of it.

    All of them as JSON says them. In lists, entries belong together that are the same or at the same place.
    """
    if is_same(written, known):
        return mine
    if isinstance(written, Mapping) and isinstance(known, Mapping) and isinstance(mine, Mapping):
        both = written.keys() & known.keys()
        told = {
            key: with_unknown(written[key], known[key], value) if key in both else value
            for key, value in mine.items()
        }
        return told | {key: written[key] for key in written if key not in known and key not in mine}
    if isinstance(written, list) and isinstance(known, list) and isinstance(mine, list):
        return _entries_with_unknown(written, known, mine)
    return mine


def _entries_with_unknown(written: Sequence[Any], known: Sequence[Any], mine: Sequence[Any]) -> list[Any]:
    if len(written) != len(known):
        return list(mine)
    found = []
    for number, entry in enumerate(mine):
        places = [number, *range(len(known))] if number < len(known) else range(len(known))
        place = next((each for each in places if is_same(known[each], entry)), None)
        if place is None and number < len(known) <= len(mine):
            place = number
        found.append(entry if place is None else with_unknown(written[place], known[place], entry))
    return found


def _joined(base: Sequence[Any], mine: Sequence[Any], theirs: Sequence[Any]) -> list[Any]:
    """Their list without what I took away, and behind it what I added."""
    gone = _without(base, mine)
    kept = _without(theirs, gone)
    return [*kept, *(each for each in _without(mine, base) if not _holds(kept, each))]


def _without(values: Sequence[Any], taken: Sequence[Any]) -> list[Any]:
    """``values`` less one for each of ``taken``."""
    rest = list(taken)
    left = []
    for value in values:
        place = next((number for number, each in enumerate(rest) if is_same(each, value)), None)
        if place is None:
            left.append(value)
        else:
            del rest[place]
    return left


def _holds(values: Sequence[Any], wanted: Any) -> bool:
    return any(is_same(each, wanted) for each in values)
