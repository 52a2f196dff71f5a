"""The commands of the remote renderer, as programs and people call them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import demo_tree
from cli.calling import answer, call, on_terminal
from evidence.elai_server import KEY, Answer, Server, video
from ops.world import World, a_job_id

RENDER = video(1)["_id"]


@pytest.fixture
def server(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A renderer with one render of a job, one whose name is hostile, and one that failed."""
    content = a_video(tmp_path / "a.mp4")
    with Server() as running:
        running.files["a.mp4"] = Answer(200, content)
        running.videos = [
            video(1, name=f"job {a_job_id()}", url=running.file_url("a.mp4")),
            video(2, name="[red]\x1b]0;x\x07\nnew line", status="rendering"),
            video(3, status="error", error="see https://cdn.example.com/a?signature=secret"),
        ]
        (tmp_path / "jobctl.toml").write_text(
            f'database = "{world.url}"\n[remote]\nurl = "{running.url}"\npage_size = 2\n'
        )
        monkeypatch.setenv("JOBCTL_CONFIG", str(tmp_path / "jobctl.toml"))
        monkeypatch.setenv("JOBCTL_ELAI_API_KEY", KEY)
        yield running


def a_video(path: Path) -> bytes:
    demo_tree.encode(path, seed=1, frames=4, size=(64, 48))
    return path.read_bytes()


def test_a_listing_counts_the_states(server: Server) -> None:
    server.videos += [video(4, status="draft"), video(5, status="levitating")]
    told = answer("remote", "list")
    assert told["counts"] == {"rendering": 1, "ready": 1, "failed": 1, "draft": 1, "unknown": 1}
    assert told["data"]["doubts"] == []


def test_what_fits_twice_is_told_and_matched_to_neither(world: World, server: Server) -> None:
    world.start_job()
    server.videos.append(video(4, tags=[a_job_id()]))
    told = answer("remote", "list")
    assert {item["job_id"] for item in told["data"]["items"]} == {None}
    (doubt,) = told["data"]["doubts"]
    assert (doubt["remote_ids"], doubt["job_ids"]) == ([RENDER, video(4)["_id"]], [a_job_id()])
    assert told["warnings"] == [doubt["reason"]]


def test_a_pipe_gets_a_line_for_each_render_and_no_secret(world: World, server: Server) -> None:
    world.start_job()
    listed = call("remote", "list")
    assert listed.exit_code == 0
    heading, *lines = listed.stdout.splitlines()
    assert heading.split("\t")[:2] == ["remote_id", "state"]
    assert [line.split("\t")[3] for line in lines] == [a_job_id(), "", ""]
    assert "\\x1b]0;x\\x07\\nnew line" in listed.stdout
    assert "secret" not in listed.stdout + listed.stderr
    assert KEY not in listed.stdout + listed.stderr


def test_a_stream_has_one_render_a_line(world: World, server: Server) -> None:
    world.start_job()
    lines = [json.loads(line) for line in call("remote", "list", "--jsonl").stdout.splitlines()]
    assert [line["remote_id"] for line in lines if "remote_id" in line] == [
        each["_id"] for each in server.videos
    ]


def test_offline_nothing_is_asked_and_no_key_is_needed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = answer("remote", "list")["data"]["items"]
    server.asked.clear()
    monkeypatch.delenv("JOBCTL_ELAI_API_KEY")
    assert answer("remote", "list", "--offline")["data"]["items"] == items
    assert server.asked == []


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_shows_a_table(world: World, server: Server, width: int) -> None:
    world.start_job()
    shown = on_terminal("remote", "list", width=width)
    assert shown.returncode == 0
    screen = shown.text[shown.text.index("remote id") :]
    assert RENDER in screen
    assert a_job_id() in screen
    assert "\x1b]0" not in shown.raw
    assert all(len(line) <= width for line in screen.splitlines())


@pytest.mark.parametrize(("typed", "code", "is_there"), [(b"y\n", 0, True), (b"n\n", 5, False)])
def test_a_download_is_asked_about(
    world: World, server: Server, typed: bytes, code: int, is_there: bool
) -> None:
    world.start_job()
    answer("remote", "list")
    shown = on_terminal("remote", "download", a_job_id(), "--as-video", typed=typed)
    question = " ".join(shown.text.split())
    assert f"Download render {RENDER} (ready) of job {a_job_id()}" in question
    assert "as its name or a tag holds the job's id? [y/N]" in question
    assert shown.returncode == code
    assert (world.root / f"presentation_{a_job_id()}.mp4").exists() is is_there


def test_without_a_terminal_a_yes_is_needed_and_told_how_to_give(world: World, server: Server) -> None:
    answer("remote", "list")
    refused = answer(
        "remote", "download", RENDER, "--job", a_job_id(), "--root", str(world.root), "--as-video"
    )
    assert refused["exit_code"] == 5
    again = f"jobctl remote download {RENDER} --job {a_job_id()} --root {world.root} --as-video --yes"
    assert refused["errors"][0]["hint"] == again
    done = answer(*again.split()[1:])
    assert (done["exit_code"], done["data"]["job_id"], done["data"]["remote_id"]) == (0, a_job_id(), RENDER)
    assert answer("scan")["counts"]["orphan-video"] == 1


def test_a_render_of_nobody_asks_whose_it_is(server: Server) -> None:
    answer("remote", "list")
    refused = answer("remote", "download", RENDER, "--yes")
    assert refused["exit_code"] == 2
    assert f"jobctl remote download {RENDER} --job JOB" in refused["errors"][0]["hint"]
    unknown = answer("remote", "download", "nothing", "--yes")
    assert (unknown["exit_code"], unknown["errors"][0]["code"]) == (2, "unknown-render")


def test_one_that_is_not_ready_is_not_downloaded(server: Server) -> None:
    answer("remote", "list")
    refused = answer("remote", "download", video(2)["_id"], "--job", a_job_id(), "--yes")
    assert (refused["exit_code"], refused["errors"][0]["code"]) == (3, "render-not-ready")
