"""Lists of jobs, in an order that an index holds, from one place in it to another."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, func, literal_column, or_, select, union_all

from jobctl.model.job import Job
from jobctl.model.listing import JobQuery, Order, Position
from jobctl.model.status import Status
from jobctl.model.storable import storable_text
from jobctl.store.engine import Connection
from jobctl.store.jobs import to_job
from jobctl.store.schema import OWNER_BEGINS, OWNER_KEY, job
from jobctl.store.statuses import held_by_index
from jobctl.store.texts import contains

_FEW = 5_000


class Stretch(NamedTuple):
    """A part of a list: after a place and up to one, ``limit`` jobs at most, after the first ``offset``."""

    limit: int
    after: Position | None = None
    upto: Position | None = None
    offset: int = 0


def find_jobs(connection: Connection, query: JobQuery, stretch: Stretch) -> list[Job]:
    """The wanted jobs of a part of the list, in their order.

    Sorted by creation, those without a time of it come last; sorted by completion, there are only
    those that were completed.
    """
    found = _dated(connection, query, [job], stretch)
    if len(found) < stretch.limit and stretch.upto is None and query.order is Order.CREATED:
        found += _undated(connection, query, stretch.after, stretch.limit - len(found))
    return [to_job(row) for row in found]


def place_beyond(
    connection: Connection, query: JobQuery, after: Position | None, count: int
) -> Position | None:
    """The place of the job ``count`` after a place, wanted or not; ``None`` where there are fewer."""
    spans = {order: span for order, span in query.spans.items() if order is query.order}
    same = {name: value for name, value in query.same.items() if name == "owner"}
    every = JobQuery(
        order=query.order,
        is_reversed=query.is_reversed,
        spans=spans,
        same=same if query.order is Order.CREATED else {},
    )
    columns = [job.c[query.order.column].label("at"), job.c.job_id]
    found = _dated(connection, every, columns, Stretch(1, after, offset=count - 1))
    return Position(None if query.order is Order.ID else found[0].at, found[0].job_id) if found else None


def count_jobs(connection: Connection, query: JobQuery, stretch: Stretch) -> int:
    """How many wanted jobs a part of the list has; those without a time are not counted."""
    return len(_dated(connection, query, [job.c.job_id], stretch))


def are_few(connection: Connection, query: JobQuery) -> bool:
    """Whether the owner has, or the wanted statuses have so few jobs that all of them are quickly sorted."""
    return _few(connection, query) is not None


def _few(connection: Connection, query: JobQuery) -> list[Select[Any]] | None:
    """What finds the ids of the few jobs among which the wanted ones are; ``None`` where they are many."""
    ways: list[list[Select[Any]]] = []
    if "owner" in query.same and not query.is_by_index:
        ways.append([owned_ids(query.same["owner"])])
    if query.statuses:
        ways.append([select(job.c.job_id).where(*held_by_index(status)) for status in query.statuses])
    return next((found for found in ways if _is_few(connection, found)), None)


def _is_few(connection: Connection, found: Sequence[Select[Any]]) -> bool:
    left = _FEW
    for each in found:
        some = each.limit(left + 1).subquery()
        left -= connection.execute(select(func.count()).select_from(some)).scalar_one()
        if left < 0:
            return False
    return True


def _dated(
    connection: Connection, query: JobQuery, columns: Sequence[Any], stretch: Stretch
) -> list[Row[Any]]:
    """Rows of the wanted jobs that have a time, or any where they are sorted by id."""
    after = stretch.after
    if after is not None and after.at is None and query.order is not Order.ID:
        return []
    few = _few(connection, query)
    # The index by owner holds the order of creation; in any other one an owner's many jobs would be sorted.
    is_by_owner = few is None and query.order is Order.CREATED and "owner" in query.same
    conditions = _conditions(query, connection.dialect.name, is_by_owner=is_by_owner)
    wanted = [*conditions, *_between(query, after, stretch.upto)]
    if few is None and query.order is Order.UPDATED:
        return _by_status(connection, query, columns, wanted, stretch)
    rows = select(*columns)
    if few is not None:
        # A wall between the two: the few are looked up first, whatever the planner thinks of them.
        ids = union_all(*(each.order_by(None) for each in few)).cte("few").prefix_with("MATERIALIZED")
        rows = rows.where(job.c.job_id.in_(select(ids.c.job_id)))
    if query.statuses:
        # As no index has it, where others lead to the jobs.
        status = job.c.status if few is None else job.c.status.concat(literal_column("''"))
        rows = rows.where(status.in_([each.value for each in query.statuses]))
    order = _owners_order(is_reversed=query.is_reversed) if is_by_owner else _order(query)
    rows = rows.where(*wanted).order_by(*order)
    return list(connection.execute(rows.limit(stretch.limit).offset(stretch.offset or None)))


def _by_status(
    connection: Connection,
    query: JobQuery,
    columns: Sequence[Any],
    wanted: Sequence[ColumnElement[bool]],
    stretch: Stretch,
) -> list[Row[Any]]:
    """Rows by the time of the last change: the statuses have an index of it each, and are merged."""
    keys = [job.c.updated_at.label("sort_at"), job.c.job_id.label("sort_id")]
    most = stretch.limit + stretch.offset
    parts = [
        select(
            select(*keys)
            .where(*held_by_index(status), *wanted)
            .order_by(*_order(query))
            .limit(most)
            .subquery()
        )
        for status in query.statuses or tuple(Status)
    ]
    merged = union_all(*parts).subquery()
    sorting: list[Any] = [merged.c.sort_at, merged.c.sort_id]
    if not query.is_reversed:
        sorting = [key.desc() for key in sorting]
    page = select(merged).order_by(*sorting).limit(stretch.limit).offset(stretch.offset or None).subquery()
    if not {column.name for column in columns} - {"at", "job_id"}:
        # Where a job stands is known already: there is no need to look it up.
        return list(connection.execute(select(page.c.sort_at.label("at"), page.c.sort_id.label("job_id"))))
    rows = select(*columns).join(page, page.c.sort_id == job.c.job_id).order_by(*_order(query))
    return list(connection.execute(rows))


def _undated(connection: Connection, query: JobQuery, after: Position | None, limit: int) -> list[Row[Any]]:
    wanted = [job.c.created_at.is_(None), *_conditions(query, connection.dialect.name)]
    if query.statuses:
        wanted.append(job.c.status.in_([status.value for status in query.statuses]))
    tie = job.c.job_id.desc() if query.is_reversed else job.c.job_id
    if after is not None and after.at is None:
        last = storable_text(after.job_id)
        wanted.append(job.c.job_id < last if query.is_reversed else job.c.job_id > last)
    return list(connection.execute(select(job).where(*wanted).order_by(tie).limit(limit)))


def _order(query: JobQuery) -> list[Any]:
    """What the rows are sorted by, as the index of the order has it, or all of it the other way round."""
    key, is_down = job.c[query.order.column], not query.is_reversed
    if query.order is Order.ID:
        return [key.desc() if query.is_reversed else key]
    return [key.desc() if is_down else key, job.c.job_id.desc() if _ties_go_down(query) else job.c.job_id]


def owned_ids(owner: str) -> Select[Any]:
    """The ids of an owner's jobs, the latest first."""
    return select(job.c.job_id).where(*_is_owned_by(owner)).order_by(*_owners_order())


def _owners_order(*, is_reversed: bool = False) -> list[Any]:
    """The order of creation as only the index by owner has it."""
    created = job.c.created_at
    return (
        [created.nulls_first(), job.c.job_id.desc()]
        if is_reversed
        else [created.desc().nulls_last(), job.c.job_id]
    )


def _ties_go_down(query: JobQuery) -> bool:
    return query.is_reversed if query.order is not Order.UPDATED else not query.is_reversed


def _between(query: JobQuery, after: Position | None, upto: Position | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.order is not Order.ID:
        conditions.append(job.c[query.order.column].is_not(None))
    if after is not None:
        conditions += _beyond(query, after, is_within=False)
    if upto is not None:
        conditions += _beyond(query, upto, is_within=True)
    return conditions


def _beyond(query: JobQuery, place: Position, *, is_within: bool) -> list[ColumnElement[bool]]:
    """What comes after a place; ``is_within``: what comes before it, and the place itself."""
    key, job_id = job.c[query.order.column], storable_text(place.job_id)
    past, up_to = (operator.gt, operator.le) if not _ties_go_down(query) else (operator.lt, operator.ge)
    tie = (up_to if is_within else past)(job.c.job_id, job_id)
    if query.order is Order.ID:
        return [tie]
    goes_up = is_within != query.is_reversed
    # The first condition is a range of the index, the second what is wanted of it.
    at: Any = place.at
    bound, beyond = (operator.ge, operator.gt) if goes_up else (operator.le, operator.lt)
    return [bound(key, at), or_(beyond(key, at), tie)]


def _is_owned_by(owner: str) -> list[ColumnElement[bool]]:
    """By the index, which holds how an owner begins; by all of it where that is not all."""
    named = storable_text(owner)
    begins: list[ColumnElement[bool]] = [job.c.owner.is_not(None), OWNER_KEY.op("=")(named[:OWNER_BEGINS])]
    # A condition more would make PostgreSQL take the owner's jobs for a few, and sort them.
    return begins if len(named) < OWNER_BEGINS else [*begins, _is_owner(named)]


def _is_owner(named: str) -> ColumnElement[bool]:
    """By no index: SQLite would put a plain owner = '…' into the expression of one, and know it no longer."""
    return job.c.owner.concat(literal_column("''")) == named


def _conditions(query: JobQuery, dialect: str, *, is_by_owner: bool = True) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for name, value in query.same.items():
        if name != "owner":
            conditions.append(job.c[name] == storable_text(value))
        else:
            conditions += _is_owned_by(value) if is_by_owner else [_is_owner(storable_text(value))]
    for order, (since, until) in query.spans.items():
        if since is not None:
            conditions.append(job.c[order.column] >= since)
        if until is not None:
            conditions.append(job.c[order.column] < until)
    if query.text:
        columns = (job.c.job_id, job.c.error, job.c.owner, job.c.video_url)
        conditions.append(or_(*(contains(column, query.text, dialect) for column in columns)))
    return conditions
