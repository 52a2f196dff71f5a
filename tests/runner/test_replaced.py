"""What a worker does when its store is moved away, replaced by another one, or migrated under it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg

import jobctl
from jobctl import __version__, clock
from jobctl.store import workers
from jobctl.store.engine import create_store, open_store
from runner.test_faults import is_running
from runner.working import Crewed


def test_a_worker_does_not_join_another_store_that_was_put_in_the_place_of_its_own(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("wait", str(tmp_path), job_id="w1")
    worker = crew.start()
    crew.until((tmp_path / "w1.1").exists)
    move_away(crew.url)
    create_store(crew.url, now=clock.now(), version=__version__)[0].close()
    crew.until(lambda: worker.poll() is not None)
    assert worker.returncode == 10
    assert "holds another job store now" in crew.said()
    assert "a fault in jobctl" not in crew.said()
    with open_store(crew.url).read() as connection:
        assert workers.list_workers(connection, every=True) == []


def test_a_store_that_comes_back_is_gone_on_with(crew: Crewed, queue: jobctl.Queue, tmp_path: Path) -> None:
    queue.enqueue("wait", str(tmp_path), job_id="w1")
    crew.start()
    crew.until((tmp_path / "w1.1").exists)
    put_back = move_away(crew.url)
    crew.until(lambda: "attempts go on, trying again" in crew.said())
    (tmp_path / "go").touch()
    put_back()
    job = crew.until_ended("w1")
    assert (job.status, job.attempt) == ("completed", 1)


def test_a_worker_that_is_to_end_writes_what_came_of_its_attempts_once_its_store_is_back(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("number", str(tmp_path), job_id="late", max_attempts=1)
    worker = crew.start("--grace", "1h", tasks="greedy")
    crew.until((tmp_path / "1").exists)
    attempts = int((tmp_path / "1").read_text())
    put_back = move_away(crew.url)
    crew.until(lambda: "attempts go on, trying again" in crew.said())
    worker.terminate()
    crew.until(lambda: "asked to stop" in crew.said())
    (tmp_path / "go-1").touch()
    crew.until(lambda: not is_running(attempts))
    put_back()
    assert worker.wait(timeout=120) == 0, crew.said()
    assert (crew.job("late").status, crew.result("late")) == ("completed", 1)


def test_a_worker_ends_with_what_it_runs_once_its_store_was_migrated(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    queue.enqueue("wait", str(tmp_path), job_id="w1")
    worker = crew.start()
    crew.until((tmp_path / "w1.1").exists)
    with crew.store.write() as connection:
        table = crew.store.dialect.table("alembic_version")
        connection.exec_driver_sql(f"UPDATE {table} SET version_num = '9999'")
    crew.until(lambda: "1 attempt has 30 s to finish" in crew.said())
    queue.enqueue("greet", job_id="g1", priority=1)
    # The first signal, though the worker has begun to end by itself: what runs keeps its grace.
    worker.terminate()
    (tmp_path / "go").touch()
    crew.until(lambda: worker.poll() is not None)
    assert worker.returncode == 10
    assert "it has schema 9999, this jobctl needs" in crew.said()
    assert "asked again" not in crew.said()
    assert (crew.job("w1").status, crew.job("w1").attempt) == ("completed", 1)
    assert crew.job("g1").status == "queued"


def move_away(url: str) -> Callable[[], object]:
    """Take the store from its place; what puts it back."""
    if url.startswith("postgresql"):
        _administer(url, "ALTER SCHEMA jobctl RENAME TO aside")
        return lambda: _administer(url, "ALTER SCHEMA aside RENAME TO jobctl")
    place = Path(url).parent
    aside = place.rename(place.with_name("aside"))
    place.mkdir()

    def put_back() -> None:
        place.rmdir()
        aside.rename(place)

    return put_back


def _administer(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
