"""List jobs, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from jobctl import clock
from jobctl.model.job import Job, Origin
from jobctl.model.listing import JobQuery, Order, Position, parse_position, position_of
from jobctl.model.status import Status
from jobctl.ops.roots import root_named
from jobctl.ops.site import Site
from jobctl.store import jobs, listing
from jobctl.store.engine import Connection
from jobctl.store.listing import Stretch

_PAGE = 500
# A block of jobs that is looked through at once, and how many more are counted at most.
_BLOCK, COUNTED = 20_000, 10_000
SAME_FIELDS = ("kind", "queue", "owner", "error_code", "origin")
"""The fields of a filter that a job's own have to equal."""


@dataclass(slots=True, kw_only=True)
class JobFilter:
    """Which jobs are wanted. ``text`` is sought in id, error, owner and URL; ``root`` is an id or a path.

    ``since`` and ``until`` are of the time that ``by`` names.
    """

    statuses: frozenset[Status] = frozenset()
    kind: str | None = None
    queue: str | None = None
    owner: str | None = None
    error_code: str | None = None
    origin: Origin | None = None
    text: str | None = None
    root: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    by: Order = Order.CREATED
    since: datetime | None = None
    until: datetime | None = None


class JobPage(NamedTuple):
    """Some jobs, and where to go on. ``more``: how many follow at least, ``None`` where that takes too long.

    ``is_cut``: there was no time to look at more, so that wanted ones may follow right there.
    """

    jobs: list[Job]
    cursor: Position | None = None
    more: int | None = None
    is_cut: bool = False


def list_jobs(
    site: Site,
    wanted: JobFilter,
    *,
    after: str | None = None,
    limit: int | None = None,
    order: Order = Order.CREATED,
    is_reversed: bool = False,
) -> Iterator[Job]:
    """Jobs, the latest first, read page by page; ``after`` is the last one already seen, or its place.

    Raises ``UnknownJob`` where ``after`` is not recorded, ``RootUnavailable`` for an unknown root.
    """
    query = _query(site, wanted, order, is_reversed=is_reversed)
    place = _place(site, after, order)
    while limit is None or limit > 0:
        size = _PAGE if limit is None else min(limit, _PAGE)
        with site.store.read() as connection:
            found = listing.find_jobs(connection, query, Stretch(size, place))
        yield from found
        if len(found) < size:
            return
        place = position_of(found[-1], order)
        limit = None if limit is None else limit - len(found)


def page_of_jobs(
    site: Site,
    wanted: JobFilter,
    *,
    after: str | None = None,
    limit: int,
    order: Order = Order.CREATED,
    is_reversed: bool = False,
    patience_s: float | None = None,
) -> JobPage:
    """A page of ``list_jobs`` and where the next one begins.

    ``patience_s``: how long to look at most; what was found until then is given, and some of what
    follows is counted. Raises as ``list_jobs``.
    """
    query = _query(site, wanted, order, is_reversed=is_reversed)
    place = _place(site, after, order)
    deadline = None if patience_s is None else clock.monotonic() + patience_s
    found: list[Job] = []
    with site.store.read() as connection:
        for start, end in _blocks(connection, query, place, whole=deadline is None):
            found += listing.find_jobs(connection, query, Stretch(limit + 1 - len(found), start, end))
            if len(found) > limit:
                cursor = position_of(found[limit - 1], order)
                return JobPage(found[:limit], cursor, _count(connection, query, cursor, deadline))
            if end is not None and deadline is not None and clock.monotonic() > deadline:
                return JobPage(found, end, is_cut=True)
    return JobPage(found, more=0)


def _blocks(
    connection: Connection, query: JobQuery, place: Position | None, *, whole: bool
) -> Iterator[tuple[Position | None, Position | None]]:
    """The list from a place on, in parts that are quick to look through; in one where that is quick, too."""
    whole = whole or query.is_by_index or listing.are_few(connection, query)
    while not whole:
        end = listing.place_beyond(connection, query, place, _BLOCK)
        if end is None:
            break
        yield place, end
        place = end
    yield place, None


def _count(connection: Connection, query: JobQuery, place: Position, deadline: float | None) -> int | None:
    """How many wanted jobs follow, at least; ``None`` where nobody waits for that."""
    if deadline is None:
        return None
    more = 0
    for start, end in _blocks(connection, query, place, whole=False):
        more += listing.count_jobs(connection, query, Stretch(COUNTED - more, start, end))
        if more >= COUNTED or clock.monotonic() > deadline:
            break
    return more


def _query(site: Site, wanted: JobFilter, order: Order, *, is_reversed: bool) -> JobQuery:
    root_id = root_named(site, wanted.root).root_id if wanted.root else None
    same = {"root_id": root_id, **{name: getattr(wanted, name) for name in SAME_FIELDS}}
    spans = {Order.CREATED: (wanted.created_after, wanted.created_before)}
    if (wanted.since, wanted.until) != (None, None):
        earlier, later = spans.get(wanted.by, (None, None))
        spans[wanted.by] = (_both(max, earlier, wanted.since), _both(min, later, wanted.until))
    return JobQuery(
        statuses=tuple(sorted(wanted.statuses)),
        same={name: value for name, value in same.items() if value is not None},
        text=wanted.text,
        spans={each: span for each, span in spans.items() if span != (None, None)},
        order=order,
        is_reversed=is_reversed,
    )


def _both(which: Callable[..., datetime], one: datetime | None, other: datetime | None) -> datetime | None:
    given = [moment for moment in (one, other) if moment is not None]
    return which(given) if given else None


def _place(site: Site, after: str | None, order: Order) -> Position | None:
    """The place in a list that a text names: as ``str`` wrote it, or by the id of a job."""
    if after is None:
        return None
    place = parse_position(after)
    if place is not None and order is not Order.ID:
        return place
    if order is Order.ID:
        return Position(None, after)
    with site.store.read() as connection:
        return position_of(jobs.get_job(connection, after), order)
