"""Owners' parts of a window of time: those with the most changes, how many there are, and all together."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import func, select

from jobctl.core.lanes import Sums
from jobctl.core.tally import Change, Grain, Part
from jobctl.core.window import Piece
from jobctl.store import owner_rows
from jobctl.store.engine import Connection
from jobctl.store.owner_rows import Added, Period, changes_of_row, open_periods, rows_of, sums
from jobctl.store.schema import owner_number, tally_share
from jobctl.store.tallies import edition_of

_AT_ONCE = 500
_FEW = 2_000
"""So many owners are looked up one by one."""
_BLOCK = 5_000


@dataclass(slots=True)
class Owners:
    """Owners' parts: those with the most, and how many there are in all, with the sum of all."""

    parts: dict[str, Part] = field(default_factory=dict)
    count: int = 0
    total: Part = field(default_factory=Part)


class _Ranking(NamedTuple):
    """Of what is added up: how many owners there are, and the changes of those with the most.

    ``asked`` are the changes of owners that were asked for by name.
    """

    owners: int
    first: Mapping[str, int]
    asked: Mapping[str, int]


def owners(
    connection: Connection,
    pieces: Sequence[Piece],
    changes: Iterable[Change],
    most: int,
    *,
    are_all: bool = False,
) -> Owners:
    """The ``most`` owners with the most changes in these periods, with ``changes`` not kept yet.

    ``are_all``: there are no others than these periods, so that an owner's sum of all is one row.
    """
    edition = edition_of(connection)
    periods = list(owner_rows.periods_of(connection, edition, pieces))
    counted = [Period(Grain.ALL, "")] if are_all else periods
    fresh = _parts(changes)
    ranking = _rank(connection, edition, counted, most, sorted(fresh))
    now = {owner: ranking.asked.get(owner, 0) + part.changes for owner, part in fresh.items()}
    names = _first({**ranking.first, **now}, most)
    found = _parts_of(connection, edition, counted, names)
    total = owner_rows.total(connection, edition, periods)
    for owner, part in fresh.items():
        total.add(part)
        if owner in names:
            found.setdefault(owner, Part()).add(part)
    count = ranking.owners + len(fresh.keys() - ranking.asked.keys())
    return Owners({owner: found[owner] for owner in names}, count, total)


def _first(changes: Mapping[str, int], most: int) -> list[str]:
    return heapq.nsmallest(most, changes, key=lambda owner: (-changes[owner], owner))


def _rank(
    connection: Connection, edition: int, periods: Sequence[Period], most: int, asked: Sequence[str]
) -> _Ranking:
    if not periods:
        return _Ranking(0, {}, {})
    is_one_row = [period.grain for period in periods] == [Grain.ALL]
    if is_one_row or _count(connection, edition, open_periods(periods)) > owner_rows.MOST_IN_MEMORY:
        return _rank_there(connection, edition, periods, most, asked)
    return _rank_here(connection, owner_rows.added(connection, edition, periods), most, asked)


def _rank_here(connection: Connection, added: Added, most: int, asked: Sequence[str]) -> _Ranking:
    """Rank what was added up in memory."""
    numbers = _first_numbers(connection, added.numbered, most)
    first = _changes(added.numbered, _named(connection, owner_number.c.number, numbers))
    first.update((owner, added.others[owner]) for owner in _first(added.others, most))
    known = _changes(added.numbered, _named(connection, owner_number.c.owner, asked))
    known.update((owner, added.others[owner]) for owner in asked if owner in added.others)
    return _Ranking(len(added), first, known)


def _changes(numbered: Sums, named: Iterable[tuple[int, str]]) -> dict[str, int]:
    found = ((owner, numbered.get(number)) for number, owner in named)
    return {owner: changes for owner, changes in found if changes is not None}


def _first_numbers(connection: Connection, numbered: Sums, most: int) -> Sequence[int]:
    """The owners with the most changes, with all that have as many as the last one, if they are few."""
    least = numbered.least_of(most)
    numbers = numbered.with_at_least(least)
    if len(numbers) <= _FEW:
        return numbers
    more = numbered.with_at_least(least + 1)
    return more + _first_by_name(connection, set(numbers).difference(more), most - len(more))


def _first_by_name(connection: Connection, numbers: AbstractSet[int], most: int) -> list[int]:
    """The first of these by name; they are so many that some are soon met among all."""
    found: list[int] = []
    number, owner = owner_number.c
    after = ""
    while len(found) < most:
        block = select(number, owner).where(owner > after).order_by(owner).limit(_BLOCK)
        rows = connection.execute(block).all()
        found += (each for each, _ in rows if each in numbers)
        if len(rows) < _BLOCK:
            break
        after = rows[-1].owner
    return found[:most]


def _named(connection: Connection, key: Any, values: Sequence[int | str]) -> Iterator[tuple[int, str]]:
    """Owners with their numbers, by these or by those."""
    for start in range(0, len(values), _AT_ONCE):
        some = select(owner_number).where(key.in_(values[start : start + _AT_ONCE]))
        yield from (tuple(row) for row in connection.execute(some))


def _rank_there(
    connection: Connection, edition: int, periods: Sequence[Period], most: int, asked: Sequence[str]
) -> _Ranking:
    """Rank in the database: slower where an owner has more than a row, but not in our memory."""
    share, rows, changes = tally_share.c, rows_of(edition, periods), changes_of_row()
    if len(periods) == 1:
        count = _count(connection, edition, periods)
        listed = select(share.owner, changes).where(rows).order_by(changes.desc(), share.owner)
    else:
        added = select(share.owner, func.sum(changes)).where(rows).group_by(share.owner)
        count = connection.execute(select(func.count()).select_from(added.subquery())).scalar_one()
        listed = added.order_by(func.sum(changes).desc(), share.owner)
    first = {owner: int(number) for owner, number in connection.execute(listed.limit(most))}
    known: dict[str, int] = {}
    for start in range(0, len(asked), _AT_ONCE):
        some = select(share.owner, func.sum(changes)).where(
            rows, share.owner.in_(asked[start : start + _AT_ONCE])
        )
        known.update((owner, int(number)) for owner, number in connection.execute(some.group_by(share.owner)))
    return _Ranking(count, first, known)


def _count(connection: Connection, edition: int, periods: Sequence[Period]) -> int:
    if not periods:
        return 0
    counted = select(func.count()).select_from(tally_share).where(rows_of(edition, periods))
    return int(connection.execute(counted).scalar_one())


def _parts(changes: Iterable[Change]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for change in changes:
        if change.owner is not None:
            parts.setdefault(change.owner, Part()).count(change)
    return parts


def _parts_of(
    connection: Connection, edition: int, periods: Sequence[Period], names: Sequence[str]
) -> dict[str, Part]:
    found: dict[str, Part] = {}
    share = tally_share.c
    if periods:
        summed = select(share.owner, *sums()).where(rows_of(edition, periods)).group_by(share.owner)
        for start in range(0, len(names), _AT_ONCE):
            some = summed.where(share.owner.in_(names[start : start + _AT_ONCE]))
            found.update((row[0], Part.of_row(row[1:])) for row in connection.execute(some))
    return found
