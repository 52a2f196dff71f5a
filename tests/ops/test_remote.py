"""Remote renders: matched to lost jobs, told by scan, and brought home whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

import demo_tree
from cli.calling import answer, call
from evidence.elai_server import KEY, Answer, Server, video
from jobctl.errors import DownloadFailed, PublishRefused, RendererUnavailable, UsageError
from jobctl.evidence.remote.elai import Elai
from jobctl.model.finding import FindingKind as Kind
from jobctl.model.renders import Proof
from jobctl.ops.explain import explain
from jobctl.ops.hold import hold_roots
from jobctl.ops.ingest import ingest
from jobctl.ops.remote import Downloaded, RemoteReport, download, known_renders, refresh
from ops.world import World, a_job_id

RENDER = video(1)["_id"]
BOOT = "INFO:     Started server process [1]"


@pytest.fixture
def world(store_url: str, tmp_path: Path) -> Iterator[World]:
    made = World(store_url, tmp_path / "outputs")
    made.init()
    log = tmp_path / "app.log"
    log.write_text(
        f"INFO:svc:Created presentation job: {a_job_id()}\n"
        f"INFO:svc:FFmpeg -i /tmp/avatar_{RENDER}.mp4 /out/presentation_{a_job_id()}.mp4\n{BOOT}\n"
    )
    with made.site() as site:
        ingest(site, [str(log)], zone=UTC)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server([video(1), video(2, status="rendering", name="another\0one")]) as running:
        yield running


def connect(server: Server) -> Elai:
    return Elai(server.url, KEY, page_size=50, timeout_s=5, largest_download=1 << 20, wait=[].append)


def asked(world: World, server: Server) -> RemoteReport:
    with world.site() as site, closing(connect(server)) as renderer:
        return refresh(site, renderer)


def brought(world: World, server: Server, named: str) -> Downloaded:
    with (
        world.site() as site,
        hold_roots(site, command="remote download") as hold,
        closing(connect(server)) as renderer,
    ):
        return download(site, hold, named, renderer)


def serve(server: Server, content: bytes, **changes: Any) -> None:
    server.files["a.mp4"] = Answer(200, content, **changes)
    server.videos[0]["url"] = server.file_url("a.mp4")


def test_the_log_ties_a_render_to_its_lost_job_and_scan_tells_it(world: World, server: Server) -> None:
    report = asked(world, server)
    assert [(known.render.remote_id, known.job_id, known.matched_by) for known in report.renders] == [
        (RENDER, a_job_id(), Proof.LOG),
        (video(2)["_id"], None, None),
    ]
    (finding,) = world.scan()
    assert (finding.kind, finding.acts) == (Kind.INTERRUPTED, True)
    assert (
        f"its render {RENDER} is ready, to be downloaded: jobctl remote download {a_job_id()}"
        in finding.reason
    )
    with world.site() as site:
        told = explain(site, a_job_id())
    assert told.fields["remote_status"]["value"] == "ready"


def test_asking_twice_keeps_one_and_the_newest_word(world: World, server: Server) -> None:
    asked(world, server)
    server.videos[1]["status"] = "error"
    states = {known.render.remote_id: known.render.state.value for known in asked(world, server).renders}
    assert states == {RENDER: "ready", video(2)["_id"]: "failed"}


def test_where_it_stops_answering_what_it_said_is_kept(world: World, server: Server) -> None:
    server.videos = [video(number) for number in range(1, 60)]
    server.script = [lambda _: Answer(200, json.dumps(server.videos[:50]).encode()), *[Answer(500)] * 5]
    report = asked(world, server)
    assert [type(error) for error in report.errors] == [RendererUnavailable]
    assert len(report.renders) == 50


def test_a_render_comes_home_and_its_job_is_recovered(world: World, server: Server, tmp_path: Path) -> None:
    asked(world, server)
    demo_tree.encode(tmp_path / "a.mp4", seed=1, frames=4, size=(64, 48))
    serve(server, (tmp_path / "a.mp4").read_bytes())
    world.file(f"presentations/thumbnail_{a_job_id()}.jpg")
    world.scan()
    found = brought(world, server, a_job_id())
    assert found.path == f"presentations/presentation_{a_job_id()}.mp4"
    os.utime(world.root / found.path, (1_762_300_800, 1_762_300_800))
    world.recover()
    job = world.job()
    assert (job.status, job.confidence) == ("completed", "certain")
    with pytest.raises(PublishRefused, match="there already"):
        brought(world, server, RENDER)


@pytest.mark.parametrize("damage", ["cut", "html", "torn", "gone"])
def test_of_a_download_that_is_not_whole_nothing_stays(
    world: World, server: Server, tmp_path: Path, damage: str
) -> None:
    asked(world, server)
    demo_tree.encode(tmp_path / "a.mp4", seed=1, frames=4, size=(64, 48))
    whole = (tmp_path / "a.mp4").read_bytes()
    content = {"cut": whole[:-100], "html": b"<html>" * 100, "torn": whole[:500], "gone": b""}[damage]
    serve(server, content, claimed=len(whole) if damage == "torn" else None)
    before = world.tree()
    with pytest.raises(DownloadFailed) as failed:
        brought(world, server, a_job_id())
    assert "nothing of it was kept" in failed.value.message
    assert world.tree() == before


def test_a_render_of_no_known_job_is_not_downloaded(world: World, server: Server) -> None:
    asked(world, server)
    with pytest.raises(UsageError, match="belongs to no job that is known"):
        brought(world, server, video(2)["_id"])


def test_the_commands(world: World, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "jobctl.toml"
    config.write_text(f'host_id = "{world.host}"\n[remote]\nurl = "{server.url}"\n')
    place = ["--config", str(config)]
    monkeypatch.delenv("JOBCTL_ELAI_API_KEY", raising=False)
    assert answer("remote", "list", *place, database=world.url)["errors"][0]["code"] == "renderer-key-missing"
    monkeypatch.setenv("JOBCTL_ELAI_API_KEY", KEY)
    items = answer("remote", "list", *place, database=world.url)["data"]["items"]
    assert [(item["remote_id"], item["job_id"], item["matched_by"]) for item in items] == [
        (RENDER, a_job_id(), "log"),
        (video(2)["_id"], None, None),
    ]
    assert answer("remote", "list", "--offline", *place, database=world.url)["data"]["items"] == items
    refused = call("remote", "download", a_job_id(), *place, database=world.url)
    assert refused.exit_code == 5
    assert f"jobctl remote download {a_job_id()} --yes" in refused.stderr
    demo_tree.encode(tmp_path / "a.mp4", seed=1, frames=4, size=(64, 48))
    serve(server, (tmp_path / "a.mp4").read_bytes())
    told = answer("remote", "download", a_job_id(), "--yes", *place, database=world.url)
    assert (told["exit_code"], told["data"]["path"]) == (0, f"presentation_{a_job_id()}.mp4")
    with world.site() as site:
        assert len(known_renders(site)) == 2
    monkeypatch.setenv("JOBCTL_ELAI_API_KEY", "wrong")
    wrong = answer("remote", "list", *place, database=world.url)
    assert (wrong["exit_code"], wrong["errors"][0]["code"]) == (3, "renderer-refused")
    assert len(wrong["data"]["items"]) == 2
