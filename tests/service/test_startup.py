"""A service heals itself as it starts, before its first request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

import jobctl
from jobctl import clock
from jobctl.errors import UsageError
from jobctl.evidence.executor import current_executor
from jobctl.model.job import Executor
from jobctl.model.status import Status
from jobctl.ops.hold import hold_roots
from jobctl.ops.init import initialise
from jobctl.service.startup import Outcome
from jobctl.store import locks, schema
from ops.world import World, a_job_id, dead_executor
from service.jobs_of_a_service import PresentationJob
from service.outages import away

HERE = Path(__file__).parent


@pytest.fixture
def world(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(store_url, tmp_path / "outputs")
    made.init()
    monkeypatch.setenv("JOBCTL_HOST_ID", made.host)
    yield made
    made.close()


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A site on SQLite, for what no database has a part in."""
    made = World(str(tmp_path / "store" / "jobs.db"), tmp_path / "outputs")
    made.init()
    monkeypatch.setenv("JOBCTL_HOST_ID", made.host)
    yield made
    made.close()


def test_what_a_restart_lost_is_there_before_the_first_request(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.video(0)
    world.start_job(1, executor=dead_executor())
    world.start_job(2, executor=current_executor("host-b")._replace(boot_id="another/1"), ago_s=10)
    caplog.set_level("INFO", "jobctl.startup")
    found = jobctl.recover_on_start(world.url)
    assert (found.outcome, found.is_whole, found.done, found.problems) == (Outcome.RECOVERED, True, 2, ())
    assert world.job(0).status is Status.COMPLETED
    assert (world.job(1).status, world.job(1).error_code) == (Status.FAILED, "interrupted")
    assert world.job(2).status is Status.PROCESSING
    assert [record.getMessage() for record in caplog.records] == [f"recovery at the start: {found}"]
    again = jobctl.recover_on_start(world.url)
    assert (again.outcome, again.done, again.runs) == (Outcome.NOTHING, 0, ())
    assert found.runs
    world.undo(found.runs[0])
    assert world.job_ids() == {a_job_id(1), a_job_id(2)}


SERVICE = """
import sys
import jobctl
from service.jobs_of_a_service import PresentationJob
jobs = jobctl.JobDict(PresentationJob, sys.argv[1])
jobs["a"] = job = PresentationJob("a", "processing")
job.progress = 75
print("rendering", flush=True)
sys.stdin.read()
"""


def test_a_job_of_a_killed_service_is_told_to_have_been_interrupted(world: World) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, world.url],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "rendering\n"
        # While it lives nobody says anything else of its job.
        assert jobctl.recover_on_start(world.url).outcome is Outcome.NOTHING
        service.send_signal(signal.SIGKILL)
    assert jobctl.recover_on_start(world.url).done == 1
    with jobctl.JobDict(PresentationJob, world.url) as jobs:
        assert (jobs["a"].status, jobs["a"].progress) == ("failed", 75)
        assert "75" in (jobs["a"].error or "")


def test_of_servers_that_start_at_once_one_recovers_and_the_others_wait(world: World) -> None:
    for number in range(3):
        world.video(number)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: jobctl.recover_on_start(world.url), range(2)))
    assert all(each.is_whole for each in found)
    assert sorted(len(each.runs) for each in found) == [0, 1]
    assert world.job_ids() == {a_job_id(number) for number in range(3)}


def test_of_servers_that_start_at_once_the_others_go_on_where_one_is_killed_at_it(world: World) -> None:
    for number in range(3):
        world.video(number)
    with ThreadPoolExecutor(3) as pool:
        starting = [pool.submit(jobctl.recover_on_start, world.url) for _ in range(3)]
        os.kill(recovering(world).pid, signal.SIGKILL)
        found = [each.result() for each in starting]
    assert [each.outcome for each in found if not each.is_whole] == [Outcome.FAILED]
    with world.site() as site, site.store.read() as connection:
        recovered = select(schema.event.c.job_id).where(schema.event.c.kind == "recovered")
        assert sorted(connection.execute(recovered).scalars()) == [a_job_id(number) for number in range(3)]


def recovering(world: World) -> Executor:
    """Who is at it, as soon as somebody is."""
    deadline = clock.monotonic() + 60
    with world.site() as site:
        while clock.monotonic() < deadline:
            with site.store.read() as connection:
                for held in locks.held_locks(connection):
                    return held.executor
            clock.sleep(0.001)
    raise AssertionError("nobody recovers")


def test_it_waits_no_longer_than_it_may(embedded: World, caplog: pytest.LogCaptureFixture) -> None:
    embedded.video(0)
    with embedded.site() as site, hold_roots(site, command="cleanup"):
        found = jobctl.recover_on_start(embedded.url, within="3s")
    assert (found.outcome, found.is_whole) == (Outcome.TIMED_OUT, False)
    assert "root:" in found.problems[0]
    assert found.seconds < 60, "it waits for as long as the lock is held"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_one_that_is_ended_for_its_time_goes_on_with_the_next_start(embedded: World) -> None:
    embedded.video(0)
    assert jobctl.recover_on_start(embedded.url, within=0.05).outcome is Outcome.TIMED_OUT
    assert jobctl.recover_on_start(embedded.url).is_whole
    assert embedded.job(0).status is Status.COMPLETED


def test_a_root_that_is_away_is_told_and_the_others_are_recovered(embedded: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    initialise(
        embedded.settings, roots=[str(other)], layout="presentations", host_local=False, now=clock.now()
    )
    embedded.video(0)
    other.rename(tmp_path / "unmounted")
    found = jobctl.recover_on_start(embedded.url)
    assert (found.outcome, found.is_whole, found.done) == (Outcome.ROOT_AWAY, False, 1)
    assert str(other) in found.problems[0]
    embedded.root.rename(tmp_path / "unmounted, too")
    found = jobctl.recover_on_start(embedded.url)
    assert (found.outcome, found.done, len(found.problems)) == (Outcome.ROOT_AWAY, 0, 2)


def test_without_any_root_there_is_the_way_to_one(store_url: str) -> None:
    found = jobctl.recover_on_start(store_url)
    assert (found.outcome, "jobctl init --root" in found.problems[0]) == (Outcome.ROOT_AWAY, True)


def test_a_store_that_is_away_is_told(embedded: World) -> None:
    with away(embedded.url):
        found = jobctl.recover_on_start(embedded.url)
    assert (found.outcome, len(found.problems)) == (Outcome.STORE_AWAY, 1)


def test_a_time_that_is_none_is_refused(store_url: str) -> None:
    with pytest.raises(UsageError, match="soon"):
        jobctl.recover_on_start(store_url, within="soon")
