"""An impatient client, and a worker that dies meanwhile: how often was rendered, by a count of its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.calling import answer
from ops.world import World
from stories.example import Server, counting_worker, jobctl, renders, serving

STORM = 40


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A site on SQLite: one server."""
    made = World(sqlite_url, tmp_path / "outputs")
    made.init()
    yield made
    made.close()


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with serving(world, *jobctl("serve", "--no-tokens", "--port", "0")) as made:
        yield made


def test_whoever_asks_again_with_the_same_key_is_rendered_for_once_also_where_the_worker_dies(
    world: World, server: Server
) -> None:
    (job_id,) = storm(server)
    with counting_worker(world) as first:
        server.until(job_id, status="processing", progress=75)
        first.kill()
    assert storm(server) == {job_id}
    with counting_worker(world):
        server.until(job_id, status="completed", progress=100)
    assert storm(server) == {job_id}
    assert renders(world) == [f"begun {job_id}.1", f"begun {job_id}.2", f"done {job_id}.2"]
    assert {path.name for path in world.root.iterdir() if path.name != ".jobctl"} == {
        f"presentation_{job_id}.mp4",
        f"thumbnail_{job_id}.jpg",
    }
    assert answer("scan", "--full", database=world.url)["data"]["items"] == []


def test_who_asks_again_without_a_key_makes_jobs_that_are_told_as_duplicates(
    world: World, server: Server
) -> None:
    made = {server.create(slides=2, title="Monday") for _ in range(3)}
    other = server.create(slides=2, title="Tuesday")
    assert len(made) == 3
    told = answer("duplicates", "--by", "request", database=world.url)["data"]["items"]
    assert {each["job_id"] for each in told} == made
    assert [each["role"] for each in told].count("keeper") == 1
    assert other not in made


def storm(server: Server) -> set[str]:
    """Many requests at once, all with one key; the ids that were told."""
    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(lambda _: server.create(key="request-1", stallsAt=75), range(STORM)))
