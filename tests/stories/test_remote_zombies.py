"""A server dies while the remote renderer goes on with its job: told, never begun again, and brought home."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import demo_tree
from cli.calling import answer
from evidence.elai_server import KEY, Answer, Server, video
from ops.world import World, a_job_id
from web.serving import served

HERE = Path(__file__).parent
SERVICE = """
import sys
import jobctl
from service.jobs_of_a_service import PresentationJob
jobs = jobctl.JobDict(PresentationJob, sys.argv[1])
for job_id in sys.argv[2:]:
    jobs[job_id] = job = PresentationJob(job_id, "processing")
    job.progress = 40
print("waiting for the renderer", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def world(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(store_url, tmp_path / "outputs")
    made.init()
    monkeypatch.setenv("JOBCTL_HOST_ID", made.host)
    yield made
    made.close()


@pytest.fixture
def renderer(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A renderer that is at work on a job of ours."""
    with Server([video(1, name=a_job_id(), status="rendering")]) as running:
        settings = tmp_path / "jobctl.toml"
        settings.write_text(f'database = "{world.url}"\n[remote]\nurl = "{running.url}"\n')
        monkeypatch.setenv("JOBCTL_CONFIG", str(settings))
        monkeypatch.setenv("JOBCTL_ELAI_API_KEY", KEY)
        yield running


@contextmanager
def serving(world: World, *job_ids: str) -> Iterator[subprocess.Popen[str]]:
    """A server that waits for the renderer with these jobs, killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, world.url, *job_ids],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting for the renderer\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(renderer: Server, path: Path) -> None:
    """Let the renderer be done."""
    demo_tree.encode(path, seed=1, frames=4, size=(64, 48))
    renderer.files["a.mp4"] = Answer(200, path.read_bytes())
    renderer.videos = [video(1, name=a_job_id(), url=renderer.file_url("a.mp4"))]


def found(job_id: str) -> dict[str, Any]:
    (item,) = [each for each in answer("scan")["data"]["items"] if each["job_id"] == job_id]
    return dict(item)


def test_a_job_whose_server_died_is_told_while_its_render_goes_on_and_completed_once_it_is_home(
    world: World, renderer: Server, tmp_path: Path
) -> None:
    job_id = a_job_id()
    with serving(world, job_id):
        answer("remote", "list")
        # While its server lives it is nobody else's business.
        assert answer("scan")["data"]["items"] == []
    assert "is still rendering remotely" in found(job_id)["reason"]
    assert answer("recover", "--yes")["counts"]["done"] == 1
    with served(world.url) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        told = client.get(f"/presentations/{job_id}").json()
        assert (told["status"], told["progress"]) == ("failed", 40)
        assert told["error"].startswith("interrupted at 40 %")
        assert "render" not in told["error"]
        finish(renderer, tmp_path / "a.mp4")
        answer("remote", "list")
        notes = answer("explain", job_id)["data"]["notes"]
        assert any("is ready, to be downloaded" in note for note in notes)
        assert answer("remote", "download", job_id, "--as-video", "--yes")["exit_code"] == 0
        assert answer("recover", "--yes")["counts"]["done"] >= 1
        told = client.get(f"/presentations/{job_id}").json()
        assert (told["status"], told["progress"], told["error"]) == ("completed", 100, None)
        video_file = world.root / f"presentation_{job_id}.mp4"
        assert client.get(told["videoUrl"]).content == video_file.read_bytes()
    # It was asked and downloaded from, and nothing was begun there anew.
    assert {path.partition("?")[0].rpartition("/")[0] for path, _ in renderer.asked} <= {
        "/api/v1",
        "/api/v1/videos",
        "/files",
    }


def test_a_server_that_only_waits_for_the_renderer_is_left_alone_however_long(
    world: World, renderer: Server
) -> None:
    job_id = a_job_id()
    with serving(world, job_id):
        answer("remote", "list")
        world.changes["stale_after_s"] = 0.0
        assert [each.kind.value for each in world.scan()] == ["zombie"]
        (finding,) = world.scan()
        assert "runs" in finding.reason
        assert "is still rendering remotely" in finding.reason
        assert not world.recover().counts.get("done")
    assert world.job().status.value == "processing"
