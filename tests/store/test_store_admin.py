"""Care of the store: what is wrong with it is told in sentences."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from jobctl.store import jobs, roots
from jobctl.store.admin import check_integrity, optimise
from jobctl.store.engine import Store, create_store
from jobctl.store.schema import artifact, event, tombstone
from store.records import AT, create


@pytest.fixture
def used(store: Store) -> Store:
    """A store as jobctl's own functions leave it."""
    with store.write() as connection:
        roots.add_root(connection, root_id="r1", path="/srv", layout="x", host=None, at=AT)
        for name in "abc":
            create(connection, name, root_id="r1")
        jobs.delete_job(connection, "a", actor="ada", at=AT)
        jobs.delete_job(connection, "b", actor="ada", at=AT)
        create(connection, "b")
    return store


def test_a_store_that_only_jobctl_wrote_to_is_sound(used: Store) -> None:
    assert check_integrity(used) == []


def test_contradictions_are_told(used: Store) -> None:
    file = {"job_id": "gone", "root_id": "r1", "path": "x.mp4", "role": "video", "state": "present"}
    with used.write() as connection:
        connection.execute(insert(artifact), file)
        connection.execute(delete(event).where(event.c.job_id == "b"))
        connection.execute(insert(tombstone), {"job_id": "c", "at": AT, "cause": "x", "actor": "ada"})
        create(connection, "d", root_id="r9")
    assert check_integrity(used) == [
        "a file is linked to a job without a record: gone",
        "a job has a record and an open tombstone: c",
        "a job names a root that is not registered: d",
        "a job has a record and no history: b",
    ]


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store, _ = create_store(str(path), now=AT, version="test")
    with store.write() as connection:
        for number in range(200):
            create(connection, f"job-{number}")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_event_job'"
        (page,) = connection.execute(query).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with open(path, "r+b") as file:
        file.seek((page - 1) * size + 12)
        file.write(b"\xff\xff" * 20)
    assert any(trouble.startswith("the file is damaged") for trouble in check_integrity(store))


def test_free_space_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store, _ = create_store(str(path), now=AT, version="test")
    with store.write() as connection:
        for number in range(2_000):
            create(connection, f"job-{number}", error="x" * 1_000)
        for number in range(2_000):
            jobs.delete_job(connection, f"job-{number}", actor="ada", at=AT)
    store.close()
    before = path.stat().st_size
    optimise(str(path))
    assert path.stat().st_size < before / 2
    assert check_integrity(store) == []
