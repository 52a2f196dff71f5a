"""Figures read from the tally, added up in the database, so that a year of hours is one short answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, Table, Text, and_, cast, func, literal, select

from jobctl.core.figures import Figures, Move
from jobctl.core.histogram import Histogram
from jobctl.core.tally import Change, Grain, period_of
from jobctl.core.window import Piece, Window, period_name
from jobctl.model.timestamps import format_timestamp
from jobctl.store.engine import Connection
from jobctl.store.schema import tally_flow, tally_span
from jobctl.store.tallies import edition_of, within

Key = Literal["period", "job_kind", "queue", ""]
"""What figures are told apart by; the empty text is not at all."""


def figures_by(connection: Connection, key: Key, pieces: Iterable[Piece]) -> defaultdict[str, Figures]:
    """The figures of these periods, as far as they are added up, by one of the tally's columns.

    A name that has none gets empty ones where it is asked for.
    """
    found: defaultdict[str, Figures] = defaultdict(Figures)
    edition = edition_of(connection)
    for piece in pieces:
        for count, *flow, name in connection.execute(_flows(connection, edition, key, piece)).all():
            found[name].add_moves(Move(*flow), int(count))
        for what, name, *packed in connection.execute(_spans(connection, edition, key, piece)).all():
            histogram = found[name].wait if what == "wait" else found[name].run
            histogram.merge(_unpacked(*packed))
    return found


def pieces_of(connection: Connection, window: Window) -> list[Piece]:
    """What is to be added up for a window: one row of each sort where it holds the whole history."""
    return [Piece(Grain.ALL, "")] if holds_all(connection, window) else window.pieces()


def holds_all(connection: Connection, window: Window) -> bool:
    """Whether all that is added up lies in a window."""
    kept = within(tally_flow, edition_of(connection), Grain.DAY.value)
    # Asked for one by one: SQLite looks each up at an end of the index, and both together nowhere.
    first, last = (
        connection.execute(select(end(tally_flow.c.period)).where(kept)).scalar_one()
        for end in (func.min, func.max)
    )
    return (
        window.is_running
        and first is not None
        and format_timestamp(window.since) <= f"{first}T00:00:00.000000Z"
        and last <= period_name(window.now, Grain.DAY)
    )


def first_seen(
    connection: Connection, column: Literal["job_kind", "error_code"], changes: Iterable[Change], most: int
) -> frozenset[str]:
    """The ``most`` names that were there first, by the day: they stay the same as others come.

    ``changes``: those that are not kept yet.
    """
    name, day = tally_flow.c[column], func.min(tally_flow.c.period)
    rows = select(day, name).where(within(tally_flow, edition_of(connection), Grain.DAY.value), name != "")
    kept = connection.execute(rows.group_by(name).order_by(day, name).limit(most)).all()
    days = {each: period for period, each in kept}
    for change in changes:
        if each := getattr(change, column):
            period = period_of(change.at, Grain.DAY)
            days[each] = min(days.get(each, period), period)
    return frozenset(sorted(days, key=lambda each: (days[each], each))[:most])


def _flows(connection: Connection, edition: int, key: Key, piece: Piece) -> Select[Any]:
    table = tally_flow
    columns = [table.c[name] for name in Move._fields]
    if key == "period":
        # Kept by time alone, the rows are as few as their sums.
        return select(table.c.count, *columns, table.c.period).where(
            _rows(connection, table, edition, key, piece)
        )
    name = _name(table, key)
    by = [*columns, name] if key else columns
    return (
        select(func.sum(table.c.count), *columns, name)
        .where(_rows(connection, table, edition, key, piece))
        .group_by(*by)
    )


def _spans(connection: Connection, edition: int, key: Key, piece: Piece) -> Select[Any]:
    """A histogram in each row: its buckets and their counts as two lists, and the sum of all in seconds.

    A row for each bucket would be 33,000 of a year of days, and to fetch them most of what that takes.
    """
    span = tally_span.c
    rows = _rows(connection, tally_span, edition, key, piece)
    if key == "period":
        # In the order of the table's key, so that nothing is sorted.
        by = (span.period, span.job_kind, span.queue, span.what, span.to_status)
        packed = (_listed(span.bucket), _listed(span.count), func.sum(span.total_s))
        return select(span.what, span.period, *packed).where(rows).group_by(*by)
    name = _name(tally_span, key).label("name")
    columns = (span.what, span.bucket, name)
    sums = (func.sum(span.count).label("count"), func.sum(span.total_s).label("total_s"))
    by_bucket = select(*columns, *sums).where(rows).group_by(*columns).subquery().c
    packed = (_listed(by_bucket.bucket), _listed(by_bucket.count), func.sum(by_bucket.total_s))
    return select(by_bucket.what, by_bucket.name, *packed).group_by(by_bucket.what, by_bucket.name)


def _name(table: Table, key: Key) -> ColumnElement[Any]:
    return table.c[key] if key else literal("")


def _rows(connection: Connection, table: Table, edition: int, key: Key, piece: Piece) -> ColumnElement[bool]:
    is_by_time = key == "period" or (not key and piece.grain is not Grain.ALL)
    grain = piece.grain.plural if is_by_time else piece.grain.value
    rows = within(table, edition, grain, piece.since, piece.until)
    if is_by_time and connection.dialect.name == "postgresql":
        # There are no others. Told so, it follows the order of the key, as SQLite does untold.
        return and_(rows, table.c.job_kind == "", table.c.queue == "")
    return rows


def _listed(column: ColumnElement[Any]) -> ColumnElement[str]:
    return func.aggregate_strings(cast(column, Text), ",")


def _unpacked(buckets: str, counts: str, total_s: float) -> Histogram:
    numbers = (map(int, listed.split(",")) for listed in (buckets, counts))
    return Histogram(Counter(dict(zip(*numbers, strict=True))), total_s)
