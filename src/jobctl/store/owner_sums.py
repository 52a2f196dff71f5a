"""Owners' parts of a window of time: those with the most changes, how many there are, and all together.

An owner's days and months are a row each, and whoever looks for those with the most has to add up all of
them. So the owners of a period that is over are kept in one row besides, made by who asks first.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, literal, or_, select

from jobctl.core.figures import Figure
from jobctl.core.tally import Change, Grain, Part
from jobctl.core.window import Piece, floor, period_name
from jobctl.errors import StoreUnreachable
from jobctl.store.dialect import upsert
from jobctl.store.engine import Connection, Store
from jobctl.store.schema import tally_owners, tally_position, tally_share
from jobctl.store.tallies import edition_of, position_of

_AT_ONCE = 500
_MOST_IN_MEMORY = 1_000_000
"""So many owners of all periods together are added up here; more are in the database, and more slowly."""
_MOST_IN_A_ROW = 250_000
_PATIENCE_S = 0.2
_OF_PARTS = (*(figure.value for figure in Figure), "runs", "run_s")


class Period(NamedTuple):
    """A day or a month in which there were owners; ``owners``: how many, where they are kept in one row."""

    grain: Grain
    name: str
    owners: int | None = None


class _Summary(NamedTuple):
    """All owners of some periods: how many changes of each, and the sums of all."""

    changes: dict[str, int]
    total: Part


@dataclass(slots=True)
class Owners:
    """Owners' parts: those with the most, and how many there are in all, with the sum of all."""

    parts: dict[str, Part] = field(default_factory=dict)
    count: int = 0
    total: Part = field(default_factory=Part)


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
    periods = list(_periods(connection, edition, pieces))
    counted = [Period(Grain.ALL, "")] if are_all else periods
    fresh = _parts(changes)
    names, count = _most_changed(connection, edition, counted, most)
    found = _parts_of(connection, edition, counted, sorted({*names, *fresh}))
    total = _total(connection, edition, periods)
    count += len(fresh.keys() - found.keys())
    for owner, part in fresh.items():
        found.setdefault(owner, Part()).add(part)
        total.add(part)
    listed = sorted(found.items(), key=lambda item: (-item[1].changes, item[0]))[:most]
    return Owners(dict(listed), count, total)


def close_periods(store: Store, pieces: Sequence[Piece], now: datetime) -> None:
    """Keep the owners of each of these periods that is over in one row; what others' work delays is left.

    Each is a transaction of its own, and of what was read before: nobody waits while it is added up.
    """
    with store.read() as connection:
        edition = edition_of(connection)
        over = [
            period
            for period in _periods(connection, edition, pieces)
            if period.owners is None and period.name < period_name(floor(now, period.grain), period.grain)
        ]
    try:
        for period in over:
            _close(store, edition, period)
    except StoreUnreachable:
        # It is busy, or we may only read: it is asked without.
        return


def outdated_rows(connection: Connection) -> Iterator[Period]:
    """The periods whose owners in one row are not what they are one by one."""
    edition = edition_of(connection)
    key = (tally_owners.c.grain, tally_owners.c.period, tally_owners.c.owners)
    kept = connection.execute(select(*key).where(tally_owners.c.edition == edition).order_by(*key)).all()
    for grain, name, count in kept:
        period = Period(Grain(grain), name, count)
        row, found = (_read(connection, edition, [each]) for each in (period, period._replace(owners=None)))
        is_alike = row.changes == found.changes and row.total.counts == found.total.counts
        if not is_alike or len(row.changes) != count or row.total.runs != found.total.runs:
            yield period


def _close(store: Store, edition: int, period: Period) -> None:
    with store.read() as connection:
        position = position_of(connection, edition).position
        if _count(connection, edition, [period]) > _MOST_IN_A_ROW:
            return
        found = _read(connection, edition, [period])
    row = {
        "edition": edition,
        "grain": period.grain.value,
        "period": period.name,
        **dict(zip(_OF_PARTS, found.total.as_row(), strict=True)),
        "owners": len(found.changes),
        "changes": json.dumps(found.changes, separators=(",", ":")),
    }
    here = select(tally_position.c.edition).where(
        tally_position.c.edition == edition, tally_position.c.position == position
    )
    with store.write(patience_s=_PATIENCE_S) as connection:
        # Who adds up holds this row: what was read is all there is as long as it stays where it was.
        if connection.execute(here.with_for_update(skip_locked=True)).first() is not None:
            connection.execute(upsert(connection, tally_owners).on_conflict_do_nothing(), row)


def _periods(connection: Connection, edition: int, pieces: Sequence[Piece]) -> Iterator[Period]:
    """The periods in which there were owners, from one to the next by the index."""
    share = tally_share.c
    for piece in pieces:
        # Not by min(), and one lower bound at a time: SQLite would read all of the range for each.
        grain = and_(share.edition == edition, share.grain == piece.grain.value)
        rows = grain if piece.until is None else and_(grain, share.period < piece.until)
        nearest = select(share.period).where(rows).order_by(share.period).limit(1)
        first = nearest.where(share.period >= piece.since).scalar_subquery()
        walk = select(first.label("period")).cte("walk", recursive=True)
        following = nearest.where(share.period > walk.c.period).correlate(walk).scalar_subquery()
        walk = walk.union_all(select(following).where(walk.c.period.is_not(None)))
        kept = and_(
            tally_owners.c.edition == edition,
            tally_owners.c.grain == piece.grain.value,
            tally_owners.c.period == walk.c.period,
        )
        found = select(walk.c.period, tally_owners.c.owners).join(tally_owners, kept, isouter=True)
        for name, count in connection.execute(found.where(walk.c.period.is_not(None))):
            yield Period(piece.grain, name, count)


def _most_changed(
    connection: Connection, edition: int, periods: Sequence[Period], most: int
) -> tuple[list[str], int]:
    """The owners with the most changes, and how many owners there are."""
    if not periods:
        return [], 0
    if [period.grain for period in periods] == [Grain.ALL]:
        order = (_changes().desc(), tally_share.c.owner)
        first = select(tally_share.c.owner).where(_rows(edition, periods)).order_by(*order).limit(most)
        return list(connection.execute(first).scalars()), _count(connection, edition, periods)
    open_ones = [period for period in periods if period.owners is None]
    known = sum(period.owners or 0 for period in periods)
    if known + _count(connection, edition, open_ones) > _MOST_IN_MEMORY:
        return _most_changed_of_many(connection, edition, periods, most)
    changes = _read(connection, edition, periods).changes
    least = min(heapq.nlargest(most, changes.values()), default=0)
    first_ones = ((-count, owner) for owner, count in changes.items() if count >= least)
    return [owner for _, owner in heapq.nsmallest(most, first_ones)], len(changes)


def _most_changed_of_many(
    connection: Connection, edition: int, periods: Sequence[Period], most: int
) -> tuple[list[str], int]:
    """The same, added up where they are: slower, but not in our memory."""
    share = tally_share.c
    listed = select(share.owner, func.count().over()).where(_rows(edition, periods)).group_by(share.owner)
    ordered = listed.order_by(func.sum(_changes()).desc(), share.owner).limit(most)
    found = connection.execute(ordered).all()
    return [row[0] for row in found], int(found[0][1]) if found else 0


def _read(connection: Connection, edition: int, periods: Sequence[Period]) -> _Summary:
    """How many changes each owner had in these periods, from one row of each where there is one."""
    changes: dict[str, int] = {}
    for text in _kept(connection, edition, periods, [tally_owners.c.changes]):
        found: dict[str, int] = json.loads(text[0])
        if not changes:
            changes = found
            continue
        for owner, count in found.items():
            changes[owner] = changes.get(owner, 0) + count
    open_ones = [period for period in periods if period.owners is None]
    if open_ones:
        rows = select(tally_share.c.owner, _changes()).where(_rows(edition, open_ones))
        for owner, count in connection.execute(rows):
            changes[owner] = changes.get(owner, 0) + count
    return _Summary(changes, _total(connection, edition, periods))


def _total(connection: Connection, edition: int, periods: Sequence[Period]) -> Part:
    """The sums of all owners."""
    total = Part()
    for row in _kept(connection, edition, periods, [tally_owners.c[name] for name in _OF_PARTS]):
        total.add(Part.of_row(row))
    open_ones = [period for period in periods if period.owners is None]
    if open_ones:
        summed = connection.execute(select(*_sums()).where(_rows(edition, open_ones))).one()
        total.add(Part.of_row([value or 0 for value in summed]))
    return total


def _kept(
    connection: Connection, edition: int, periods: Sequence[Period], columns: Sequence[Any]
) -> Iterator[Any]:
    """The rows of the periods whose owners are kept in one."""
    for grain in Grain:
        names = [each.name for each in periods if each.grain is grain and each.owners is not None]
        for start in range(0, len(names), _AT_ONCE):
            some = tally_owners.c.period.in_(names[start : start + _AT_ONCE])
            mine = and_(tally_owners.c.edition == edition, tally_owners.c.grain == grain.value, some)
            yield from connection.execute(select(*columns).where(mine))


def _count(connection: Connection, edition: int, periods: Sequence[Period]) -> int:
    if not periods:
        return 0
    counted = select(func.count()).select_from(tally_share).where(_rows(edition, periods))
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
        summed = select(share.owner, *_sums()).where(_rows(edition, periods)).group_by(share.owner)
        for start in range(0, len(names), _AT_ONCE):
            some = summed.where(share.owner.in_(names[start : start + _AT_ONCE]))
            found.update((row[0], Part.of_row(row[1:])) for row in connection.execute(some))
    return found


def _rows(edition: int, periods: Sequence[Period]) -> ColumnElement[bool]:
    """The rows of these periods, named one by one: an index leads to each, also to an owner's."""
    share = tally_share.c
    return or_(
        *(
            and_(share.edition == edition, share.grain == grain.value, share.period.in_(names))
            for grain in Grain
            if (names := [period.name for period in periods if period.grain is grain])
        )
    )


def _changes() -> ColumnElement[Any]:
    return sum((tally_share.c[figure.value] for figure in Figure), literal(0))


def _sums() -> list[ColumnElement[Any]]:
    return [func.sum(tally_share.c[name]) for name in _OF_PARTS]
