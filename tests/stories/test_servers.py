"""Servers of one service, on one store: whatever happens to them, no client loses its job.

``STORY_WHOLE=1`` makes the numbers those of the service; what was measured then is in docs/performance.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from jobctl.store import schema
from ops.world import World, a_job_id
from stories.fleet import Fleet, serving
from stories.polling import NO_ANSWER, Crowd, setbacks, with_code

JOBS, ACTIVE, COMPLETED = (100, 50, 200) if "STORY_WHOLE" in os.environ else (10, 4, 8)
POLLS = 10 * JOBS


@pytest.fixture
def several(postgresql_url: str, tmp_path: Path) -> Iterator[World]:
    """A site on PostgreSQL."""
    yield from _a_world(postgresql_url, tmp_path)


@pytest.fixture
def single(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A site on SQLite."""
    yield from _a_world(sqlite_url, tmp_path)


def _a_world(url: str, place: Path) -> Iterator[World]:
    made = World(url, place / "outputs")
    made.init()
    yield made
    made.close()


def test_three_servers_lose_no_job_whatever_happens(several: World) -> None:
    """One after another, since to start servers takes longer than all that is asked of them."""
    for number in range(JOBS):
        several.video(number)
    with serving(several) as fleet:
        recovered = recovered_at_once(fleet)
        polled = polled_everywhere(fleet)
        flapping(fleet, recovered + polled)
        deployed_at_peak(fleet)


def test_a_deploy_of_the_only_server_loses_nothing(single: World) -> None:
    with serving(single, servers=1) as fleet:
        deployed_at_peak(fleet)


def crowd_of(fleet: Fleet, job_ids: Iterable[str]) -> Crowd:
    """Clients of the service, some of which ask its own endpoint and some that of jobctl."""
    return Crowd(fleet.balancer.url, job_ids, prefixes=["", "/v1"])


def recovered_at_once(fleet: Fleet) -> list[str]:
    """Servers that were started at once, on videos without records, made one set of records."""
    crowd = crowd_of(fleet, [a_job_id(number) for number in range(JOBS)])
    assert {each.status for each in crowd.poll(3 * JOBS)} == {"completed"}
    recovered = select(schema.event.c.job_id).where(schema.event.c.kind == "recovered")
    with fleet.world.site() as site, site.store.read() as connection:
        assert sorted(connection.execute(recovered).scalars()) == sorted(crowd.job_ids)
        assert connection.execute(select(schema.run.c.command)).scalars().all() == ["recover"]
    return crowd.job_ids


def polled_everywhere(fleet: Fleet) -> list[str]:
    """Polls of any server find every job, and never hear of less than before."""
    crowd = crowd_of(fleet, fleet.create_many(JOBS))
    while len(crowd.heard) < POLLS:
        crowd.poll(POLLS // 5)
    fleet.until(crowd.job_ids, status="completed", progress=100)
    crowd.poll(JOBS)
    assert len(fleet.balancer.taken) == 3
    assert {each.code for each in crowd.heard} <= {200, 202}
    assert setbacks(crowd.heard) == []
    return crowd.job_ids


def flapping(fleet: Fleet, job_ids: Sequence[str]) -> None:
    """Servers that come and go answer right whenever they are reached."""
    crowd = crowd_of(fleet, [*job_ids, *fleet.create_many(3)])
    ports = list(fleet.balancer.ports)
    with crowd.polling():
        for port in ports:
            fleet.balancer.ports = [each for each in ports if each != port]
            crowd.poll(JOBS)
            fleet.balancer.ports = [port]
            crowd.poll(JOBS)
        fleet.balancer.ports = ports
    heard = crowd.poll(len(crowd.job_ids))
    assert {each.status for each in heard if each.job_id in job_ids} == {"completed"}
    assert {each.code for each in crowd.heard} <= {200, 202}
    assert setbacks(crowd.heard) == []


def deployed_at_peak(fleet: Fleet) -> None:
    """Every server is restarted under load, with jobs that are active and jobs that are completed."""
    completed = fleet.create_many(COMPLETED)
    active = fleet.create_many(ACTIVE, hold=True)
    fleet.until(completed, status="completed")
    fleet.until(active, status="processing", progress=50)
    crowd = crowd_of(fleet, completed + active)
    with crowd.polling():
        fleet.roll()
    crowd.poll(len(crowd.job_ids))
    last = {each.job_id: each for each in crowd.heard}
    in_vain = with_code(crowd.heard, NO_ANSWER, 502)
    print(f"deploy: {len(crowd.heard):,} polls of {len(last)} jobs, {len(in_vain)} without an answer")
    assert {last[job_id].status for job_id in completed} == {"completed"}
    assert {(last[job_id].status, last[job_id].progress) for job_id in active} == {("failed", 50)}
    assert with_code(crowd.heard, 404) == []
    assert {each.code for each in crowd.heard} <= {200, 202, NO_ANSWER, 502}
    assert setbacks(crowd.heard) == []
    for job_id in active:
        told = fleet.client.get(f"/presentations/{job_id}").json()
        assert told["error"].startswith("interrupted at 50 %")
    for job_id in completed:
        video = fleet.client.get(f"/presentations/{job_id}/video")
        assert video.content == (fleet.world.root / f"presentation_{job_id}.mp4").read_bytes()
