"""Workers are called when there is work; on PostgreSQL seldom, for it makes commits wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

import psycopg
import pytest
from sqlalchemy import create_engine

import jobctl
from jobctl.runner.timers import Calls
from jobctl.store.bell import CHANNEL, SELDOM_S, Bell
from jobctl.store.engine import open_store


@pytest.fixture
def listener(postgresql_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        yield connection


def heard(listener: psycopg.Connection) -> list[str]:
    """Who was called until now: calls come in the order of their commits, and the last one is our own."""
    with psycopg.connect(listener.info.dsn, autocommit=True) as connection:
        connection.execute(f"NOTIFY {CHANNEL}, 'that is all'")
    return [notice.payload for notice in takewhile(_is_a_queue, listener.notifies(timeout=60))]


def _is_a_queue(notice: psycopg.Notify) -> bool:
    return notice.payload != "that is all"


def test_a_job_calls_the_workers_of_its_queue(postgresql_url: str, listener: psycopg.Connection) -> None:
    with jobctl.Queue(postgresql_url) as queue:
        queue.enqueue("film", queue="films")
    assert heard(listener) == ["films"]


def test_who_enqueues_job_after_job_calls_each_queue_now_and_again(
    postgresql_url: str, listener: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("jobctl.clock.monotonic", lambda: now)
    with jobctl.Queue(postgresql_url) as queue:
        for _ in range(10):
            queue.enqueue("film", queue="films")
            queue.enqueue("film", queue="stills")
            now += SELDOM_S / 4
    assert sorted(heard(listener)) == ["films"] * 3 + ["stills"] * 3


def test_a_transaction_of_somebody_elses_always_calls(
    postgresql_url: str, listener: psycopg.Connection
) -> None:
    # It may be committed long after the one before it.
    engine = create_engine(postgresql_url.replace("postgresql://", "postgresql+psycopg://"))
    with jobctl.Queue(postgresql_url) as queue:
        for _ in range(2):
            with engine.begin() as connection:
                queue.enqueue("film", queue="films", connection=connection)
    engine.dispose()
    assert heard(listener) == ["films", "films"]


def test_whatever_the_database_it_may_be_asked_to(store_url: str) -> None:
    store = open_store(store_url)
    with store.write() as connection:
        Bell().ring(connection, "films")
    store.close()


def test_a_worker_that_is_alone_looks_at_once_and_again_after_the_caller_may_have_been_silent() -> None:
    calls = Calls()
    assert not calls.is_due(0.0)
    calls.note(10.0, others=0, luck=0.7)
    assert calls.is_due(10.0)
    assert not calls.is_due(10.0 + SELDOM_S)
    assert calls.is_due(10.0 + SELDOM_S + 0.011)
    assert not calls.is_due(1000.0)


def test_of_many_workers_each_looks_at_a_moment_of_its_own() -> None:
    moments = []
    for luck in (0.0, 0.25, 1.0):
        calls = Calls()
        calls.note(10.0, others=40, luck=luck)
        moments.append(calls.next_at)
    assert moments == pytest.approx([10.0, 10.005, 10.02])


def test_calls_that_go_on_put_nothing_off() -> None:
    calls = Calls()
    for now in range(10):
        calls.note(10.0 + now / 1000, others=40, luck=0.5)
    assert calls.next_at == pytest.approx(10.01)
