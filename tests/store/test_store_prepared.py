"""Statements are prepared where a session of PostgreSQL is one connection's alone, and nowhere else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobctl.model.enqueued import New
from jobctl.model.job import Job
from jobctl.store.engine import Connection, Store, open_store
from jobctl.store.enqueue_alone import enqueue_alone
from jobctl.store.leases import Leases
from runner.proxy import between
from store.test_store_claim_plans import begin, postgresql_plan, scans_of_jobs


@pytest.fixture
def pooled(postgresql_url: str) -> Iterator[Store]:
    """The store of a service, which keeps its connections."""
    with closing(open_store(postgresql_url, pooled=True)) as store:
        yield store


@pytest.fixture
def behind_pooler(postgresql_url: str) -> Iterator[Store]:
    """The same, by way of somebody who may hand each transaction to another session."""
    with (
        tempfile.TemporaryDirectory(prefix="jobctl-net-", dir="/tmp") as directory,
        between(postgresql_url, Path(directory)) as proxy,
    ):
        proxy.answer_as_a_pooler()
        with closing(open_store(proxy.url, pooled=True)) as store:
            yield store


def test_enqueueing_one_by_one_is_prepared_once(pooled: Store) -> None:
    _enqueue(pooled, 3)
    with pooled.glance() as connection:
        (statement,) = _prepared(connection)
    assert "INSERT INTO jobctl.job" in statement


def test_what_a_worker_does_again_and_again_is_prepared_once(pooled: Store) -> None:
    with closing(begin(pooled)) as leases:
        _work(leases)
        statements = _prepared(leases._connection)
    assert len(statements) == 2
    assert any("FOR UPDATE SKIP LOCKED" in statement for statement in statements)


def test_nothing_is_prepared_or_set_in_a_session_that_others_meet(behind_pooler: Store) -> None:
    _enqueue(behind_pooler, 3)
    with closing(begin(behind_pooler)) as leases:
        _work(leases)
        with behind_pooler.glance() as connection:
            for each in (connection, leases._connection):
                assert _prepared(each) == []
                assert each.exec_driver_sql("SHOW enable_seqscan").scalar_one() == "on"


@pytest.mark.parametrize("kinds", [["noop"], ["noop", "film"]])
def test_what_is_planned_while_nothing_is_there_is_led_by_indexes_as_well(
    pooled: Store, kinds: list[str]
) -> None:
    """A plan is kept as long as the worker lives, however many jobs there will be."""
    with closing(begin(pooled)) as leases:
        plan = postgresql_plan(pooled, leases._driver, lambda: leases.take_turn([], 3, kinds))
    assert "ix_job_queued" in plan
    assert not scans_of_jobs(plan)


def _enqueue(store: Store, count: int) -> None:
    for number in range(count):
        enqueue_alone(store, New(Job(job_id=f"j{number}", kind="noop"), number), actor="test")


def _work(leases: Leases) -> None:
    for _ in range(3):
        leases.take_turn([], 1, ["noop"])
        leases.beat({}, "running")


def _prepared(connection: Connection | Any) -> list[str]:
    return list(connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars())
