"""A deploy at peak with the runner: what its workers had goes on, and is rendered to its end once.

Three servers and three workers on one store are restarted one after another, the first of each killed, while
clients poll. ``STORY_WHOLE=1`` makes the numbers those of the service.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.world import World
from stories.example import Server, jobctl, renders, start_counting_worker
from stories.fleet import Proxy, proxying, until
from stories.polling import NO_ANSWER, Crowd, with_code

SLOTS, COMPLETED = (17, 200) if "STORY_WHOLE" in os.environ else (2, 6)
HOSTS = 3


class Host:
    """A server and the worker beside it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.start()

    def start(self) -> None:
        self.worker = start_counting_worker(self._world, "--slots", str(SLOTS), "--grace", "0.1s")
        self.server = Server(self._world, *jobctl("serve", "--no-tokens", "--port", "0"))

    @property
    def port(self) -> int:
        port = self.server.client.base_url.port
        assert port is not None
        return port

    def stop(self, sent: signal.Signals) -> None:
        self.worker.send_signal(sent)
        self.server.kill(sent)
        self.worker.wait()

    def close(self) -> None:
        self.worker.kill()
        self.worker.wait()
        if self.server.process.poll() is None:
            self.server.kill()


@pytest.fixture
def world(postgresql_url: str, tmp_path: Path) -> Iterator[World]:
    """A site on PostgreSQL."""
    made = World(postgresql_url, tmp_path / "outputs")
    made.init()
    yield made
    made.close()


@pytest.fixture
def hosts(world: World) -> Iterator[list[Host]]:
    with ThreadPoolExecutor(HOSTS) as pool:
        made = list(pool.map(lambda _: Host(world), range(HOSTS)))
    yield made
    for host in made:
        host.close()


def test_what_the_workers_had_at_a_deploy_goes_on_and_is_rendered_once(
    world: World, hosts: list[Host]
) -> None:
    first = hosts[0].server
    completed = [first.create(slides=2) for _ in range(COMPLETED)]
    for job_id in completed:
        first.until(job_id, status="completed")
    active = [first.create(stallsAt=50) for _ in range(HOSTS * SLOTS)]
    for job_id in active:
        first.until(job_id, status="processing", progress=50)
    with proxying([host.port for host in hosts]) as balancer:
        crowd = Crowd(balancer.url, completed + active)
        with crowd.polling():
            roll(hosts, balancer, active)
        heard = crowd.poll(HOSTS * len(crowd.job_ids))
    assert {(each.code, each.status, each.progress) for each in heard} == {(200, "completed", 100)}
    assert {each.code for each in crowd.heard} <= {200, 202, NO_ANSWER, 502}
    assert {each.status for each in with_code(crowd.heard, 200)} == {"completed"}
    assert sorted(renders(world)) == sorted(
        [f"{said} {job_id}.1" for job_id in completed for said in ("begun", "done")]
        + [f"begun {job_id}.1" for job_id in active]
        + [f"{said} {job_id}.2" for job_id in active for said in ("begun", "done")]
    )
    for number, job_id in enumerate(completed + active):
        lies_there = (world.root / f"presentation_{job_id}.mp4").read_bytes()
        assert hosts[number % HOSTS].server.video(job_id) == lies_there


def roll(hosts: list[Host], balancer: Proxy, active: list[str]) -> None:
    """Restart one host after another, each once all is completed that those before it had."""
    for number, host in enumerate(hosts):
        gone = host.port
        host.stop(signal.SIGTERM if number else signal.SIGKILL)
        host.start()
        balancer.ports = [host.port if port == gone else port for port in balancer.ports]
        until_completed(host.server, active, SLOTS * (number + 1))


def until_completed(server: Server, job_ids: list[str], count: int) -> None:
    until(lambda: [server.poll(job_id)["status"] for job_id in job_ids].count("completed") == count)
