"""Remote renders: matched to lost jobs, told by scan, and brought home whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
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
from jobctl.ops.remote import NO_LONGER_LISTED, RemoteReport, known_renders, refresh
from jobctl.ops.remote_download import Downloaded, download, render_named
from jobctl.store import jobs
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
    return Elai(server.url, KEY, page_size=50, timeout_s=30, largest_download=1 << 20, wait=[].append)


def asked(world: World, server: Server) -> RemoteReport:
    with world.site() as site, closing(connect(server)) as renderer:
        return refresh(site, renderer)


def brought(
    world: World, server: Server, named: str, *, job_id: str | None = None, as_video: bool = True
) -> Downloaded:
    with (
        world.site() as site,
        hold_roots(site, command="remote download") as hold,
        closing(connect(server)) as renderer,
    ):
        return download(hold, render_named(site, named, job_id=job_id), renderer, as_video=as_video)


def jobs_by_render(report: RemoteReport) -> dict[str, tuple[str | None, Proof | None]]:
    return {known.render.remote_id: (known.job_id, known.matched_by) for known in report.renders}


def made_at(moment: datetime, number: int, **changes: Any) -> dict[str, Any]:
    return video(number, createdAt=moment.isoformat(), **changes)


def a_video(path: Path) -> bytes:
    demo_tree.encode(path, seed=1, frames=4, size=(64, 48))
    return path.read_bytes()


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


def test_a_render_that_is_no_longer_listed_is_not_called_ready(world: World, server: Server) -> None:
    asked(world, server)
    del server.videos[0]
    known = {known.render.remote_id: known for known in asked(world, server).renders}[RENDER]
    assert (known.render.state, known.render.said, known.job_id) == ("unknown", NO_LONGER_LISTED, a_job_id())
    server.script = [Answer(500)] * 5
    assert len(asked(world, server).renders) == 2


def test_a_recorded_job_is_told_by_the_time_it_began(world: World, server: Server) -> None:
    world.start_job(1)
    began = world.job(1).started_at
    assert began is not None
    server.videos = [made_at(began + timedelta(seconds=9), 7)]
    assert jobs_by_render(asked(world, server)) == {video(7)["_id"]: (a_job_id(1), Proof.TIME)}


def test_a_job_that_needs_no_render_may_still_be_the_one(world: World, server: Server) -> None:
    world.start_job(1)
    world.start_job(2)
    world.finish_job(2)
    began = world.job(1).started_at
    assert began is not None
    server.videos = [made_at(began + timedelta(seconds=9), 7)]
    report = asked(world, server)
    assert jobs_by_render(report) == {video(7)["_id"]: (None, None)}
    assert set(report.doubts[0].job_ids) == {a_job_id(1), a_job_id(2)}


def test_before_all_is_listed_the_time_tells_nothing_new(world: World, server: Server) -> None:
    world.start_job(1)
    began = world.job(1).started_at
    assert began is not None
    server.videos = [made_at(began + timedelta(seconds=number), number) for number in (8, 7)]
    first = Answer(200, json.dumps(server.videos[:1]).encode())
    broken = [first, *[Answer(500)] * 5]
    server.script = broken[:]
    assert jobs_by_render(asked(world, server)) == {video(8)["_id"]: (None, None)}
    server.videos = server.videos[:1]
    matched = {video(8)["_id"]: (a_job_id(1), Proof.TIME)}
    assert jobs_by_render(asked(world, server)) == matched
    server.script = broken[:]
    assert jobs_by_render(asked(world, server)) == matched


def test_an_operator_says_whose_a_render_is_and_it_stays_so(
    world: World, server: Server, tmp_path: Path
) -> None:
    other = video(2)["_id"]
    server.videos[1] = video(2)
    asked(world, server)
    server.videos[0], server.videos[1] = server.videos[1], server.videos[0]
    serve(server, a_video(tmp_path / "a.mp4"))
    with pytest.raises(UsageError, match=f"is of job {a_job_id()}, not of"):
        brought(world, server, RENDER, job_id=a_job_id(5))
    found = brought(world, server, other, job_id=a_job_id(5))
    assert (found.job_id, found.path) == (a_job_id(5), f"presentation_{a_job_id(5)}.mp4")
    assert jobs_by_render(asked(world, server))[other] == (a_job_id(5), Proof.OPERATOR)


@pytest.mark.parametrize("job_id", ["", "no uuid", "../../etc/passwd", "a\nb", "x" * 400])
def test_a_job_id_that_the_layout_gives_no_name_is_refused(world: World, server: Server, job_id: str) -> None:
    asked(world, server)
    with pytest.raises(UsageError, match="tells no name for the video"):
        brought(world, server, video(2)["_id"], job_id=job_id)


def test_a_video_that_is_there_is_left_as_it_is_before_anything_is_downloaded(
    world: World, server: Server, tmp_path: Path
) -> None:
    asked(world, server)
    serve(server, a_video(tmp_path / "a.mp4"))
    path = world.file(f"presentation_{a_job_id()}.mp4", b"cut short")
    server.asked.clear()
    with pytest.raises(PublishRefused, match="is there already; it was left as it is"):
        brought(world, server, a_job_id())
    assert (path.read_bytes(), server.asked) == (b"cut short", [])
    path.rename(path.parent / "elsewhere")
    world.file(f"below/presentation_{a_job_id()}.mp4", b"cut short")
    world.scan()
    with pytest.raises(PublishRefused, match="below/presentation_"):
        brought(world, server, a_job_id())


def test_a_name_that_was_taken_meanwhile_is_left_as_it_is(
    world: World, server: Server, tmp_path: Path
) -> None:
    asked(world, server)
    content = a_video(tmp_path / "a.mp4")
    serve(server, content)
    path = world.root / f"presentation_{a_job_id()}.mp4"

    def meanwhile() -> Answer:
        path.write_bytes(b"another's")
        return Answer(200, content)

    server.files["a.mp4"] = meanwhile
    with pytest.raises(PublishRefused, match="is there"):
        brought(world, server, a_job_id())
    assert path.read_bytes() == b"another's"
    assert set(world.tree()) == {path.name}


def test_a_job_that_a_user_deleted_does_not_come_back(world: World, server: Server) -> None:
    world.start_job()
    world.finish_job()
    with world.site() as site, site.store.write() as connection:
        jobs.delete_job(connection, a_job_id(), actor="ada", at=site.store.now(connection))
    asked(world, server)
    with pytest.raises(PublishRefused, match="the job was ended for good"):
        brought(world, server, a_job_id())


def test_with_several_roots_one_must_be_named(world: World, server: Server, tmp_path: Path) -> None:
    asked(world, server)
    World(world.url, tmp_path / "more").init()
    with pytest.raises(UsageError, match="there are 2 roots"):
        brought(world, server, a_job_id())


def test_a_render_comes_home_and_its_job_is_recovered(world: World, server: Server, tmp_path: Path) -> None:
    asked(world, server)
    serve(server, a_video(tmp_path / "a.mp4"))
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


def test_what_is_brought_home_bears_its_jobs_name(world: World, server: Server, tmp_path: Path) -> None:
    asked(world, server)
    serve(server, a_video(tmp_path / "a.mp4"))
    found = brought(world, server, a_job_id())
    content = (world.root / found.path).read_bytes()
    assert a_job_id().encode() in content[-500:]
    assert (len(content), hashlib.sha256(content).hexdigest()) == (found.size, found.sha256)
    assert set(world.tree()) == {found.path}


@pytest.mark.parametrize("damage", ["cut", "html", "torn", "gone"])
def test_of_a_download_that_is_not_whole_nothing_stays(
    world: World, server: Server, tmp_path: Path, damage: str
) -> None:
    asked(world, server)
    whole = a_video(tmp_path / "a.mp4")
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
    serve(server, a_video(tmp_path / "a.mp4"))
    told = answer("remote", "download", a_job_id(), "--as-video", "--yes", *place, database=world.url)
    assert (told["exit_code"], told["data"]["path"]) == (0, f"presentation_{a_job_id()}.mp4")
    with world.site() as site:
        assert len(known_renders(site)) == 2
    monkeypatch.setenv("JOBCTL_ELAI_API_KEY", "wrong")
    wrong = answer("remote", "list", *place, database=world.url)
    assert (wrong["exit_code"], wrong["errors"][0]["code"]) == (3, "renderer-refused")
    assert len(wrong["data"]["items"]) == 2


def test_a_render_alone_is_never_taken_for_the_video_of_its_job(
    world: World, server: Server, tmp_path: Path
) -> None:
    asked(world, server)
    demo_tree.encode(tmp_path / "a.mp4", seed=1, frames=4, size=(64, 48))
    serve(server, (tmp_path / "a.mp4").read_bytes())
    assert brought(world, server, a_job_id(), as_video=False).path == f"avatar_{RENDER}.mp4"
    world.recover()
    assert world.job().status == "failed"
