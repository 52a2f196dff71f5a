"""The renderer's API: everything is listed, whatever it answers; a download is whole or not at all."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
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
    RenderUnreadable,
    UnknownRender,
)
from jobctl.evidence.remote import elai, key_of, open_renderer
from jobctl.evidence.remote.elai import Elai, is_too_slow
from jobctl.model.renders import Render, RenderState
from jobctl.settings import REMOTE_DEFAULTS


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def connect(server: Server, *, key: str = KEY, waits: list[float] | None = None, **changes: Any) -> Elai:
    limits = {"page_size": 3, "timeout_s": 30.0, "largest_download": 1 << 20, **changes}
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


def test_videos_that_are_not_understood_are_left_out_and_told_once(server: Server) -> None:
    strange = [{"_id": "../../x", "status": "ready"}, {"name": "no id"}, "no video", None, [1]]
    server.videos = [video(1), *strange, video(3)]
    renders, troubles = listed(server)
    assert len(renders) == 2
    assert [type(trouble) for trouble in troubles] == [RenderUnreadable]
    assert "5 of the renderer's videos are not understood (_id); they were left out" in troubles[0].message


@pytest.mark.parametrize(
    "odd",
    [
        {"tags": None},
        {"tags": "x"},
        {"name": 5},
        {"name": None},
        {"duration": "soon"},
        {"duration": float("inf")},
        {"duration": -1},
        {"createdAt": "soon"},
        {"createdAt": "2025-11-04T16:00:00"},
        {"createdAt": "0001-01-01T00:00:00+14:00"},
        {"url": {}},
        {"error": ["x"]},
        {"status": None},
    ],
    ids=str,
)
def test_what_is_odd_in_a_video_hides_neither_it_nor_the_others(server: Server, odd: dict[str, Any]) -> None:
    server.videos = [video(1, **odd), video(2)]
    renders, troubles = listed(server)
    assert [render.remote_id for render in renders] == [video(1)["_id"], video(2)["_id"]]
    assert str(renders[0].created_at) == "2025-11-04 16:33:35+00:00"
    assert troubles == []


def test_an_id_is_known_by_either_of_its_names(server: Server) -> None:
    server.script = [as_json([{"id": "a-b_c", "status": "ready"}])]
    assert [render.remote_id for render in listed(server)[0]] == ["a-b_c"]


def test_texts_are_bounded_and_sign_nothing(server: Server) -> None:
    server.videos = [
        video(1, name="x" * 5_000, error={"message": "see https://cdn.example.com/a?signature=secret"})
    ]
    ((render,), _) = listed(server)
    assert len(render.name or "") == 1_000
    assert render.error == '{"message": "see https://cdn.example.com/a"}'


def test_pages_that_are_shorter_than_asked_for_are_not_the_last(server: Server) -> None:
    server.script = [as_json([video(1)]), as_json([video(2), video(3)]), as_json([])]
    assert len(listed(server)[0]) == 3


def test_a_video_that_moved_to_the_next_page_meanwhile_is_listed_once(server: Server) -> None:
    server.script = [as_json([video(1), video(2)]), as_json([video(2), video(3)]), as_json([])]
    assert [render.remote_id for render in listed(server)[0]] == [video(each)["_id"] for each in (1, 2, 3)]


@pytest.mark.parametrize("entries", [[video(1), video(2), video(3)], [{"name": "no id"}]])
def test_a_server_that_repeats_a_page_is_not_asked_for_ever(server: Server, entries: list[Any]) -> None:
    server.script = [as_json(entries)] * 9
    listed(server)
    assert len(server.asked) <= 3


def test_a_busy_server_is_asked_again_as_late_as_it_says(server: Server) -> None:
    server.videos = [video(1)]
    server.script = [Answer(429, headers={"Retry-After": "7"}), Answer(500), Answer(522), Answer(503)]
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


@pytest.mark.parametrize(
    ("asked_for", "waited"),
    [("7", 7.0), ("999999999999", 60.0), ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0)],
)
def test_the_wait_that_is_asked_for_is_kept_within_bounds(
    server: Server, asked_for: str, waited: float
) -> None:
    server.script = [Answer(429, headers={"Retry-After": asked_for})]
    waits: list[float] = []
    listed(server, waits=waits)
    assert waits[1] == waited or waited in waits


def test_without_such_a_wish_each_wait_is_longer_than_the_one_before(server: Server) -> None:
    server.script = [Answer(500, headers={"Retry-After": "soon"})] * 4
    waits: list[float] = []
    listed(server, waits=waits)
    backoffs = [wait for wait in waits if wait >= 0.5]
    assert len(backoffs) == 4
    assert all(0.5 * 2**number <= wait <= 1.5 * 2**number for number, wait in enumerate(backoffs))


def test_requests_keep_their_distance(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # However slowly this machine asks.
    monkeypatch.setattr(elai, "_INTERVAL_S", 3_600)
    server.videos = [video(each) for each in range(9)]
    waits: list[float] = []
    listed(server, waits=waits)
    assert all(wait <= 3_600 for wait in waits)
    assert len([wait for wait in waits if wait > 0]) == len(server.asked) - 1


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        limits: dict[str, Any] = {"page_size": 3, "timeout_s": 0.05, "largest_download": 9}
        with closing(Elai(url, KEY, wait=[].append, **limits)) as waiting:
            with pytest.raises(RendererUnavailable, match="no answer in time, 5 times"):
                list(waiting.renders([]))


def test_what_is_larger_may_take_longer() -> None:
    assert not is_too_slow(29, 0, 30)
    assert is_too_slow(31, 0, 30)
    assert not is_too_slow(31, 1 << 20, 30)
    assert is_too_slow(31 + 16, 1 << 20, 30)


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


def test_another_render_than_the_one_asked_for_is_not_taken(server: Server) -> None:
    server.script = [as_json(video(2))]
    with closing(connect(server)) as renderer, pytest.raises(RendererUnavailable, match="it told of"):
        renderer.render(video(1)["_id"])


def brought(server: Server, answer: Answer | Callable[[], Answer], **changes: Any) -> bytes:
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
        (Answer(302, headers={"Location": "/files/a.mp4"}), "it is sent from one address to the next"),
        (Answer(302, headers={"Location": "file:///etc/hostname"}), "its address is none"),
        (Answer(503), "the server answered 503, 5 times"),
    ],
)
def test_a_download_that_is_not_whole_is_told_without_its_address(
    server: Server, answer: Answer, said: str
) -> None:
    with pytest.raises(DownloadFailed) as failed:
        brought(server, answer)
    assert said in failed.value.message
    assert "secret" not in failed.value.message


def test_a_download_that_cannot_begin_yet_is_begun_again(server: Server) -> None:
    busy = iter([Answer(503), Answer(429, headers={"Retry-After": "3"})])
    server.files["b.mp4"] = Answer(200, b"late")
    assert brought(server, lambda: next(busy, server.files["b.mp4"])) == b"late"


def test_a_download_is_never_taken_from_where_anybody_could_listen(server: Server) -> None:
    render = Render("1", RenderState.READY, url=server.file_url("a.mp4"))
    limits: dict[str, Any] = {"page_size": 3, "timeout_s": 30.0, "largest_download": 9}
    with closing(Elai("https://api.example.com", KEY, wait=[].append, **limits)) as renderer:
        with pytest.raises(DownloadFailed, match="its address is not encrypted"):
            renderer.download(render, [].append)
    assert server.asked == []


def test_no_log_holds_an_address(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        brought(server, Answer(200, b"x"))
    assert "secret" not in caplog.text


def test_only_what_is_ready_is_downloaded(server: Server) -> None:
    with closing(connect(server)) as renderer, pytest.raises(RenderNotReady, match="is rendering"):
        renderer.download(Render("1", RenderState.RENDERING, "rendering"), [].append)


def test_a_render_does_not_show_its_address() -> None:
    assert "secret" not in repr(Render("1", RenderState.READY, url="https://x/?signature=secret"))


def test_without_one_there_the_keyring_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keyring.py").write_text("def get_password(service, user): return f'{service}-{user}-key'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    assert key_of("elai", {}) == "jobctl-elai-key"
    assert key_of("elai", {"JOBCTL_ELAI_API_KEY": "k"}) == "k"
    del sys.modules["keyring"]


def test_the_key_comes_from_the_environment() -> None:
    assert key_of("elai", {"JOBCTL_ELAI_API_KEY": " k "}) == "k"
    for environ in ({}, {"JOBCTL_ELAI_API_KEY": "two\nlines"}):
        with pytest.raises(RendererKeyMissing, match="no usable key"):
            key_of("elai", environ)
    with pytest.raises(ConfigurationError, match="no renderer is called 'other'"):
        open_renderer({**REMOTE_DEFAULTS, "renderer": "other"}, {"JOBCTL_ELAI_API_KEY": "k"})
