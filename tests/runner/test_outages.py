"""A database that goes away: attempts go on, nobody is given up for it, and no lost answer is guessed.

The server is crashed and started again; the network to it is cut, falls silent, or is cut at the
very moment when a commit was done and not yet answered.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
import pytest

import jobctl
from jobctl import __version__, clock
from jobctl.errors import ExitCode
from jobctl.store import workers
from jobctl.store.engine import create_store
from postgres import Server, at_database, serving, system_binaries, wheel_binaries
from runner.proxy import Proxy, between
from runner.working import Crewed, crewed

LEASE_S = 2.0
"""Of the workers that ``Crewed`` starts."""

_AWAY_S = 2.5 * LEASE_S
_numbers = count(1)
_CLAIM, _SETTLE = "UPDATE jobctl.job AS j SET status = 'processing'", "WITH asked AS MATERIALIZED"

Outage = Callable[[Server, Proxy], Callable[[], None]]
"""Begins, and gives what ends it."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL of these tests' own, which may be crashed."""
    binaries = system_binaries() or wheel_binaries()
    assert binaries is not None
    with serving(binaries, fsync=True) as made:
        yield made


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    name = f"outages_{next(_numbers)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = at_database(server.url, name)
    create_store(url, now=datetime.now(UTC), version=__version__)[0].close()
    # The kernel takes no longer path for a socket than 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="jobctl-net-", dir="/tmp") as directory,
        between(url, Path(directory)) as made,
    ):
        yield made


@pytest.fixture
def crew(proxy: Proxy) -> Iterator[Crewed]:
    with crewed(proxy.url) as made:
        yield made


def crash(server: Server, proxy: Proxy) -> Callable[[], None]:
    server.stop()
    return server.start


def cut(server: Server, proxy: Proxy) -> Callable[[], None]:
    proxy.cut()
    return proxy.mend


def fall_silent(server: Server, proxy: Proxy) -> Callable[[], None]:
    proxy.fall_silent()
    return proxy.mend


@pytest.mark.parametrize("begin", [crash, cut, fall_silent])
def test_workers_ride_out_an_outage_that_is_longer_than_their_lease(
    crew: Crewed, server: Server, proxy: Proxy, tmp_path: Path, begin: Outage
) -> None:
    first, second, later = "first", "second", "later"
    with jobctl.Queue(crew.url) as queue:
        for job_id in (first, second):
            queue.enqueue("wait", str(tmp_path), job_id=job_id, max_attempts=3)
    pair = [crew.start(slots=1) for _ in range(2)]
    crew.until(lambda: all((tmp_path / f"{job_id}.1").exists() for job_id in (first, second)))
    names = living(crew)
    end = begin(server, proxy)
    (tmp_path / "go").touch()
    back_at = clock.monotonic() + _AWAY_S
    crew.until(lambda: clock.monotonic() > back_at)
    end()
    for job_id in (first, second):
        job = crew.until_ended(job_id)
        assert (job.status, job.attempt) == ("completed", 1), crew.said()
        assert crew.statuses(job_id) == ["queued", "processing", "completed"]
    with jobctl.Queue(crew.url) as queue:
        queue.enqueue("greet", "you", job_id=later)
    assert crew.until_ended(later).status == "completed"
    assert [worker.poll() for worker in pair] == [None, None]
    assert living(crew) == names
    assert "is lost" not in crew.said()
    assert "given up" not in crew.said()


def living(crew: Crewed) -> set[str]:
    """The workers that the store takes to live."""
    with crew.store.read() as connection:
        return {row.worker_id for row in workers.list_workers(connection, every=False)}


def test_a_settlement_whose_answer_was_lost_is_found_done(crew: Crewed, proxy: Proxy, tmp_path: Path) -> None:
    with jobctl.Queue(crew.url) as queue:
        queue.enqueue("wait", str(tmp_path), job_id="settled", max_attempts=3)
    crew.start(slots=1)
    crew.until((tmp_path / "settled.1").exists)
    proxy.swallow_answer(to=_SETTLE, about="settled")
    (tmp_path / "go").touch()
    crew.until(lambda: proxy.has_swallowed)
    crew.until(lambda: "the job store answers again" in crew.said())
    assert crew.job("settled").attempt == 1
    assert crew.statuses("settled") == ["queued", "processing", "completed"]
    assert crew.result("settled") == "went"
    crew.until(lambda: counted(crew) == {"completed": 1, "fenced": 0})
    assert "changed nothing" not in crew.said()


def test_a_claim_whose_answer_was_lost_is_handed_back_and_its_job_runs_once(
    crew: Crewed, proxy: Proxy, tmp_path: Path
) -> None:
    crew.start(slots=1)
    crew.until(lambda: "serves default" in crew.said())
    (tmp_path / "go").touch()
    proxy.swallow_answer(to=_CLAIM, about="claimed")
    with jobctl.Queue(crew.url) as queue:
        queue.enqueue("wait", str(tmp_path), job_id="claimed", max_attempts=1)
    job = crew.until_ended("claimed")
    assert proxy.has_swallowed
    assert (job.status, job.attempt) == ("completed", 2)
    assert crew.statuses("claimed") == ["queued", "processing", "queued", "processing", "completed"]
    assert [path.name for path in tmp_path.glob("claimed.*")] == ["claimed.2"]
    back = crew.history("claimed")[2]
    assert back.detail == {
        "cause": "hand-back",
        "reason": "the answer to its claim was lost",
        "retry_after_s": 0.0,
    }


def counted(crew: Crewed) -> dict[str, float]:
    """What the one worker of a test says it did."""
    with crew.store.read() as connection:
        (row,) = workers.list_workers(connection, every=False)
    return {name: row.counters.get(name, 0) for name in ("completed", "fenced")}


def test_a_worker_that_is_to_end_does_not_wait_for_a_database_that_stays_away(
    crew: Crewed, proxy: Proxy, tmp_path: Path
) -> None:
    with jobctl.Queue(crew.url) as queue:
        queue.enqueue("wait", str(tmp_path), job_id="cut-off", max_attempts=3)
    worker = crew.start("--grace", "1s", slots=1)
    crew.until((tmp_path / "cut-off.1").exists)
    proxy.cut()
    worker.terminate()
    crew.until(lambda: worker.poll() is not None)
    assert worker.poll() == ExitCode.STORE
    assert "stayed away: how 1 attempt ended could not be written" in crew.said()
    proxy.mend()
    (tmp_path / "go").touch()
    crew.start(slots=1)
    assert crew.until_ended("cut-off").status == "completed"
