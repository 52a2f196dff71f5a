"""Transactions: a read sees one moment, a write is all or nothing, many processes write at once."""

from __future__ import annotations

import signal
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from jobctl.errors import StoreUnreachable
from jobctl.model.enqueued import New
from jobctl.model.job import Job
from jobctl.store import job_streams, jobs, schema
from jobctl.store.engine import Committable, Store, open_store
from jobctl.store.enqueue_alone import enqueue_alone
from jobctl.store.schema import event, job
from jobctl.store.statements import put_rows
from jobctl.store.summaries import summaries_of
from store.processes import ended, start
from store.records import AT, create


def count(store: Store) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(job)).scalar_one())


def test_a_read_sees_one_moment(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a")
    with store.read() as reading:
        before = reading.execute(select(job.c.job_id)).scalars().all()
        with store.write() as connection:
            create(connection, "b")
            jobs.delete_job(connection, "a", actor="ada", at=AT)
        after = reading.execute(select(job.c.job_id)).scalars().all()
    assert before == after == ["a"]
    assert count(store) == 1


def test_a_read_can_change_nothing(store: Store) -> None:
    with pytest.raises(StoreUnreachable, match=r"read-?only"), store.read() as connection:
        create(connection, "a")
    assert count(store) == 0


def test_a_kept_connection_changes_nothing_in_a_read_after_a_write(store: Store, store_url: str) -> None:
    with closing(open_store(store_url, pooled=True)) as kept:
        for job_id in ("a", "b"):
            with kept.write() as connection:
                create(connection, job_id)
            with pytest.raises(StoreUnreachable, match=r"read-?only"), kept.read() as connection:
                create(connection, "c")
    assert count(store) == 2


def test_a_write_after_a_write_leaves_sqlite_its_prepared_statements(store_url: str) -> None:
    """``PRAGMA query_only`` has every statement of a connection prepared anew, whatever it was before."""
    said: list[str] = []
    with closing(open_store(store_url, pooled=True)) as kept:
        for _ in range(2):
            with kept.write() as connection:
                driver: Any = connection.connection.driver_connection
                if kept.dialect.name == "sqlite":
                    driver.set_trace_callback(said.append)
    assert [sql for sql in said if "query_only" in sql] == []


def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as connection:
        create(connection, "a")
        raise ZeroDivisionError
    assert count(store) == 0


def test_a_fault_in_a_statement_is_not_blamed_on_the_store(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(text(f"INSERT INTO {store.dialect.table('job')} (job_id) VALUES ('a')"))


def test_a_commit_passes_through_the_hook(store: Store) -> None:
    seen: list[int] = []

    def hook(transaction: Committable) -> None:
        seen.append(count(store))
        transaction.commit()
        seen.append(count(store))

    store.commit_hook = hook
    with store.write() as connection:
        create(connection, "a")
    assert seen == [0, 1]


def test_a_job_enqueued_alone_is_one_commit_that_passes_through_the_hook(store: Store) -> None:
    seen: list[int] = []

    def hook(transaction: Committable) -> None:
        seen.append(count(store))
        transaction.commit()
        seen.append(count(store))

    store.commit_hook = hook
    made = enqueue_alone(store, New(Job(job_id="a", kind="film"), {"n": 1}), actor="ada", delay_s=60.0)
    assert seen == [0, 1]
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(event)).scalar_one() == 1
        kept = jobs.get_job(connection, "a")
    assert (kept.created_at, kept.run_at) == (made.job.created_at, made.job.run_at)
    assert kept.run_at is not None
    assert kept.created_at == kept.run_at - timedelta(seconds=60)


def test_a_job_enqueued_alone_whose_commit_fails_leaves_nothing(store: Store) -> None:
    def hook(_: Committable) -> None:
        raise OSError("no space left")

    store.commit_hook = hook
    with pytest.raises(OSError, match="no space"):
        enqueue_alone(store, New(Job(job_id="a", kind="film")), actor="ada")
    assert count(store) == 0


def test_a_commit_that_fails_leaves_nothing(store: Store) -> None:
    def hook(_: Committable) -> None:
        raise OSError("no space left")

    store.commit_hook = hook
    with pytest.raises(OSError, match="no space"), store.write() as connection:
        create(connection, "a")
    assert count(store) == 0


def test_the_stores_clock_does_not_stand_still_in_a_transaction(store: Store) -> None:
    with store.read() as connection:
        first, second = store.now(connection), store.now(connection)
    assert first < second
    assert first.utcoffset() is not None


def test_on_a_server_its_clock_counts_whatever_this_machines_says(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobctl.clock.now", lambda: AT)
    with closing(open_store(postgresql_url)) as store, store.read() as connection:
        told = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        assert abs(store.now(connection) - told) < timedelta(minutes=1)


def test_a_process_killed_before_its_commit_leaves_nothing_behind(store: Store, store_url: str) -> None:
    worker = start("die", store_url)
    worker.communicate()
    assert worker.returncode == -signal.SIGKILL
    with store.write() as connection:
        create(connection, "a")
    assert count(store) == 1


def test_many_processes_write_at_once(store: Store, store_url: str) -> None:
    workers = [start("write", store_url, f"worker-{number}", "25") for number in range(8)]
    assert [ended(worker) for worker in workers] == ["written"] * 8
    assert count(store) == 200


def test_a_reader_does_not_hold_up_a_writer(store: Store) -> None:
    with ExitStack() as stack:
        readers = [stack.enter_context(store.read()) for _ in range(3)]
        for reader in readers:
            reader.execute(select(job)).all()
        with store.write() as connection:
            create(connection, "a")
    assert count(store) == 1


def test_a_server_that_goes_away_is_told(postgresql_url: str) -> None:
    store = open_store(postgresql_url)
    with pytest.raises(StoreUnreachable, match="cannot be used") as told, store.read() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with psycopg.connect(postgresql_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", (backend,))
        list(job_streams.stream_records(connection, store.dialect, "", None))
    assert "server runs" in told.value.hint


def test_a_connection_that_the_server_ended_is_not_kept(
    postgresql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_store(postgresql_url, pooled=True)) as store:
        with pytest.raises(StoreUnreachable, match="cannot be used"), store.glance() as connection:
            backend = connection.connection.driver_connection.info.backend_pid
            with psycopg.connect(postgresql_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", (backend,))
            summaries_of(connection, store.dialect, ["a"])
        # Nothing of a pool that could not tidy up what it was given back.
        assert caplog.records == []
        with store.glance() as connection:
            assert summaries_of(connection, store.dialect, ["a"]) == {}


def test_nothing_is_left_in_a_session_that_a_pool_would_share_out(postgresql_url: str) -> None:
    store = open_store(postgresql_url)
    with store.write() as connection:
        for number in range(20):
            create(connection, f"job-{number}")
        assert len(list(job_streams.stream_records(connection, store.dialect, "", None))) == 20
        prepared = "SELECT count(*) FROM pg_prepared_statements"
        held = "SELECT count(*) FROM pg_cursors WHERE is_holdable"
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        changed = (
            "SELECT count(*) FROM pg_settings WHERE source = 'session' AND name != 'transaction_isolation'"
        )
        for sql in (prepared, held, locks, changed):
            assert connection.exec_driver_sql(sql).scalar_one() == 0


def test_rows_that_are_put_leave_the_columns_that_they_do_not_name(store: Store) -> None:
    whole = {"worker_id": "w1", "state": "running", "executor": {}, "queues": [], "tasks": [], "slots": 4}
    whole |= {"isolation": "process", "lease_s": 10.0, "started_at": AT, "seen_at": AT, "beat": 7}
    with store.write() as connection:
        put_rows(connection, schema.worker, [whole, {**whole, "worker_id": "w2"}])
        named = {name: value for name, value in whole.items() if name not in {"beat", "counters"}}
        put_rows(connection, schema.worker, [{**named, "state": "draining"}])
        columns = (schema.worker.c.worker_id, schema.worker.c.state, schema.worker.c.beat)
        found = connection.execute(select(*columns).order_by(schema.worker.c.worker_id)).all()
    assert found == [("w1", "draining", 7), ("w2", "running", 7)]


def test_who_writes_second_waits_whatever_a_database_is_set_to(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        name = connection.info.dbname
        strict = f"ALTER DATABASE {name} SET default_transaction_isolation TO 'serializable'"
        connection.execute(strict.encode())
    with closing(open_store(postgresql_url)) as store, store.write() as connection:
        level = connection.exec_driver_sql("SHOW transaction_isolation").scalar_one()
    assert level == "read committed"
