"""The history of all jobs: what is found, page by page, and every event once as it grows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg
import pytest
from sqlalchemy import insert

from jobctl import clock
from jobctl.errors import UnknownJob
from jobctl.model.history import EventFilter
from jobctl.model.job import Event
from jobctl.model.status import Status
from jobctl.ops import events as events_module
from jobctl.ops.events import Tail, Window, event_page, follow_events, resolve_jobs, stream_events
from jobctl.ops.site import Site
from jobctl.store import history, jobs, schema
from ops.world import World, a_job_id
from store.records import AT, claim, complete, create, fail, later, retry

SECRET = "cannot reach postgresql://app:hunter2@db/videos"


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    """Three jobs: one that failed and is queued again, one that was completed, one of another owner."""
    with world.site(pooled=False) as opened:
        with opened.store.write() as connection:
            create(connection, a_job_id(0), owner="ada")
            claim(connection, a_job_id(0), at=later(60))
            fail(connection, a_job_id(0), error_code="gpu-lost", at=later(120))
            retry(connection, a_job_id(0), at=later(180))
            create(connection, a_job_id(1), at=later(240), queue="night", kind="avatar", owner="ada")
            claim(connection, a_job_id(1), at=later(300))
            complete(connection, a_job_id(1), at=later(360))
            create(connection, a_job_id(2), at=later(420), owner="grace")
            detail = {"reason": SECRET, "said": ['50% "überall"', "a_b"]}
            jobs.record_event(connection, a_job_id(2), later(480), "noted", "worker W-7", detail=detail)
        yield opened


def numbers(events: list[Event] | Iterator[Event]) -> list[int]:
    return [event.event_id for event in events]


def found(site: Site, **wanted: object) -> list[int]:
    """The wanted events, looked up in both ways; every event's number tells which it is: 1 to 9."""
    sought = EventFilter(**wanted)  # type: ignore[arg-type]
    streamed = numbers(stream_events(site, sought, Window(), newest_first=False))
    page = event_page(site, sought, Window(), limit=50, newest=True)
    assert streamed == numbers(page.events)
    assert page.cursor is None
    return streamed


FILTERS: list[tuple[dict[str, object], list[int]]] = [
    ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ({"job_ids": {a_job_id(0), a_job_id(2)}}, [1, 2, 3, 4, 8, 9]),
    ({"to_statuses": {Status.PROCESSING}}, [2, 6]),
    ({"to_statuses": {Status.QUEUED}, "from_statuses": {Status.FAILED}}, [4]),
    ({"kinds": {"created", "noted"}}, [1, 5, 8, 9]),
    ({"cause": "claim"}, [2, 6]),
    ({"actor": "WORKER"}, [2, 3, 6, 7, 9]),
    ({"actor": "w-7"}, [9]),
    ({"run_id": "r1"}, []),
    ({"since": later(180), "until": later(300)}, [4, 5]),
    ({"job_same": {"owner": "ada", "queue": "night"}}, [5, 6, 7]),
    ({"job_same": {"kind": "avatar"}, "to_statuses": {Status.COMPLETED}}, [7]),
    ({"text": "GPU-LOST"}, [3]),
    ({"text": a_job_id(2)[4:12].upper()}, [8, 9]),
    ({"text": '50% "überall"'}, [9]),
    ({"text": "5_%"}, []),
    ({"text": "axb"}, []),
    ({"text": "x" * 100_000}, []),
    ({"job_ids": {a_job_id(0)}, "since": later(60), "actor": "worker", "cause": "executor"}, [3]),
]


def test_the_events_of_an_owner_are_the_same_whether_the_jobs_are_few_or_many(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for few in (1, 500):
        monkeypatch.setattr(events_module, "_FEW_JOBS", few)
        assert found(site, job_same={"owner": "ada"}) == [1, 2, 3, 4, 5, 6, 7]
        assert found(site, job_same={"owner": "ada", "queue": "night"}) == [5, 6, 7]
        assert found(site, job_same={"owner": "nobody"}) == []
        everything = stream_events(site, EventFilter(job_same={"owner": "ada"}), Window(), newest_first=True)
        assert numbers(list(everything)) == [7, 6, 5, 4, 3, 2, 1]


def test_filters(site: Site) -> None:
    assert [found(site, **wanted) for wanted, _ in FILTERS] == [expected for _, expected in FILTERS]


def test_events_of_a_deleted_job_are_found_by_its_id_and_by_its_beginning(site: Site) -> None:
    with site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(2), actor="ada", at=AT)
    assert resolve_jobs(site, [a_job_id(2)[:-4]]) == {a_job_id(2)}
    assert found(site, job_ids=resolve_jobs(site, [a_job_id(2)])) == [8, 9, 10]


def test_a_beginning_of_several_ids_is_refused_with_those(site: Site) -> None:
    with site.store.write() as connection:
        create(connection, "film")
        create(connection, "film-2")
    assert resolve_jobs(site, ["film"]) == {"film"}
    for name in ("fil", "film-", "", "\udcff\0", "f"):
        if name == "film-":
            assert resolve_jobs(site, [name]) == {"film-2"}
            continue
        with pytest.raises(UnknownJob) as refused:
            resolve_jobs(site, [name])
        assert ("film, film-2" in refused.value.hint) == name.startswith("f")


@pytest.mark.parametrize("newest", [True, False])
def test_pages_hold_every_event_once_though_new_ones_come(site: Site, newest: bool) -> None:
    seen: list[int] = []
    window = Window()
    while True:
        page = event_page(site, EventFilter(), window, limit=2, newest=newest)
        seen += numbers(page.events)
        if page.cursor is None:
            break
        window = Window(before=page.cursor) if newest else Window(after=page.cursor)
        with site.store.write() as connection:
            if len(seen) < 6:
                create(connection, f"new-{len(seen)}")
    assert seen[:4] == ([8, 9, 6, 7] if newest else [1, 2, 3, 4])
    assert sorted(seen) == list(range(1, 10 if newest else 12))


def test_newest_first_is_the_same_backwards(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "_STREAMED", 2)
    for window in (Window(), Window(after=3, before=8)):
        forward = numbers(stream_events(site, EventFilter(), window, newest_first=False))
        assert numbers(stream_events(site, EventFilter(), window, newest_first=True)) == forward[::-1]


@pytest.mark.parametrize("newest", [True, False])
def test_a_look_that_takes_too_long_ends_where_it_can_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch, newest: bool
) -> None:
    monkeypatch.setattr(events_module, "_FIRST_BLOCK", 2)
    monkeypatch.setattr(events_module, "_LARGEST_BLOCK", 2)
    monkeypatch.setattr(events_module, "_FEW_JOBS", 0)
    seen: list[int] = []
    window, cuts = Window(), 0
    while True:
        wanted = EventFilter(job_same={"owner": "ada"})
        page = event_page(site, wanted, window, limit=50, newest=newest, patience_s=0.0)
        seen += numbers(page.events)
        cuts += page.is_cut
        if page.cursor is None:
            break
        window = Window(before=page.cursor) if newest else Window(after=page.cursor)
    assert sorted(seen) == [1, 2, 3, 4, 5, 6, 7]
    assert cuts == 4


DAY = timedelta(days=1)


@pytest.fixture
def days(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Forty days with a job each, and a search that looks at one event at a time."""
    monkeypatch.setattr(history, "_PROBED", 1)
    with world.site() as opened:
        with opened.store.write() as connection:
            for number in range(40):
                create(connection, a_job_id(number), at=AT + DAY * number)
        yield opened


def skipped(site: Site, since: datetime) -> int:
    """Up to which event nothing is looked at for what came since then."""
    with site.store.read() as connection:
        return history.before_all_since(connection, since, above=0, upto=history.last_event(connection))


def test_what_is_long_ago_is_not_read_for_what_came_since(days: Site) -> None:
    since = AT + DAY * 30
    assert found(days, since=since) == list(range(31, 41))
    assert 20 < skipped(days, since) <= 29
    assert skipped(days, AT) == 0
    assert skipped(days, AT + DAY * 400) >= 38
    assert found(days, since=AT + DAY * 400) == []
    page = event_page(days, EventFilter(since=since), Window(), limit=50, newest=False)
    assert numbers(page.events) == list(range(31, 41))
    page = event_page(days, EventFilter(since=since), Window(after=33), limit=50, newest=False)
    assert numbers(page.events) == list(range(34, 41))


def reached(site: Site, until: datetime) -> int:
    """From which event on nothing is looked at for what came before then."""
    with site.store.read() as connection:
        last = history.last_event(connection)
        return history.from_which_all_are_later(connection, until, above=0, upto=last)


def test_what_came_since_is_not_read_for_what_is_long_ago(days: Site) -> None:
    until = AT + DAY * 10
    assert found(days, until=until) == list(range(1, 11))
    assert 11 <= reached(days, until) < 20
    assert reached(days, AT + DAY * 400) == 40
    assert reached(days, AT - DAY * 400) <= 3
    assert found(days, until=AT - DAY * 400) == []
    page = event_page(days, EventFilter(until=until), Window(), limit=3, newest=True)
    assert numbers(page.events) == [8, 9, 10]
    assert found(days, since=AT + DAY * 5, until=until) == [6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("size", "took_s", "following"),
    [
        (10_000, 0.0, 40_000),
        (40_000, 0.05, 80_000),
        (40_000, 0.1, 40_000),
        (200_000, 0.5, 40_000),
        (200_000, 0.01, 200_000),
        (10_000, 3.0, 10_000),
    ],
)
def test_a_block_is_as_large_as_a_tenth_of_a_second_allows(size: int, took_s: float, following: int) -> None:
    assert events_module.size_after(size, took_s) == following


def test_hosts_clocks_may_differ_by_a_day(days: Site) -> None:
    with days.store.write() as connection:
        create(connection, "ahead", at=AT + DAY * 40)
        create(connection, "behind", at=AT + DAY * 38.1)
        for number in range(42, 60):
            create(connection, a_job_id(number), at=AT + DAY * 40 + timedelta(minutes=number))
    for minutes in range(-3_000, 60, 60):
        since = AT + DAY * 40 + timedelta(minutes=minutes)
        assert found(days, since=since) == told_one_by_one(days, since)
        earlier = set(told_one_by_one(days, AT - DAY)) - set(told_one_by_one(days, since))
        assert found(days, until=since) == sorted(earlier)


def test_old_events_that_an_import_brought_hide_none(days: Site) -> None:
    since = AT + DAY * 38
    with days.store.write() as connection:
        # As many as all before: a search that looks in the middle sees only these.
        for _ in range(50):
            jobs.record_event(connection, a_job_id(1), AT, "noted", "elsewhere")
        values = {"run_id": "r1", "command": "import", "state": "finished", "actor": "ada", "host": "h"}
        times = {"started_at": AT, "finished_at": AT + DAY * 39}
        connection.execute(insert(schema.run), {**values, **times})
    assert found(days, since=since) == told_one_by_one(days, since) == [39, 40]
    earlier = stream_events(days, EventFilter(until=since), Window(), newest_first=False)
    assert numbers(list(earlier)) == [*range(1, 39), *range(41, 91)]


def told_one_by_one(site: Site, since: datetime) -> list[int]:
    everything = stream_events(site, EventFilter(), Window(), newest_first=False)
    return [event.event_id for event in everything if event.at >= since]


def test_passwords_are_shown_nowhere(site: Site) -> None:
    for events in (
        list(stream_events(site, EventFilter(text="postgresql"), Window(), newest_first=False)),
        event_page(site, EventFilter(text="postgresql"), Window(), limit=5, newest=True).events,
        Tail(site, EventFilter(kinds=frozenset({"noted"})), after=None, recent=1).recent,
        Tail(site, EventFilter(kinds=frozenset({"noted"})), after=0, recent=0).look(),
    ):
        [event] = events
        assert "hunter2" not in str(event)
        assert "postgresql://app:***@db" in str(event.detail)


def test_a_tail_gives_what_comes_once_and_what_was_recent(site: Site) -> None:
    tail = Tail(site, EventFilter(kinds=frozenset({"created"})), after=None, recent=2)
    assert numbers(tail.recent) == [5, 8]
    assert tail.look() == []
    with site.store.write() as connection:
        create(connection, "next")
        claim(connection, "next")
    assert [event.job_id for event in tail.look()] == ["next"]
    assert tail.look() == []


def test_a_tail_after_a_number_gives_all_that_follows(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "_IN_FLIGHT", 4)
    for after in range(10):
        following = follow_events(site, EventFilter(), after=after, recent=0, tell=str)
        seen: list[int] = []
        while len(seen) < 9 - after:
            seen += numbers(next(following))
        assert seen == list(range(after + 1, 10))


def test_a_lower_number_that_is_committed_later_is_seen_and_once(
    postgresql_url: str, tmp_path: os.PathLike[str]
) -> None:
    world = World(postgresql_url, tmp_path / "outputs")  # type: ignore[operator]
    world.init()
    with world.site() as site, world.site() as other:
        with site.store.write() as connection:
            create(connection, "first")
        early = site.store.write()
        begun = early.__enter__()
        create(begun, "begun before all")
        tail = Tail(site, EventFilter(), after=None, recent=1)
        late = other.store.write()
        begun_later = late.__enter__()
        create(begun_later, "begun before the next")
        with world.site() as third, third.store.write() as connection:
            create(connection, "quick")
        seen = [event.job_id for event in tail.look()]
        assert seen == ["quick"]
        assert tail.look() == []
        late.__exit__(None, None, None)
        seen += [event.job_id for event in tail.look()]
        assert tail.look() == []
        early.__exit__(None, None, None)
        seen += [event.job_id for event in tail.look()]
        assert seen == ["quick", "begun before the next", "begun before all"]
        # Once nothing is under way, nothing has to be remembered.
        assert tail.look() == []
        assert tail._seen == set()


@contextmanager
def out_of_order(url: str) -> Iterator[Callable[[], None]]:
    """The store at ``url`` answers no longer; what is given makes it answer again."""
    if not url.startswith("postgresql"):
        os.rename(url, f"{url}.away")
        yield lambda: os.rename(f"{url}.away", url)
        return
    place, _, name = url.partition("?")[0].rpartition("/")
    admin = url.replace(f"{place}/{name}", f"{place}/postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        yield lambda: connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true') and None


def test_following_outlasts_an_outage_and_misses_nothing(
    world: World, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    waits: list[float] = []
    monkeypatch.setattr(clock, "sleep", waits.append)
    following = follow_events(site, EventFilter(), after=None, recent=1, tell=told.append)
    assert numbers(next(following)) == [9]
    assert next(following) == []
    with site.store.write() as connection:
        create(connection, "just before")
    with out_of_order(world.url) as mend:

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 7:
                mend()

        monkeypatch.setattr(clock, "sleep", wait)
        assert [event.job_id for event in next(following)] == ["just before"]
    assert len(told) == 2
    assert "looking again" in told[0]
    assert "answers again" in told[1]
    assert waits[-5:] == sorted(waits[-5:])
    assert max(waits) == 10.0


def test_imported_history_is_found_by_its_time_wherever_it_stands(site: Site) -> None:
    with site.store.write() as connection:
        jobs.record_event(connection, "old", AT - timedelta(days=30), "noted", "import")
    assert found(site, until=AT) == [10]
