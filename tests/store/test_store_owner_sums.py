"""The owners of a period that is over are kept in one row, which says what the rows of each say."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from jobctl import clock
from jobctl.core.window import By, Window, window_of
from jobctl.errors import StoreUnreachable
from jobctl.store import editions, figures, owner_sums, tallies
from jobctl.store.engine import VERSIONS, Store, create_store, open_store
from jobctl.store.migrations import migrate
from jobctl.store.owner_sums import Owners
from jobctl.store.schema import tally_owners, tally_share
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


def outdated(store: Store) -> list[str]:
    with store.read() as connection:
        return [period.name for period in owner_sums.outdated_rows(connection)]


def close(store: Store, told: Window) -> None:
    owner_sums.close_periods(store, told.pieces(), told.now)


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
    read = owner_sums._read

    def slow(*arguments: Any) -> Any:
        found = read(*arguments)
        live(store, "bob")
        fold_all(store)
        return found

    monkeypatch.setattr(owner_sums, "_read", slow)
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
    monkeypatch.setattr(owner_sums, "_MOST_IN_A_ROW", 0)
    close(store, told)
    assert kept(store) == []
    monkeypatch.setattr(owner_sums, "_MOST_IN_MEMORY", 0)
    assert asked(store, told, are_all=False) == before
    assert before.count == 3


def test_a_row_that_says_something_else_is_found(store: Store) -> None:
    live(store, "ada")
    fold_all(store)
    close(store, window())
    assert outdated(store) == []
    with store.write() as connection:
        connection.execute(update(tally_owners).values(changes='{"bob":3}'))
    assert outdated(store) == ["2026-01-31"]
    with store.write() as connection:
        connection.execute(update(tally_owners).values(changes='{"ada":3}', completed=7))
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


def test_the_migration_keeps_the_sums_there_are(store: Store) -> None:
    live(store, "ada")
    live(store, "bob", days=1, jobs=2)
    fold_all(store)
    before = asked(store, window())
    close(store, window())
    migrate(store.engine, store.dialect, VERSIONS[VERSIONS.index("0009") - 1])
    with store.read() as connection:
        assert "tally_owners" not in store.dialect.tables(connection)
    migrate(store.engine, store.dialect, "0009")
    assert kept(store) == []
    assert asked(store, window()) == before
    close(store, window())
    assert asked(store, window()) == before
    assert outdated(store) == []


_STEPS = st.sampled_from(("live", "fold", "close"))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_STEPS, st.integers(0, 5), st.integers(0, 69)), max_size=15), st.integers(0, 69))
def test_whatever_happens_it_is_what_the_rows_of_each_say(
    store: Store, steps: Sequence[tuple[str, int, int]], since: int
) -> None:
    told = window(AT + timedelta(days=since))
    for step, owner, days in steps:
        if step == "live":
            live(store, f"o{owner}" if owner else None, days=days, jobs=1 + owner % 2)
        elif step == "fold":
            tallies.fold(store, at_most=7)
        else:
            close(store, told)
    fold_all(store)
    with_rows = asked(store, told)
    assert outdated(store) == []
    with store.write() as connection:
        connection.execute(delete(tally_owners))
        rows = tally_share.c.grain == "day", tally_share.c.period >= told.since.date().isoformat()
        counted = select(func.count(tally_share.c.owner.distinct())).where(*rows)
        assert with_rows.count == connection.execute(counted).scalar_one()
    without = asked(store, told, are_all=False)
    assert (with_rows.parts, with_rows.count, with_rows.total) == (
        without.parts,
        without.count,
        without.total,
    )
