"""A worker that waits for its store hears what ends meanwhile, and leaves nothing that it takes then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select, text

import jobctl
from jobctl.store.engine import Store
from jobctl.store.schema import job
from runner.test_faults import is_running
from runner.working import Crewed

_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


def test_what_is_taken_while_its_crew_ends_is_run_by_the_next_one(
    crew: Crewed, queue: jobctl.Queue, tmp_path: Path
) -> None:
    """The worker settles one job and takes another; the store makes it wait; the crew ends in between."""
    queue.enqueue("kills-its-crew", [str(tmp_path / "die")], job_id="kills", max_attempts=1)
    queue.enqueue("wait", str(tmp_path), job_id="ends")
    worker = crew.start("--isolation", "thread", "--tasks", "tempers", slots=2)
    crew.until((tmp_path / "ends.1").exists)
    crew.until(lambda: crew.job("kills").status == "processing")
    queue.enqueue("fine", job_id="taken")
    program = _child_of(worker.pid)
    with _in_the_way_of(crew, "ends"):
        (tmp_path / "go").touch()
        crew.until(lambda: _keeps_somebody_waiting(crew.store))
        (tmp_path / "die").touch()
        crew.until(lambda: not is_running(program))
    assert crew.until_ended("taken").status == "completed"
    assert crew.until_ended("ends").status == "completed"
    assert (crew.until_ended("kills").status, crew.job("kills").error_code) == ("failed", "killed")
    assert worker.poll() is None


@contextmanager
def _in_the_way_of(crew: Crewed, job_id: str) -> Iterator[None]:
    """Hold what it takes to settle a job: its row; on SQLite, that of every job."""
    with crew.store.write() as connection:
        connection.execute(select(job.c.job_id).where(job.c.job_id == job_id).with_for_update()).one()
        yield


def _keeps_somebody_waiting(store: Store) -> bool:
    """Whether a session waits for a lock; SQLite does not tell."""
    if store.dialect.name == "sqlite":
        return True
    with store.read() as connection:
        return bool(connection.execute(text(_WAITING)).scalar_one())


def _child_of(pid: int) -> int:
    """The one process that a worker has started: that of its handlers."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
