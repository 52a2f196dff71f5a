"""The renderer's API: everything is listed, whatever it answers; a download is whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from evidence.elai_server import KEY, Answer, Server, as_json, video
from jobctl.errors import (
    ConfigurationError,
    DownloadFailed,
    JobctlError,
    RendererKeyMissing,
    RendererRefused,
    RendererUnavailable,
    RenderNotReady,
    UnknownRender,
)
from jobctl.evidence.remote import key_of, open_renderer
from jobctl.evidence.remote.elai import Elai
from jobctl.model.renders import Render, RenderState
from jobctl.settings import REMOTE_DEFAULTS


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def connect(server: Server, *, key: str = KEY, waits: list[float] | None = None, **changes: Any) -> Elai:
    limits = {"page_size": 3, "timeout_s": 5.0, "largest_download": 1 << 20, **changes}
    return Elai(server.url, key, wait=(waits if waits is not None else []).append, **limits)


def listed(server: Server, **changes: Any) -> tuple[list[Render], list[JobctlError]]:
    troubles: list[JobctlError] = []
    with closing(connect(server, **changes)) as renderer:
        return list(renderer.renders(troubles)), troubles


@pytest.mark.parametrize("number", [0, 1, 3, 4, 7])
def test_every_page_is_read(server: Server, number: int) -> None:
    server.videos = [video(each) for each in range(number)]
    renders, troubles = listed(server)
    assert [render.remote_id for render in renders] == [each["_id"] for each in server.videos]
    assert troubles == []


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("draft", RenderState.DRAFT),
        ("queued", RenderState.RENDERING),
        ("validating", RenderState.RENDERING),
        ("rendering", RenderState.RENDERING),
        ("rendered", RenderState.RENDERING),
        ("ready", RenderState.READY),
        ("error", RenderState.FAILED),
        ("failed", RenderState.FAILED),
        ("levitating", RenderState.UNKNOWN),
    ],
)
def test_its_words_are_understood(server: Server, said: str, state: RenderState) -> None:
    server.videos = [video(1, status=said)]
    ((render,), _) = listed(server)
    assert (render.state, render.said) == (state, said)


def test_its_time_is_the_one_in_its_id_where_none_is_told(server: Server) -> None:
    server.videos = [video(1), video(2, createdAt="2025-11-04T16:00:00.000Z")]
    moments = [str(render.created_at) for render in listed(server)[0]]
    assert moments == ["2025-11-04 16:33:35+00:00", "2025-11-04 16:00:00+00:00"]


def test_one_video_that_is_not_understood_is_left_out_and_told(server: Server) -> None:
    server.videos = [video(1), {"_id": "../../x", "status": "ready"}, video(3)]
    renders, troubles = listed(server)
    assert len(renders) == 2
    assert "one of its videos is not understood (_id)" in troubles[0].message


def test_a_server_that_repeats_a_page_is_not_asked_for_ever(server: Server) -> None:
    page = as_json([video(1), video(2), video(3)])
    server.script = [page] * 5
    assert len(listed(server)[0]) == 3
    assert len(server.asked) == 2


def test_a_busy_server_is_asked_again_as_late_as_it_says(server: Server) -> None:
    server.videos = [video(1)]
    server.script = [Answer(429, headers={"Retry-After": "7"}), Answer(500), Answer(503)]
    waits: list[float] = []
    assert len(listed(server, waits=waits)[0]) == 1
    assert 7.0 in waits
    assert all(wait <= 60 for wait in waits)


@pytest.mark.parametrize(
    ("answers", "error", "said"),
    [
        ([Answer(500)] * 5, RendererUnavailable, "it answered 500, 5 times"),
        ([Answer(429, headers={"Retry-After": "999999999999"})] * 5, RendererUnavailable, "429"),
        ([Answer(200, b"<html>")], RendererUnavailable, "not JSON"),
        ([Answer(200, b"[" * 100_000)], RendererUnavailable, "not JSON"),
        ([as_json({"video": []})], RendererUnavailable, "no list of videos"),
        ([as_json([], 418)], RendererUnavailable, "it answered 418"),
        ([Answer(200, b"[", claimed=100)] * 5, RendererUnavailable, "the connection failed"),
        ([Answer(200, b" " * (17 << 20))], RendererUnavailable, "more than 16 MiB"),
        ([Answer(302, headers={"Location": "http://127.0.0.1:1/"})], RendererUnavailable, "it answered 302"),
    ],
)
def test_what_it_should_not_answer_is_one_clear_sentence(
    server: Server, answers: list[Any], error: type[JobctlError], said: str
) -> None:
    server.script = answers
    with pytest.raises(error) as refused:
        listed(server)
    assert said in refused.value.message


def test_a_wrong_key_is_told_and_not_tried_again(server: Server) -> None:
    with pytest.raises(RendererRefused) as refused:
        listed(server, key="wrong")
    assert "wrong" not in refused.value.message
    assert len(server.asked) == 1


def test_nobody_there_is_told(server: Server) -> None:
    with closing(
        Elai("http://127.0.0.1:1/api", KEY, page_size=3, timeout_s=1, largest_download=9, wait=[].append)
    ) as gone:
        with pytest.raises(RendererUnavailable, match="the connection failed"):
            list(gone.renders([]))


def test_one_render_is_asked_for_by_its_id_alone(server: Server) -> None:
    server.videos = [video(1)]
    with closing(connect(server)) as renderer:
        assert renderer.render(video(1)["_id"]).name == "video 1"
        for unknown in (video(2)["_id"], "../videos", "", "x?y"):
            with pytest.raises(UnknownRender):
                renderer.render(unknown)


def brought(server: Server, answer: Answer, **changes: Any) -> bytes:
    server.files["a.mp4"] = answer
    render = Render("690a2adf0000000000000001", RenderState.READY, url=server.file_url("a.mp4"))
    content = bytearray()
    with closing(connect(server, **changes)) as renderer:
        assert renderer.download(render, content.extend) == len(content)
    return bytes(content)


def test_a_download_is_whole_and_the_key_stays_here(server: Server) -> None:
    assert brought(server, Answer(200, b"x" * 300_000)) == b"x" * 300_000
    assert server.asked[-1][1] is None


def test_a_download_follows_where_it_is_sent(server: Server) -> None:
    server.files["b.mp4"] = Answer(200, b"moved")
    assert brought(server, Answer(302, headers={"Location": server.file_url("b.mp4")})) == b"moved"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(200, b"x" * 100, claimed=1_000), "the connection failed"),
        (Answer(200, b"x" * (2 << 20)), "more than max_download_bytes"),
        (Answer(403), "the server answered 403"),
        (Answer(302, headers={"Location": "/files/a.mp4"}), "the connection failed (TooManyRedirects)"),
    ],
)
def test_a_download_that_is_not_whole_is_told_without_its_address(
    server: Server, answer: Answer, said: str
) -> None:
    with pytest.raises(DownloadFailed) as failed:
        brought(server, answer)
    assert said in failed.value.message
    assert "secret" not in failed.value.message


def test_only_what_is_ready_is_downloaded(server: Server) -> None:
    with closing(connect(server)) as renderer, pytest.raises(RenderNotReady, match="is rendering"):
        renderer.download(Render("1", RenderState.RENDERING, "rendering"), [].append)


def test_a_render_does_not_show_its_address() -> None:
    assert "secret" not in repr(Render("1", RenderState.READY, url="https://x/?signature=secret"))


def test_the_key_comes_from_the_environment_alone() -> None:
    assert key_of("elai", {"JOBCTL_ELAI_API_KEY": " k "}) == "k"
    for environ in ({}, {"JOBCTL_ELAI_API_KEY": "two\nlines"}):
        with pytest.raises(RendererKeyMissing, match="no usable key"):
            key_of("elai", environ)
    with pytest.raises(ConfigurationError, match="no renderer is called 'other'"):
        open_renderer({**REMOTE_DEFAULTS, "renderer": "other"}, {"JOBCTL_ELAI_API_KEY": "k"})
