"""The history of all jobs: events by their number, and which numbers may still turn up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Text, cast, func, literal_column, or_, select, text

from jobctl.model.history import EventFilter
from jobctl.model.job import Event
from jobctl.model.storable import storable_text
from jobctl.store.engine import Connection
from jobctl.store.listing import owned_ids
from jobctl.store.schema import event, job, run
from jobctl.store.texts import contains

_COLUMNS = [event.c[name] for name in Event._fields]
_IDS_AT_ONCE = 500
_PROBED = 5_000
_CLOCKS_DIFFER = timedelta(days=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_SNAPSHOT = text(
    "SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint "
    "FROM pg_current_snapshot() AS now"
)


class Flights(NamedTuple):
    """The transactions under way: those below ``lowest`` are over, those from ``highest`` on yet to begin."""

    lowest: int
    highest: int


def last_event(connection: Connection) -> int:
    """The number of the newest event; 0 where there is none."""
    last: int = connection.execute(select(func.coalesce(func.max(event.c.event_id), 0))).scalar_one()
    return last


def flights(connection: Connection) -> Flights | None:
    """The transactions under way; ``None`` where one writer at a time makes numbers come in order.

    PostgreSQL gives an event its number when it is written and shows it at the commit, so that a
    lower number can turn up after a higher one, until every transaction is over that was under way.
    """
    if connection.dialect.name == "sqlite":
        return None
    return Flights._make(connection.execute(_SNAPSHOT).one())


def event_numbers(connection: Connection, above: int) -> list[int]:
    """The numbers of the events above one, in order."""
    numbers = select(event.c.event_id).where(event.c.event_id > above).order_by(event.c.event_id)
    return list(connection.execute(numbers).scalars())


def before_all_since(connection: Connection, since: datetime, *, above: int, upto: int) -> int:
    """A number between these two below which, and at which, no event is as late as ``since``.

    Numbers grow with time, so it is found by halving, and no index of moments has to be kept. Clocks of
    hosts may differ by a day. What an import brought was written later than it says: where there was one
    since then, nothing is left out.
    """
    if _is_at_an_end(since):
        return above
    earliest = since - _CLOCKS_DIFFER
    if _is_imported_since(connection, earliest):
        return above
    while upto - above > 2 * _PROBED:
        middle = (above + upto) // 2
        latest = _moment_of(connection, func.max, above=middle - _PROBED, upto=middle)
        if latest is not None and latest < earliest:
            above = middle
        else:
            upto = middle
    return above


def from_which_all_are_later(connection: Connection, until: datetime, *, above: int, upto: int) -> int:
    """A number between these two above which no event is earlier than ``until``; found likewise."""
    if _is_at_an_end(until):
        return upto
    latest = until + _CLOCKS_DIFFER
    if _is_imported_since(connection, until - _CLOCKS_DIFFER):
        return upto
    while upto - above > 2 * _PROBED:
        middle = (above + upto) // 2
        earliest = _moment_of(connection, func.min, above=middle, upto=middle + _PROBED)
        if earliest is not None and earliest >= latest:
            upto = middle
        else:
            above = middle
    return upto


def _is_at_an_end(moment: datetime) -> bool:
    """Whether the calendar ends less than a clock's difference from it."""
    return min(moment - _FIRST, _LAST - moment) <= _CLOCKS_DIFFER


def _is_imported_since(connection: Connection, moment: datetime) -> bool:
    # One that was cut short and gone on with began long before it ended.
    is_recent = or_(run.c.started_at >= moment, run.c.finished_at >= moment, run.c.finished_at.is_(None))
    imports = select(run.c.run_id).where(run.c.command == "import", is_recent)
    return connection.execute(imports.limit(1)).first() is not None


def _moment_of(connection: Connection, end: Any, *, above: int, upto: int) -> datetime | None:
    """When the earliest or the latest of some events was."""
    within = (event.c.event_id > above, event.c.event_id <= upto)
    found: datetime | None = connection.execute(
        select(end(event.c.at, type_=event.c.at.type)).where(*within)
    ).scalar()
    return found


def find_events(
    connection: Connection,
    wanted: EventFilter,
    *,
    above: int,
    upto: int,
    limit: int | None = None,
    newest_first: bool = False,
) -> list[Event]:
    """The wanted events with ``above`` < number ≤ ``upto``, in order of their numbers."""
    within = [event.c.event_id > above, event.c.event_id <= upto]
    order = event.c.event_id.desc() if newest_first else event.c.event_id
    conditions = _conditions(wanted, connection.dialect.name)
    rows = connection.execute(select(*_COLUMNS).where(*within, *conditions).order_by(order).limit(limit))
    return [Event._make(row) for row in rows]


def events_numbered(connection: Connection, wanted: EventFilter, numbers: Sequence[int]) -> list[Event]:
    """The wanted ones among the events of these numbers, in order."""
    conditions = _conditions(wanted, connection.dialect.name)
    found: list[Event] = []
    for start in range(0, len(numbers), _IDS_AT_ONCE):
        ids = event.c.event_id.in_(numbers[start : start + _IDS_AT_ONCE])
        rows = connection.execute(select(*_COLUMNS).where(ids, *conditions).order_by(event.c.event_id))
        found += map(Event._make, rows)
    return found


def jobs_with_history(connection: Connection, prefix: str, *, limit: int) -> list[str]:
    """Ids that begin with ``prefix`` of which there is history, also where the record is gone."""
    low, found = storable_text(prefix), list[str]()
    beyond = event.c.job_id >= low
    # From id to id by the index: a job may have any number of events.
    while len(found) < limit:
        following = select(func.min(event.c.job_id)).where(beyond, event.c.job_id < low + "\U0010ffff")
        job_id = connection.execute(following).scalar_one()
        if job_id is None:
            break
        found.append(job_id)
        beyond = event.c.job_id > job_id
    return found


def jobs_of_owner(connection: Connection, owner: str, *, limit: int) -> list[str]:
    """The ids of an owner's jobs, so many at most."""
    return list(connection.execute(owned_ids(owner).limit(limit)).scalars())


def _conditions(wanted: EventFilter, dialect: str) -> list[ColumnElement[bool]]:
    conditions = [
        *_one_of(event.c.job_id, wanted.job_ids),
        *_one_of(event.c.kind, wanted.kinds),
        *_one_of(event.c.from_status, wanted.from_statuses),
        *_one_of(event.c.to_status, wanted.to_statuses),
    ]
    if wanted.cause is not None:
        detail: Any = event.c.detail
        cause = func.coalesce(_field(detail, "cause"), _field(detail, "verb"))
        conditions.append(cause == storable_text(wanted.cause))
    if wanted.actor is not None:
        conditions.append(contains(event.c.actor, wanted.actor, dialect))
    if wanted.run_id is not None:
        conditions.append(event.c.run_id == storable_text(wanted.run_id))
    if wanted.since is not None:
        conditions.append(event.c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(event.c.at < wanted.until)
    if wanted.text is not None:
        conditions.append(_says(wanted.text, dialect))
    if wanted.job_same:
        same = [job.c[name] == storable_text(value) for name, value in wanted.job_same.items()]
        one: Any = literal_column("1")
        # Each event's job is looked up. Of EXISTS a planner makes a join, and reads all jobs for some events.
        conditions.append(select(one).where(job.c.job_id == event.c.job_id, *same).scalar_subquery() == one)
    return conditions


def _one_of(column: Any, values: Iterable[str]) -> list[ColumnElement[bool]]:
    listed = sorted(storable_text(value) for value in values)
    return [column.in_(listed)] if listed else []


def _field(document: Any, name: str) -> Any:
    return document.op("->>", return_type=Text())(literal_column(f"'{name}'"))


def _says(sought: str, dialect: str) -> ColumnElement[bool]:
    """Whether an event holds a text, in the forms in which JSON may hold it."""
    detail = func.coalesce(cast(event.c.detail, Text), "")
    forms = {json.dumps(storable_text(sought), ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    inside = [contains(detail, form, dialect) for form in sorted(forms)]
    return or_(contains(event.c.job_id, sought, dialect), contains(event.c.actor, sought, dialect), *inside)
