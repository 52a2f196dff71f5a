"""Whatever is killed, stopped or cut off: every job ends once, and no side effect is doubled.

``JOBCTL_TEST_STORM_JOBS=20000`` makes a long storm of it.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from chaos.checker import Entry
from chaos.storm import Storm, descendants
from jobctl import __version__, clock
from jobctl.ops.init import initialise
from jobctl.settings import load_settings
from jobctl.store.engine import create_store, open_store
from jobctl.store.schema import artifact, job
from postgres import Server, at_database, serving, system_binaries, wheel_binaries

JOBS = int(os.environ.get("JOBCTL_TEST_STORM_JOBS", "300"))
SEED = int(os.environ.get("JOBCTL_TEST_STORM_SEED", "1"))


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL that may be crashed, with everything it promises switched on."""
    binaries = system_binaries() or wheel_binaries()
    assert binaries is not None
    with serving(binaries, fsync=True) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def storm(request: pytest.FixtureRequest, tmp_path: Path) -> Storm:
    server = request.getfixturevalue("server") if request.param == "postgresql" else None
    url = str(tmp_path / "jobs.db") if server is None else at_database(server.url, "storm")
    if server is not None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE storm")
    create_store(url, now=datetime.now(UTC), version=__version__)[0].close()
    root = tmp_path / "outputs"
    root.mkdir()
    settings = load_settings(database=url, environ={})
    initialise(settings, roots=[str(root)], layout="presentations", host_local=False, now=clock.now())
    return Storm(url, root, tmp_path, random.Random(SEED), server)


def test_every_job_ends_once_and_nothing_is_done_twice(storm: Storm) -> None:
    storm.enqueue(JOBS)
    storm.rage(calm_after_s=15 + JOBS / 40, within_s=240 + JOBS / 10)
    assert storm.violations() == []
    assert storm.attempts() > JOBS, "it was no storm"
    assert set(_published(storm)) == {"whole"}
    print(f"\n{JOBS} jobs, {storm.attempts()} attempts, {dict(storm.happened)}")


def test_a_worker_that_comes_back_ends_nothing(storm: Storm) -> None:
    first, job_id = _begun(storm)
    _come_back(storm, first, job_id, attempt=1)
    storm.until(lambda: "was given up by the others" in storm.log())
    (storm.place / "go-all").touch()
    storm.until(storm.is_over)
    storm.stop()
    assert storm.violations() == []
    assert storm.entries().count(Entry("done", job_id, 1)) == 1, "its attempt was over before it came back"


def test_without_the_fence_it_ends_what_another_runs_and_is_found_out(storm: Storm) -> None:
    storm.without = "fence"
    first, job_id = _begun(storm)
    for attempt in range(1, 7):
        second = _come_back(storm, first, job_id, attempt=attempt)
        storm.until(lambda: storm.is_over() or _gave_up(storm) >= attempt)  # noqa: B023 - called at once
        if storm.is_over():
            break
        # Stopped amid a turn it hears first that it was given up: then the next is stopped.
        first.kill()
        first = second
    assert any(f"attempt {attempt} ended it, when attempt" in said for said in storm.violations())
    storm.stop()


def _gave_up(storm: Storm) -> int:
    return storm.log().count("was given up by the others")


def _begun(storm: Storm) -> tuple[subprocess.Popen[bytes], str]:
    """A worker, and the job whose first attempt it runs."""
    storm.isolation, storm.lease_s = ["process"], 4.0
    (job_id,) = storm.enqueue(1, payload=str(storm.place), kinds={"told": 1})
    first = storm.start()
    storm.until(lambda: Entry("begin", job_id, 1) in storm.entries())
    return first, job_id


def _come_back(
    storm: Storm, first: subprocess.Popen[bytes], job_id: str, *, attempt: int
) -> subprocess.Popen[bytes]:
    """Stop a worker while its attempt ends, have another begin the next, and let the worker come back."""
    running = len(descendants(first.pid))
    first.send_signal(signal.SIGSTOP)
    second = storm.start()
    storm.until(lambda: Entry("begin", job_id, attempt + 1) in storm.entries())
    (storm.place / f"go-{attempt}").touch()
    storm.until(lambda: Entry("done", job_id, attempt) in storm.entries())
    # Its process has ended, and with it what it had to say is there to be read.
    storm.until(lambda: len(descendants(first.pid)) < running)
    first.send_signal(signal.SIGCONT)
    return second


def test_without_the_lock_two_workers_take_one_job_and_it_is_found_out(storm: Storm) -> None:
    def is_told() -> bool:
        return any("came from queued, when it was" in said for said in storm.violations())

    storm.without, storm.only = "lock", "pause_below"
    storm.enqueue(5000, kinds={"quick": 1})
    storm.rage(calm_after_s=150, within_s=150, until=is_told)
    assert is_told()
    assert not storm.faults()


def _published(storm: Storm) -> Iterator[str]:
    """What lies under the name of each completed film: the very bytes that were accepted."""
    store = open_store(storm.url)
    with store.read() as connection:
        rows = connection.execute(
            select(artifact.c.path, artifact.c.sha256, artifact.c.state)
            .join(job, job.c.job_id == artifact.c.job_id)
            .where(job.c.status == "completed", artifact.c.role == "video")
        ).all()
    store.close()
    for row in rows:
        content = (storm.root / row.path).read_bytes()
        is_same = hashlib.sha256(content).hexdigest() == row.sha256 and row.state == "present"
        yield "whole" if is_same else f"{row.path} is not what was accepted"
