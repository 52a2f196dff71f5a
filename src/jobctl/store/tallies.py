"""The tally of the history: kept for what is old, read from the history itself for what is new.

Nothing that changes a job writes here, so workers never wait for it. Whoever finds that much
history is not added up yet adds it up (``fold``); a reader sums what is kept and the rest, in one
transaction, and is exact at every moment.

What is kept is an edition. The lowest one with a position is read and folded into; another one may
be in the making beside it: see ``editions``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobctl.core.figures import Figure
from jobctl.core.tally import (
    Change,
    Durations,
    Flow,
    Grain,
    Line,
    Part,
    Share,
    Span,
    Tally,
    change_of,
    tally_of,
)
from jobctl.store.dialect import Dialect
from jobctl.store.engine import Connection, Store
from jobctl.store.history import flights, last_event
from jobctl.store.schema import tally_flow, tally_owners, tally_position, tally_share, tally_span
from jobctl.store.statements import stream_rows, upsert

_AT_ONCE = 50_000
_FIRST = 1
OF_PARTS = (*(figure.value for figure in Figure), "runs", "run_s")

# The line before is the last one of the job that changed its status: what it waited or ran since.
_LINES = """
SELECT {at}, coalesce(j.kind, ''), coalesce(j.queue, ''), j.owner,
    e.kind, coalesce(e.from_status, ''), coalesce(e.to_status, ''),
    coalesce(e.detail ->> 'cause', e.detail ->> 'verb', ''),
    coalesce(e.detail ->> 'error_code', ''),
    {before}, CAST(b.detail ->> 'retry_after_s' AS DOUBLE PRECISION), {run_at}
FROM {event} AS e
LEFT JOIN {job} AS j ON j.job_id = e.job_id
LEFT JOIN {event} AS b ON b.event_id = (
    SELECT max(p.event_id) FROM {event} AS p
    WHERE p.job_id = e.job_id AND p.event_id < e.event_id AND p.to_status IS NOT NULL
        AND p.to_status IS DISTINCT FROM p.from_status
)
WHERE e.event_id > ? AND e.event_id <= ? AND e.from_status IS DISTINCT FROM e.to_status
ORDER BY e.event_id
"""


class Position(NamedTuple):
    """How far the tally goes: ``position`` is the last event in it, ``last`` the last there is."""

    position: int
    last: int

    @property
    def missing(self) -> int:
        """About how many events are to be added still."""
        return self.last - self.position


def edition_of(connection: Connection) -> int:
    """The edition that is read."""
    edition: int | None = connection.execute(select(func.min(tally_position.c.edition))).scalar_one()
    return _FIRST if edition is None else edition


def position_of(connection: Connection, edition: int | None = None) -> Position:
    """How far the tally goes, or one edition of it."""
    edition = edition_of(connection) if edition is None else edition
    found = select(tally_position.c.position).where(tally_position.c.edition == edition)
    return Position(connection.execute(found).scalar_one_or_none() or 0, last_event(connection))


def fold(store: Store, *, at_most: int = _AT_ONCE, edition: int | None = None) -> int:
    """Add up what is new, at most so many events at once; how many positions the tally moved on.

    Many may do it at once: one of them moves the position, and what the others counted is
    dropped. Only what was counted is written under a lock.
    """
    with store.read() as connection:
        seen = _look(connection, edition_of(connection) if edition is None else edition)
        upto = min(seen.settled, seen.position + at_most)
        tallies = tally_of(changes(connection, store.dialect, seen.position, upto))
    if upto == seen.position and not seen.is_new_mark:
        return 0
    # Made before there is a lock, which is then held for the statements alone.
    added = _additions(seen.edition, tallies)
    with store.write() as connection:
        if not _move(connection, seen, upto):
            return 0
        for table, rows in added.items():
            if rows:
                connection.execute(_adding(connection, table), rows)
        for tally in tallies.values():
            _forget_owners(connection, seen.edition, tally)
    return upto - seen.position


def read(
    connection: Connection,
    dialect: Dialect,
    grain: Grain,
    *,
    since: str = "",
    until: str | None = None,
    most_missing: int | None = None,
) -> Tally:
    """The tally of one grain, for the periods from ``since`` to before ``until``; exact at this moment.

    Without what owners have their part in: there may be a million of them. ``most_missing``: where more
    than that is not added up yet, all of that is left out.
    """
    tally = Tally(grain)
    edition = edition_of(connection)
    _load(connection, edition, tally, since, until)
    position = position_of(connection, edition)
    if position.missing > 0 and (most_missing is None or position.missing <= most_missing):
        for change in changes(connection, dialect, *position):
            if since <= change.at and (until is None or change.at < until):
                tally.add(change)
    tally.shares.clear()
    return tally


def changes(connection: Connection, dialect: Dialect, after: int, upto: int) -> Iterator[Change]:
    """The changes of statuses among the events ``after`` < id ≤ ``upto``, in their order."""
    sql = _LINES.format(
        at=dialect.moment("e.at"),
        before=dialect.moment("b.at"),
        run_at=dialect.moment("j.run_at"),
        event=dialect.table("event"),
        job=dialect.table("job"),
    )
    return (change_of(Line._make(row)) for row in stream_rows(connection, sql, (after, upto)))


def pending(connection: Connection, dialect: Dialect) -> list[Change]:
    """The changes that are not added up yet: few, where the tally has caught up."""
    position = position_of(connection)
    return list(changes(connection, dialect, *position)) if position.missing > 0 else []


def _load(connection: Connection, edition: int, tally: Tally, since: str, until: str | None) -> None:
    for row in connection.execute(_rows(tally_flow, edition, tally.grain, since, until)):
        tally.flows[Flow._make(row[:-1])] += row[-1]
    for row in connection.execute(_rows(tally_span, edition, tally.grain, since, until)):
        tally.spans[Span._make(row[:-2])] = Durations(*row[-2:])


def shares(connection: Connection, grain: Grain) -> dict[Share, Part]:
    """What is added up of owners' parts."""
    rows = connection.execute(_rows(tally_share, edition_of(connection), grain))
    return {Share._make(row[:2]): Part.of_row(row[2:]) for row in rows}


def _rows(table: Table, edition: int, grain: Grain, since: str = "", until: str | None = None) -> Select[Any]:
    known = [column for column in table.c if column.name not in {"edition", "grain"}]
    return select(*known).where(within(table, edition, grain.value, since, until))


def within(
    table: Table, edition: int, grain: str, since: str = "", until: str | None = None
) -> ColumnElement[bool]:
    """The rows of a grain, named as it is kept, for the periods from ``since`` to before ``until``."""
    rows = and_(table.c.edition == edition, table.c.grain == grain, table.c.period >= since)
    return rows if until is None else and_(rows, table.c.period < until)


def _additions(edition: int, tallies: Mapping[Grain, Tally]) -> dict[Table, list[dict[str, Any]]]:
    """The rows to be added to what is kept."""
    added: dict[Table, list[dict[str, Any]]] = {tally_flow: [], tally_span: [], tally_share: []}
    for grain, tally in tallies.items():
        kept_as = [(grain.value, tally)]
        if grain is not Grain.ALL:
            kept_as.append((grain.plural, tally.without_names()))
        for name, each in kept_as:
            key = {"edition": edition, "grain": name}
            for flow, count in each.flows.items():
                added[tally_flow].append({**key, **flow._asdict(), "count": count})
            for span, durations in each.spans.items():
                measured = {"count": durations.count, "total_s": durations.total_s}
                added[tally_span].append({**key, **span._asdict(), **measured})
            for share, part in each.shares.items():
                figures = dict(zip(OF_PARTS, part.as_row(), strict=True))
                added[tally_share].append({**key, **share._asdict(), **figures})
    return added


def _forget_owners(connection: Connection, edition: int, tally: Tally) -> None:
    """Remove what the owners of periods came to in one row: it is not so any more."""
    periods = sorted({share.period for share in tally.shares})
    if periods:
        outdated = (tally_owners.c.edition == edition, tally_owners.c.grain == tally.grain.value)
        connection.execute(delete(tally_owners).where(*outdated, tally_owners.c.period.in_(periods)))


def _adding(connection: Connection, table: Table) -> Any:
    statement = upsert(connection, table)
    key = list(table.primary_key)
    added = {column.name: column + statement.excluded[column.name] for column in table.c if column not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=added)


class _Seen(NamedTuple):
    """Where the tally is, and up to which event it may go: see ``_look``."""

    edition: int
    position: int
    settled: int
    mark: int | None = None
    horizon: int | None = None
    is_new_mark: bool = False


def _look(connection: Connection, edition: int) -> _Seen:
    """How far the tally goes, and the last event before which none can come in any more.

    One writer at a time makes SQLite's numbers come in order. PostgreSQL gives a number when a
    row is written and shows it at the commit: an event counts once every transaction is over that
    was under way when it, or one after it, was seen. Each of ours has its transaction number
    before it writes an event.
    """
    last = last_event(connection)
    row = connection.execute(select(tally_position).where(tally_position.c.edition == edition)).one_or_none()
    position: int = row.position if row is not None else 0
    served = edition_of(connection)
    if edition != served:
        # What the edition that is read holds is settled; one that is no more goes nowhere.
        settled = position_of(connection, served).position if row is not None else position
        return _Seen(edition, position, settled)
    under_way = flights(connection)
    if under_way is None:
        return _Seen(edition, position, last)
    if row is None or row.mark is None:
        return _Seen(edition, position, position, last, under_way.highest, is_new_mark=True)
    if under_way.lowest < row.horizon:
        return _Seen(edition, position, position, row.mark, row.horizon)
    return _Seen(edition, position, row.mark, last, under_way.highest, is_new_mark=row.mark != last)


def _move(connection: Connection, seen: _Seen, upto: int) -> bool:
    """Move the tally on to an event, unless somebody else just did."""
    moved = {"position": upto, "mark": seen.mark, "horizon": seen.horizon}
    here = and_(tally_position.c.edition == seen.edition, tally_position.c.position == seen.position)
    if connection.execute(update(tally_position).where(here).values(moved)).rowcount:
        return True
    if seen.position or connection.execute(select(tally_position.c.edition).limit(1)).first() is not None:
        return False
    try:
        with connection.begin_nested():
            connection.execute(insert(tally_position), {"edition": seen.edition, **moved})
    except IntegrityError:
        return False
    return True
