"""The service before and after: what its clients are told when it dies."""

from __future__ import annotations

import difflib
import io
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest

from cli.calling import answer
from ops.world import World
from stories.example import EXAMPLE, Server, environment, jobctl, program, serving

CREATES = 100
READS = 1_000 if "STORY_WHOLE" in os.environ else CREATES


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A site on SQLite: one server."""
    made = World(sqlite_url, tmp_path / "outputs")
    made.init()
    yield made
    made.close()


def the_service(world: World, name: str) -> list[str]:
    return program(name, str(world.root))


def test_the_change_is_a_few_lines() -> None:
    before, after = ((EXAMPLE / name).read_text().splitlines()[5:] for name in ("before.py", "after.py"))
    difference = list(difflib.unified_diff(before, after, n=0))[2:]
    changed = [line for line in difference if line[0] in "+-" and line != "+"]
    assert len([line for line in changed if line[0] == "-"]) == 3
    assert len([line for line in changed if line[0] == "+"]) == 7
    told = (EXAMPLE / "README.md").read_text()
    shown = [line for line in told.splitlines() if line[:1] in {"+", "-"}]
    assert [line for line in changed if line != "+import jobctl"] == shown


def test_after_a_restart_a_completed_job_is_found_and_its_video_downloads(world: World) -> None:
    with serving(world, *the_service(world, "after.py")) as server:
        job_id = server.create()
        server.until(job_id, status="completed", progress=100.0)
        video = server.video(job_id)
        server.restart()
        told = server.poll(job_id)
        assert (told["code"], told["status"], told["videoUrl"]) == (
            200,
            "completed",
            f"/presentations/{job_id}/video",
        )
        assert server.video(job_id) == video == video_of(world, job_id)
        with serving(world, *the_service(world, "after.py")) as other:
            assert_tells_its_thumbnail(world, job_id, [server, other])


def test_before_it_was_lost_while_its_video_lay_on_the_disk(world: World) -> None:
    with serving(world, *the_service(world, "before.py")) as server:
        job_id = server.create()
        server.until(job_id, status="completed")
        server.restart()
        assert server.poll(job_id) == {"code": 404, "detail": "Job not found"}
        assert video_of(world, job_id)


def test_what_was_lost_before_is_there_when_the_service_was_changed(world: World) -> None:
    with serving(world, *the_service(world, "before.py")) as server:
        job_id = server.create()
        server.until(job_id, status="completed")
        video = server.video(job_id)
    with serving(world, *the_service(world, "after.py")) as server:
        assert server.poll(job_id)["status"] == "completed"
        assert server.video(job_id) == video
        assert_tells_its_thumbnail(world, job_id, [server])


def test_a_crash_at_75_percent_is_told_and_what_it_left_goes_into_quarantine(world: World) -> None:
    with serving(world, *the_service(world, "after.py")) as server:
        job_id = server.create(stallsAt=75)
        server.until(job_id, status="processing", progress=75.0)
        server.restart()
        told = server.poll(job_id)
        assert (told["code"], told["status"], told["progress"]) == (200, "failed", 75.0)
        assert told["error"].startswith("interrupted at 75 %")
    (left,) = world.root.glob(".presentation_*")
    policy = world.root.parent / "jobctl.toml"
    policy.write_text('[cleanup]\ngrace = "0.000001s"\n')
    for command in ("scan", "cleanup"):
        words = ("--full",) if command == "scan" else ("--yes",)
        assert answer(command, *words, "--config", str(policy), database=world.url)["exit_code"] in {0, 1}
    assert not left.exists()
    kept = answer("quarantine", "list", database=world.url)["data"]["items"]
    assert [each["path"] for each in kept] == [left.name]


def test_a_hundred_creates_at_once_are_all_there_after_a_kill(world: World) -> None:
    with serving(world, *the_service(world, "after.py")) as server:
        with ThreadPoolExecutor(20) as pool:
            made = list(pool.map(lambda _: server.create(stallsAt=0), range(CREATES)))
        assert len(set(made)) == CREATES
        server.restart()
        read = [server.poll(made[number % CREATES]) for number in range(READS)]
        assert {(told["code"], told["status"]) for told in read} == {(200, "failed")}


def test_a_worker_that_is_killed_at_75_percent_costs_an_attempt_and_no_job(world: World) -> None:
    with serving(world, *jobctl("serve", "--no-tokens", "--port", "0")) as server:
        job_id = server.create(key="request-1", stallsAt=75)
        with a_worker(world) as first:
            server.until(job_id, status="processing", progress=75.0)
            first.kill()
            first.communicate()
        with a_worker(world) as second:
            told = server.until(job_id, status="completed", progress=100.0)
            video = server.client.get(told["videoUrl"])
            assert video.content == video_of(world, job_id)
            assert_tells_its_thumbnail(world, job_id, [server])
            second.send_signal(signal.SIGTERM)
            assert second.wait() == 0
    shown = answer("show", job_id, database=world.url)["data"]
    assert [each["to_status"] for each in shown["events"] if each["kind"] == "status"] == [
        "processing",
        "queued",
        "processing",
        "completed",
    ]


def test_an_impatient_client_with_a_key_gets_one_job(world: World) -> None:
    with serving(world, *jobctl("serve", "--no-tokens", "--port", "0")) as server:
        with ThreadPoolExecutor(8) as pool:
            made = set(pool.map(lambda _: server.create(key="request-1", slides=2), range(40)))
        (job_id,) = made
        assert server.poll(job_id)["code"] == 202
    assert [each["job_id"] for each in answer("list", database=world.url)["data"]["items"]] == [job_id]


def assert_tells_its_thumbnail(world: World, job_id: str, servers: Sequence[Server]) -> None:
    """Every server tells of a picture, and hands it out under its URL and the older one."""
    path = f"/presentations/{job_id}/thumbnail"
    lies_there = (world.root / f"thumbnail_{job_id}.jpg").read_bytes()
    with av.open(io.BytesIO(lies_there), format="mjpeg") as picture:
        assert [(frame.width, frame.height) for frame in picture.decode(video=0)] == [(96, 64)]
    for server in servers:
        assert server.poll(job_id)["thumbnailUrl"] == path
        assert {server.fetch(path), server.fetch(f"/api/custom{path}")} == {lies_there}


def a_worker(world: World) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        jobctl("worker", "--tasks", "tasks", "--slots", "1", "--lease", "2s"),
        env=environment(world),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def video_of(world: World, job_id: str) -> bytes:
    """What lies on the disk."""
    return (world.root / f"presentation_{job_id}.mp4").read_bytes()
