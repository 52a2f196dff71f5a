"""The owners of a period that is over are kept in one row, which says what the rows of each say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from jobctl import clock
from jobctl.core.lanes import row_of
from jobctl.core.tally import Grain
from jobctl.core.window import By, Window, period_name, window_of
from jobctl.errors import StoreUnreachable
from jobctl.store import editions, figures, owner_rows, owner_sums, tallies
from jobctl.store.engine import VERSIONS, Store, create_store, open_store
from jobctl.store.migrations import migrate
from jobctl.store.owner_sums import Owners
from jobctl.store.schema import owner_number, tally_owners
from store.records import AT, claim, complete, create

NOW = AT + timedelta(days=70)
MOST = 3


def live(store: Store, owner: str | None, *, days: int = 0, jobs: int = 1) -> None:
    """Jobs of an owner, all done; so many days after the first."""
    at = AT + timedelta(days=days)
    with store.write() as connection:
        for _ in range(jobs):
            job_id = f"{owner}-{clock.monotonic()}"
            create(connection, job_id, owner=owner, at=at)
            claim(connection, job_id, at=at + timedelta(seconds=1))
            complete(connection, job_id, at=at + timedelta(seconds=4))


def fold_all(store: Store) -> None:
    while tallies.fold(store) or tallies.fold(store):
        pass


def window(since: datetime = AT, now: datetime = NOW) -> Window:
    return window_of(By.OWNER, now, since, None)


def asked(store: Store, told: Window, *, are_all: bool | None = None) -> Owners:
    """What is answered, with what is not added up yet."""
    with store.read() as connection:
        if are_all is None:
            are_all = figures.holds_all(connection, told)
        changes = [each for each in tallies.pending(connection, store.dialect) if told.contains(each.at)]
        return owner_sums.owners(connection, told.pieces(), changes, MOST, are_all=are_all)


def kept(store: Store) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        rows = select(tally_owners.c.grain, tally_owners.c.period, tally_owners.c.owners)
        return [tuple(row) for row in connection.execute(rows.order_by(*rows.selected_columns))]


def numbers(store: Store) -> dict[str, int]:
    with store.read() as connection:
        return {owner: number for number, owner in connection.execute(select(owner_number))}


def outdated(store: Store) -> list[str]:
    with store.read() as connection:
        return [period.name for period in owner_rows.outdated_rows(connection)]


def close(store: Store, told: Window) -> None:
    owner_rows.close_periods(store, told.pieces(), told.now)


def test_only_days_and_months_that_are_over_are_kept_in_one_row(store: Store) -> None:
    for days, owner in ((0, "ada"), (1, "bob"), (2, "ada"), (69, "cleo"), (70, "cleo")):
        live(store, owner, days=days)
    fold_all(store)
    before = asked(store, window())
    assert kept(store) == []
    close(store, window())
    assert kept(store) == [("day", "2026-01-31", 1), ("day", "2026-04-10", 1), ("month", "2026-02", 2)]
    assert asked(store, window()) == before
    assert list(before.parts) == ["ada", "cleo", "bob"]
    assert (before.count, before.total.changes, before.total.runs) == (3, 15, 5)
    assert outdated(store) == []


def test_what_comes_late_is_counted(store: Store) -> None:
    live(store, "ada")
    fold_all(store)
    close(store, window())
    live(store, "bob", jobs=2)
    assert list(asked(store, window()).parts) == ["bob", "ada"]
    fold_all(store)
    assert kept(store) == []
    assert list(asked(store, window()).parts) == ["bob", "ada"]
    close(store, window())
    assert kept(store) == [("day", "2026-01-31", 2)]
    assert list(asked(store, window()).parts) == ["bob", "ada"]


def test_what_is_added_up_while_a_row_is_made_keeps_it_from_being_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(store, "ada")
    fold_all(store)
    total = owner_rows.total

    def slow(*arguments: Any) -> Any:
        found = total(*arguments)
        live(store, "bob")
        fold_all(store)
        return found

    monkeypatch.setattr(owner_rows, "total", slow)
    close(store, window())
    monkeypatch.undo()
    assert kept(store) == []
    assert asked(store, window()).count == 2


def test_where_others_hold_the_lock_it_is_answered_without(store: Store) -> None:
    live(store, "ada")
    fold_all(store)
    with store.write() as connection:
        create(connection, "long")
        close(store, window())
        assert asked(store, window()).count == 1
    assert kept(store) == ([] if store.dialect.name == "sqlite" else [("day", "2026-01-31", 1)])


def test_a_write_waits_for_the_lock_no_longer_than_it_is_told(tmp_path: Path) -> None:
    url = str(tmp_path / "jobs.db")
    create_store(url, now=AT, version="test")[0].close()
    with closing(open_store(url)) as store, store.write(), closing(open_store(url)) as other:
        with pytest.raises(StoreUnreachable, match="locked"), other.write(patience_s=0):
            pass


def test_more_owners_than_are_added_up_in_memory_are_added_up_where_they_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        live(store, f"o{number}", days=number % 3, jobs=1 + number % 2)
    fold_all(store)
    told = window(AT + timedelta(days=1))
    before = asked(store, told, are_all=False)
    monkeypatch.setattr(owner_rows, "MOST_IN_MEMORY", 0)
    close(store, told)
    assert kept(store) == []
    assert asked(store, told, are_all=False) == before
    assert before.count == 3


def test_of_many_with_as_many_changes_the_first_by_name_are_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner in ("eve", "dan", "ada", "cleo"):
        live(store, owner)
    live(store, "zoe", jobs=2)
    fold_all(store)
    close(store, window())
    before = asked(store, window())
    assert list(before.parts) == ["zoe", "ada", "cleo"]
    monkeypatch.setattr(owner_sums, "_FEW", 1)
    monkeypatch.setattr(owner_sums, "_BLOCK", 2)
    assert asked(store, window()) == before


def test_changes_that_are_not_added_up_yet_decide_on_who_is_first(store: Store) -> None:
    for owner, jobs in (("ada", 3), ("bob", 3), ("cleo", 3), ("dan", 2)):
        live(store, owner, jobs=jobs)
    fold_all(store)
    close(store, window())
    live(store, "dan", jobs=2)
    live(store, "eve")
    found = asked(store, window())
    assert list(found.parts) == ["dan", "ada", "bob"]
    assert (found.parts["dan"].changes, found.count, found.total.changes) == (12, 5, 42)
    fold_all(store)
    assert asked(store, window()) == found


def test_owners_keep_their_numbers(store: Store) -> None:
    live(store, "bob")
    live(store, "ada", days=1)
    fold_all(store)
    close(store, window(now=AT + timedelta(days=1)))
    before = numbers(store)
    assert before == {"bob": 1}
    close(store, window())
    live(store, "cleo")
    fold_all(store)
    close(store, window())
    assert numbers(store) == {"bob": 1, "ada": 2, "cleo": 3}


def test_owners_are_numbered_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_rows, "_NUMBERED_AT_ONCE", 2)
    for number in range(5):
        live(store, f"o{number}")
    fold_all(store)
    close(store, window())
    assert sorted(numbers(store).values()) == [1, 2, 3, 4, 5]
    assert kept(store) == [("day", "2026-01-31", 5)]


def test_who_numbers_the_same_owners_at_the_same_moment_goes_on_with_what_is_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(store, "ada")
    live(store, "bob")
    fold_all(store)
    write, others = type(store).write, iter([True])

    def late(self: Store, **how: Any) -> Any:
        if next(others, False):
            with write(self) as connection:
                connection.execute(insert(owner_number), {"number": 1, "owner": "bob"})
        return write(self, **how)

    monkeypatch.setattr(type(store), "write", late)
    close(store, window())
    monkeypatch.undo()
    assert numbers(store) == {"ada": 2, "bob": 1}
    assert asked(store, window()).count == 2


def test_a_row_that_says_something_else_is_found(store: Store) -> None:
    live(store, "ada")
    fold_all(store)
    close(store, window())
    assert outdated(store) == []
    with store.write() as connection:
        right = connection.execute(select(tally_owners.c.numbers, tally_owners.c.lanes)).one()._asdict()
    for wrong in (
        row_of([(1, 4)])._asdict(),
        row_of([(2, 3)])._asdict(),
        {"lanes": b"none"},
        {"completed": 7},
    ):
        with store.write() as connection:
            connection.execute(update(tally_owners).values(**right))
        assert outdated(store) == []
        with store.write() as connection:
            connection.execute(update(tally_owners).values(**wrong))
        assert outdated(store) == ["2026-01-31"]


def test_a_number_that_is_not_an_owners_is_found(store: Store) -> None:
    live(store, "ada")
    fold_all(store)
    close(store, window())
    with store.write() as connection:
        connection.execute(update(owner_number).values(owner="bob"))
    assert outdated(store) == ["2026-01-31"]


def test_rows_of_sums_that_are_read_no_more_are_removed(store: Store) -> None:
    live(store, "ada")
    fold_all(store)
    close(store, window())
    edition = editions.begin(store)
    assert edition is not None
    while not editions.take_over(store, edition):
        tallies.fold(store, edition=edition)
    while editions.clean_up(store, at_most=3):
        pass
    assert kept(store) == []
    assert asked(store, window()).count == 1


@pytest.mark.parametrize("version", ["0009", "0011"])
def test_the_migration_keeps_the_sums_there_are(store: Store, version: str) -> None:
    live(store, "ada")
    live(store, "bob", days=1, jobs=2)
    fold_all(store)
    before = asked(store, window())
    close(store, window())
    migrate(store.engine, store.dialect, VERSIONS[VERSIONS.index(version) - 1])
    with store.read() as connection:
        assert "owner_number" not in store.dialect.tables(connection)
        assert ("tally_owners" in store.dialect.tables(connection)) == (version == "0011")
    migrate(store.engine, store.dialect, VERSIONS[-1])
    assert kept(store) == []
    assert asked(store, window()) == before
    close(store, window())
    assert asked(store, window()) == before
    assert outdated(store) == []


def by_days(store: Store, told: Window) -> tuple[dict[str, int], int, int]:
    """The owners of a window with the most changes, how many there are, and all changes: day by day."""
    first, last = (period_name(at, Grain.DAY) for at in (told.since, told.until))
    with store.read() as connection:
        days = tallies.shares(connection, Grain.DAY)
    found = Counter[str]()
    for share, part in days.items():
        if first <= share.period < last:
            found[share.owner] += part.changes
    listed = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return dict(listed[:MOST]), len(found), found.total()


_STEPS = st.sampled_from(("live", "fold", "close"))
_DAY = st.integers(0, 69)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_STEPS, st.integers(0, 5), _DAY), max_size=15), st.tuples(_DAY, st.integers(0, 70)))
def test_whatever_happens_any_window_is_the_sum_of_its_days(
    store: Store, steps: Sequence[tuple[str, int, int]], reach: tuple[int, int]
) -> None:
    since = AT + timedelta(days=reach[0])
    told = window_of(By.OWNER, NOW, since, since + timedelta(days=1 + reach[1]))
    for step, owner, days in steps:
        if step == "live":
            live(store, f"o{owner}" if owner else None, days=days, jobs=1 + owner % 2)
        elif step == "fold":
            tallies.fold(store, at_most=7)
        else:
            close(store, told)
    pending = asked(store, told, are_all=False)
    fold_all(store)
    assert outdated(store) == []
    found = asked(store, told, are_all=False)
    assert pending == found
    changes = {owner: part.changes for owner, part in found.parts.items()}
    assert (changes, found.count, found.total.changes) == by_days(store, told)
    with store.write() as connection:
        connection.execute(delete(tally_owners))
    assert asked(store, told, are_all=False) == found


def test_workers_make_the_rows_before_anybody_asks_the_newest_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days, owner in ((0, "ada"), (1, ""), (40, "bob")):
        live(store, owner, days=days)
    fold_all(store)
    closed, close_one = [], owner_rows._close

    def note(opened: Store, edition: int, period: owner_rows.Period) -> None:
        closed.append(period.name)
        close_one(opened, edition, period)

    monkeypatch.setattr(owner_rows, "_close", note)
    owner_rows.close_periods(store, owner_rows.EVERY_PERIOD, NOW, within_s=0)
    assert closed == ["2026-03-12"]
    owner_rows.close_periods(store, owner_rows.EVERY_PERIOD, NOW)
    assert closed == ["2026-03-12", "2026-03", "2026-02-01", "2026-02", "2026-01-31", "2026-01"]
    owner_rows.close_periods(store, owner_rows.EVERY_PERIOD, NOW)
    assert len(closed) == len(kept(store)) == 6
    assert outdated(store) == []
    assert asked(store, window()).count == 3


def test_a_period_with_owners_beyond_those_that_are_numbered_is_not_read_in_vain(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(store, "ada")
    fold_all(store)
    monkeypatch.setattr(owner_rows, "MOST_IN_MEMORY", 0)
    monkeypatch.delattr(owner_rows, "_close")
    owner_rows.close_periods(store, owner_rows.EVERY_PERIOD, NOW)
    assert numbers(store) == {}
