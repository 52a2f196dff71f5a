"""Read the history of all jobs: in pages, as a stream, or as it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

from jobctl import clock
from jobctl.errors import StoreUnreachable, UnknownJob
from jobctl.model.commands import show_command
from jobctl.model.history import EventFilter
from jobctl.model.job import Event
from jobctl.model.lookup import SHORTEST_PREFIX
from jobctl.ops.site import Site
from jobctl.store import history
from jobctl.store.engine import Connection
from jobctl.store.redact import redact_url

_FIRST_BLOCK, _LARGEST_BLOCK = 10_000, 200_000
_BLOCK_S = 0.1
_GROWTH = 4
_STREAMED = 2_000
_FEW_JOBS = 2_000
_LOOK_EVERY_S = 0.5
_LONGEST_WAIT_S = 10.0
# What one transaction numbers: a chunk of a plan has at most 50,000 steps.
_IN_FLIGHT = 100_000


class EventPage(NamedTuple):
    """Some events, in order of their numbers; ``cursor`` is where to go on, ``None`` at the end.

    ``is_cut``: there was no time to look at more, so that wanted ones may follow right there.
    """

    events: list[Event]
    cursor: int | None = None
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The events between two numbers, both not included; ``before`` is ``None`` up to the newest."""

    after: int = 0
    before: int | None = None

    def upto(self, last: int) -> int:
        """The highest number within."""
        return last if self.before is None else min(last, self.before - 1)


def resolve_jobs(site: Site, named: list[str]) -> frozenset[str]:
    """The ids of the jobs, each named by id or by a beginning that only it has; a record need not be left.

    Raises ``UnknownJob``.
    """
    with site.store.read() as connection:
        return frozenset(_resolve(connection, name) for name in named)


def _resolve(connection: Connection, name: str) -> str:
    alike = history.jobs_with_history(connection, name, limit=5) if name else []
    if name in alike:
        return name
    if len(alike) == 1 and len(name) >= SHORTEST_PREFIX:
        return alike[0]
    if alike:
        raise UnknownJob(
            f"{name} is no id but the beginning of {'one' if len(alike) == 1 else 'several'}",
            hint=f"write more of it: {', '.join(alike)}",
        )
    raise UnknownJob(f"there is no history of a job {name}", hint=f"look further: {show_command(name)}")


def event_page(
    site: Site,
    wanted: EventFilter,
    window: Window,
    *,
    limit: int,
    newest: bool,
    patience_s: float | None = None,
) -> EventPage:
    """The ``newest`` or else the oldest wanted events within a window.

    The cursor bounds the next window: ``before`` it, or else ``after`` it. ``patience_s``: how long
    to look at most; what was found until then is given.
    """
    with site.store.read() as connection:
        return _page(connection, wanted, window, limit=limit, newest=newest, patience_s=patience_s)


def _page(
    connection: Connection,
    wanted: EventFilter,
    window: Window,
    *,
    limit: int,
    newest: bool,
    patience_s: float | None = None,
) -> EventPage:
    start = clock.monotonic()
    found: list[Event] = []
    wanted = _of_few_jobs(connection, wanted)
    after, upto = _reach(connection, wanted, window)
    for low, high in _blocks(wanted, after, upto, newest=newest):
        rest = limit + 1 - len(found)
        found += history.find_events(
            connection, wanted, above=low, upto=high, limit=rest, newest_first=newest
        )
        if len(found) > limit:
            return EventPage(_in_order(found[:limit]), found[limit - 1].event_id)
        is_last = low == after if newest else high == upto
        if not is_last and patience_s is not None and clock.monotonic() - start > patience_s:
            return EventPage(_in_order(found), low + 1 if newest else high, is_cut=True)
    return EventPage(_in_order(found))


def stream_events(site: Site, wanted: EventFilter, window: Window, *, newest_first: bool) -> Iterator[Event]:
    """Every wanted event within a window that is there now, block by block."""
    with site.store.read() as connection:
        wanted = _of_few_jobs(connection, wanted)
        low, high = _reach(connection, wanted, window)
    while low < high:
        with site.store.read() as connection:
            events = history.find_events(
                connection, wanted, above=low, upto=high, limit=_STREAMED, newest_first=newest_first
            )
        yield from map(without_secrets, events)
        if len(events) < _STREAMED:
            return
        low, high = (low, events[-1].event_id - 1) if newest_first else (events[-1].event_id, high)


def _of_few_jobs(connection: Connection, wanted: EventFilter) -> EventFilter:
    """The same by the ids of an owner's jobs, to which an index leads, where there are few of them."""
    if wanted.job_ids or "owner" not in wanted.job_same:
        return wanted
    owned = history.jobs_of_owner(connection, wanted.job_same["owner"], limit=_FEW_JOBS + 1)
    # Whoever has no jobs has the events of none: the empty id is nobody's.
    return wanted if len(owned) > _FEW_JOBS else replace(wanted, job_ids=frozenset(owned or [""]))


def _reach(connection: Connection, wanted: EventFilter, window: Window) -> tuple[int, int]:
    """The window without what is too early or too late; the wanted events of some jobs are few anyway."""
    above, upto = window.after, window.upto(history.last_event(connection))
    if wanted.job_ids:
        return above, upto
    if wanted.until is not None:
        upto = history.from_which_all_are_later(connection, wanted.until, above=above, upto=upto)
    if wanted.since is not None:
        above = history.before_all_since(connection, wanted.since, above=above, upto=upto)
    return above, upto


def _in_order(events: list[Event]) -> list[Event]:
    return sorted(map(without_secrets, events), key=lambda event: event.event_id)


def _blocks(wanted: EventFilter, low: int, high: int, *, newest: bool) -> Iterator[tuple[int, int]]:
    """The window in blocks, each of which is quick to read; one where an index leads to the jobs."""
    if wanted.job_ids:
        yield low, high
        return
    size = _FIRST_BLOCK
    while low < high:
        began = clock.monotonic()
        if newest:
            yield max(low, high - size), high
            high -= size
        else:
            yield low, min(high, low + size)
            low += size
        size = size_after(size, clock.monotonic() - began)


def size_after(size: int, took_s: float) -> int:
    """How large the block after one is that took so long: such that it should take a tenth of a second."""
    fitting = int(size * _BLOCK_S / max(took_s, _BLOCK_S / _GROWTH))
    return max(_FIRST_BLOCK, min(_LARGEST_BLOCK, fitting))


def without_secrets(event: Event) -> Event:
    """An event in which no URL or connection string shows a password."""
    return event._replace(actor=redact_url(event.actor), detail=_redacted(event.detail))


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact_url(value)
    if isinstance(value, dict):
        return {name: _redacted(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_redacted(each) for each in value]
    return value


def follow_events(
    site: Site, wanted: EventFilter, *, after: int | None, recent: int, tell: Callable[[str], None]
) -> Iterator[list[Event]]:
    """The wanted events as they are committed, each once, for ever; some at a time.

    Begins with all after a number, or with so many ``recent`` ones. Waits where the store does not
    answer, and goes on where it left off; ``tell`` is told of that.
    """
    tail = Tail(site, wanted, after=after, recent=recent)
    if tail.earlier is not None:
        yield from _batches(stream_events(site, wanted, tail.earlier, newest_first=False))
    yield tail.recent
    wait, is_away = _LOOK_EVERY_S, False
    while True:
        try:
            events = tail.look()
        except StoreUnreachable as error:
            if not is_away:
                tell(f"{error.message}; looking again until it answers")
            is_away, wait = True, min(_LONGEST_WAIT_S, 2 * wait)
        else:
            if is_away:
                tell("the job store answers again")
            is_away, wait = False, _LOOK_EVERY_S
            yield events
        clock.sleep(wait)


def _batches(events: Iterator[Event]) -> Iterator[list[Event]]:
    while batch := list(islice(events, _STREAMED)):
        yield batch


class Tail:
    """The end of the history, looked at again and again. Each look gives what was committed since.

    On PostgreSQL a lower number may turn up after a higher one. So the numbers seen above the last
    settled one are remembered, until every transaction is over that was under way when they were seen.
    """

    earlier: Window | None = None
    """What lies so far back that it is settled, and is not part of the first look."""

    recent: list[Event]
    """The last wanted events before the first look."""

    def __init__(self, site: Site, wanted: EventFilter, *, after: int | None, recent: int) -> None:
        self._site, self._wanted = site, wanted
        self._mark: int | None = None
        self._horizon = 0
        self._seen: set[int] = set()
        self.recent = []
        with site.store.read() as connection:
            last = history.last_event(connection)
            # What was begun before now and is committed later has a number not far below.
            self._settled = max(0, last - _IN_FLIGHT)
            if after is None:
                self._seen.update(history.event_numbers(connection, self._settled))
                self.recent = _page(connection, wanted, Window(), limit=recent, newest=True).events
                self._settle(connection, last)
            elif after < self._settled:
                self.earlier = Window(after=after, before=self._settled + 1)
            else:
                self._settled = after

    def look(self) -> list[Event]:
        """The wanted events that were committed since the last look. Raises ``StoreUnreachable``."""
        with self._site.store.read() as connection:
            numbers = history.event_numbers(connection, self._settled)
            fresh = [number for number in numbers if number not in self._seen]
            events = history.events_numbered(connection, self._wanted, fresh)
            self._settle(connection, max(numbers, default=self._settled))
        # What was seen is noted only now: where the store failed on the way, it is looked at again.
        self._seen = {number for number in (*self._seen, *fresh) if number > self._settled}
        return [without_secrets(event) for event in events]

    def _settle(self, connection: Connection, last: int) -> None:
        """Note up to which number none can turn up any more."""
        flights = history.flights(connection)
        if flights is None or flights.lowest == flights.highest:
            self._settled, self._mark = max(self._settled, last), None
        elif self._mark is None:
            self._mark, self._horizon = last, flights.highest
        elif flights.lowest >= self._horizon:
            self._settled, self._mark = max(self._settled, self._mark), None
