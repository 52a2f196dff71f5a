"""Owners of the periods of a window: of one that is over in one row, of any other one by one.

An owner's days and months are a row each, and whoever looks for those with the most changes has to add
up all of them. So the owners of a period that is over are kept in one row besides, as lanes of their
numbers (see ``core.lanes``), made by workers in passing or else by who asks first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, literal, null, or_, select, true

from jobctl import clock
from jobctl.core.figures import Figure
from jobctl.core.lanes import Lanes, Row, Sums, row_of
from jobctl.core.tally import Grain, Part
from jobctl.core.window import Piece, floor, period_name
from jobctl.errors import StoreUnreachable
from jobctl.store.engine import Connection, Store
from jobctl.store.schema import owner_number, tally_owners, tally_position, tally_share
from jobctl.store.statements import rows_of_bytes, upsert
from jobctl.store.tallies import OF_PARTS, edition_of, position_of

EVERY_PERIOD = (Piece(Grain.DAY, ""), Piece(Grain.MONTH, ""))
"""All whose owners are ever kept in one row."""

MOST_IN_MEMORY = 1_000_000
"""So many owners are added up here; more are in the database, and more slowly."""
_PERIODS_AT_ONCE = 500
_NUMBERED_AT_ONCE = 5_000
_PATIENCE_S = 0.2


class Period(NamedTuple):
    """A day or a month in which there were owners; ``owners``: how many, where they are kept in one row."""

    grain: Grain
    name: str
    owners: int | None = None


class Added(NamedTuple):
    """How many changes each owner had in some periods: by number, or by name if an owner has none."""

    numbered: Sums
    others: Counter[str]

    def __len__(self) -> int:
        return len(self.numbered) + len(self.others)


def periods_of(connection: Connection, edition: int, pieces: Sequence[Piece]) -> Iterator[Period]:
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


def close_periods(
    store: Store, pieces: Sequence[Piece], now: datetime, *, within_s: float = math.inf
) -> None:
    """Keep the owners of each of these periods that is over in one row; what others' work delays is left.

    Each is a transaction of its own, and of what was read before: nobody waits while it is added up.
    ``within_s``: begin nothing further after so long, but once; the newest come first.
    """
    late = clock.monotonic() + within_s
    with store.read() as connection:
        edition = edition_of(connection)
        over = [
            period
            for period in periods_of(connection, edition, pieces)
            if period.owners is None and period.name < period_name(floor(now, period.grain), period.grain)
        ]
    try:
        for period in sorted(over, key=attrgetter("name"), reverse=True):
            if _number(store, edition, period, late):
                _close(store, edition, period)
            if clock.monotonic() >= late:
                return
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
        if not _is_right(connection, edition, period):
            yield period


def _is_right(connection: Connection, edition: int, period: Period) -> bool:
    one_by_one = period._replace(owners=None)
    row, found = (total(connection, edition, [each]) for each in (period, one_by_one))
    counts = _one_by_one(connection, edition, one_by_one)
    numbered = row_of((number, changes) for number, _, changes in counts if number is not None)
    try:
        kept = added(connection, edition, [period]).numbered
    except (ValueError, TypeError):  # what is there are no lanes
        return False
    is_alike = row.counts == found.counts and row.runs == found.runs
    return is_alike and kept == Lanes([numbered]).summed() and len(kept) == len(counts) == period.owners


def _number(store: Store, edition: int, period: Period, late: float) -> bool:
    """Give a number to each owner of a period that has none, to some thousands in a transaction.

    Whether each has one then: not where it is too late, or there are too many.
    """
    owner, mine = tally_share.c.owner, rows_of(edition, [period])
    highest = select(func.coalesce(func.max(owner_number.c.number), 0)).scalar_subquery()
    numbered = select(owner_number.c.number).where(owner_number.c.owner == owner).exists()
    rank = func.row_number().over(order_by=owner)
    beyond: ColumnElement[bool] = true()
    while True:
        with store.read() as connection:
            some = select(owner).where(mine, beyond).order_by(owner).limit(_NUMBERED_AT_ONCE)
            block = list(connection.execute(some).scalars())
            if not block:
                return True
            wanted = and_(mine, beyond, owner <= block[-1], ~numbered)
            is_missing = connection.execute(select(owner).where(wanted).limit(1)).first() is not None
            is_full = is_missing and connection.execute(select(highest)).scalar_one() >= MOST_IN_MEMORY
        if is_full:
            return False
        if is_missing:
            with store.write(patience_s=_PATIENCE_S) as connection:
                rows = select(highest + rank, owner).where(wanted)
                adding = upsert(connection, owner_number).from_select(["number", "owner"], rows)
                # Somebody else may take the same numbers: then these are looked at again.
                connection.execute(adding.on_conflict_do_nothing())
        else:
            beyond = owner > block[-1]
        if clock.monotonic() >= late and len(block) == _NUMBERED_AT_ONCE:
            return False


def _close(store: Store, edition: int, period: Period) -> None:
    with store.read() as connection:
        position = position_of(connection, edition).position
        counts = _one_by_one(connection, edition, period)
        summed = total(connection, edition, [period])
    if any(number is None for number, _, _ in counts):
        return  # somebody came since
    packed = row_of((number, changes) for number, _, changes in counts if number is not None)
    row = {
        "edition": edition,
        "grain": period.grain.value,
        "period": period.name,
        **dict(zip(OF_PARTS, summed.as_row(), strict=True)),
        "owners": len(counts),
        **packed._asdict(),
    }
    here = select(tally_position.c.edition).where(
        tally_position.c.edition == edition, tally_position.c.position == position
    )
    with store.write(patience_s=_PATIENCE_S) as connection:
        # Who adds up holds this row: what was read is all there is as long as it stays where it was.
        if connection.execute(here.with_for_update(skip_locked=True)).first() is not None:
            connection.execute(upsert(connection, tally_owners).on_conflict_do_nothing(), row)


def added(connection: Connection, edition: int, periods: Sequence[Period]) -> Added:
    """How many changes each owner had in these periods, from one row of each where there is one."""
    columns = [tally_owners.c[name] for name in Row._fields]
    lanes = Lanes(Row(*row) for row in _kept(connection, edition, periods, columns))
    others = Counter[str]()
    # Where nothing is to be added to others' lanes, nobody needs a number.
    with_numbers = any(period.owners is not None for period in periods)
    for period in open_periods(periods):
        rows = _one_by_one(connection, edition, period, with_numbers=with_numbers)
        lanes.add(row_of([(number, changes) for number, _, changes in rows if number is not None]))
        others.update({owner: changes for number, owner, changes in rows if number is None})
    return Added(lanes.summed(), others)


def total(connection: Connection, edition: int, periods: Sequence[Period]) -> Part:
    """The sums of all owners."""
    found = Part()
    for row in _kept(connection, edition, periods, [tally_owners.c[name] for name in OF_PARTS]):
        found.add(Part.of_row(row))
    if open_ones := open_periods(periods):
        summed = connection.execute(select(*sums()).where(rows_of(edition, open_ones))).one()
        found.add(Part.of_row([value or 0 for value in summed]))
    return found


def open_periods(periods: Iterable[Period]) -> list[Period]:
    """Those whose owners are not kept in one row."""
    return [period for period in periods if period.owners is None]


def rows_of(edition: int, periods: Sequence[Period]) -> ColumnElement[bool]:
    """The rows of these periods, named one by one: an index leads to each, also to an owner's."""
    share = tally_share.c
    return or_(
        *(
            and_(share.edition == edition, share.grain == grain.value, share.period.in_(names))
            for grain in Grain
            if (names := [period.name for period in periods if period.grain is grain])
        )
    )


def changes_of_row() -> ColumnElement[Any]:
    """How many changes an owner's row tells of."""
    return sum((tally_share.c[figure.value] for figure in Figure), literal(0))


def sums() -> list[ColumnElement[Any]]:
    """The sums of owners' rows, in the order of ``Part.as_row``."""
    return [func.sum(tally_share.c[name]) for name in OF_PARTS]


def _one_by_one(
    connection: Connection, edition: int, period: Period, *, with_numbers: bool = True
) -> Sequence[tuple[int | None, str, int]]:
    """The number of each owner of a period, the name, and how many changes."""
    share = tally_share.c
    number = owner_number.c.number if with_numbers else null()
    rows = select(number, share.owner, changes_of_row()).where(rows_of(edition, [period]))
    if with_numbers:
        rows = rows.join_from(tally_share, owner_number, owner_number.c.owner == share.owner, isouter=True)
    found: Sequence[Any] = connection.execute(rows).all()
    return found


def _kept(
    connection: Connection, edition: int, periods: Sequence[Period], columns: Sequence[Any]
) -> Iterator[Any]:
    """The rows of the periods whose owners are kept in one."""
    for grain in Grain:
        names = [each.name for each in periods if each.grain is grain and each.owners is not None]
        for start in range(0, len(names), _PERIODS_AT_ONCE):
            some = tally_owners.c.period.in_(names[start : start + _PERIODS_AT_ONCE])
            mine = and_(tally_owners.c.edition == edition, tally_owners.c.grain == grain.value, some)
            yield from rows_of_bytes(connection, select(*columns).where(mine))
