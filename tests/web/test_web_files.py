"""GET …/video and …/thumbnail: whole, verified files and their ranges; nothing else, ever."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobctl.model.status import Status
from jobctl.ops.site import Site
from jobctl.outputs import handout
from jobctl.outputs.handout import Accepted, NotAsAccepted, Proven, open_accepted
from jobctl.store import schema
from jobctl.web.application import app_of
from ops.world import World, a_job_id
from web.serving import JPEG, accept, api_of, begin, completed, end, publish_video


@pytest.fixture
def video(world: World, number: int) -> tuple[str, Path, bytes]:
    """A completed job: the URL of its video, the file, and its bytes."""
    job_id, path = completed(world, number)
    return f"/presentations/{job_id}/video", path, path.read_bytes()


def test_a_video_is_handed_out_whole(client: TestClient, video: tuple[str, Path, bytes]) -> None:
    url, path, content = video
    answer = client.get(url)
    assert (answer.status_code, answer.content == content) == (200, True)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["accept-ranges"] == "bytes"
    assert path.name in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    "form",
    [
        "/api/custom/presentations/{}/video",
        "/api/custom-projects-backend/presentations/{}/video",
        "/api/custom/download/presentation_{}.mp4",
    ],
)
def test_older_urls_lead_to_the_same_video(
    client: TestClient, video: tuple[str, Path, bytes], form: str, number: int
) -> None:
    assert client.get(form.format(a_job_id(number))).content == video[2]


def test_urls_of_the_form_that_is_set_lead_to_the_video(world: World, number: int) -> None:
    job_id, path = completed(world, number)
    set_ = World(world.url, world.root, world.host, {"video_url_form": "https://cdn.test/v/{job_id}.mp4"})
    with TestClient(app_of(api_of(set_))) as client:
        assert client.get(f"/v/{job_id}.mp4").content == path.read_bytes()


def test_urls_of_any_form_that_can_be_set_take_nothing_else_away(world: World, number: int) -> None:
    job_id, path = completed(world, number)
    forms = {"video_url_form": "/{job_id}", "thumbnail_url_form": "/{job_id}/{job_id}.jpg"}
    with TestClient(app_of(api_of(World(world.url, world.root, world.host, forms)))) as client:
        assert client.get(f"/{job_id}").content == path.read_bytes()
        assert client.get("/healthz").json() == {"alive": True}
        assert client.get(f"/presentations/{job_id}").json()["status"] == "completed"


def test_head_tells_of_the_video_without_it(client: TestClient, video: tuple[str, Path, bytes]) -> None:
    head = client.head(video[0], headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(video[2]))
    assert head.headers["etag"] == client.get(video[0]).headers["etag"]


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, None),
        ("bytes=-50", -50, None),
        ("bytes=5-999999999", 5, None),
    ],
)
def test_a_range_gives_just_its_bytes(
    client: TestClient, video: tuple[str, Path, bytes], wanted: str, start: int, stop: int | None
) -> None:
    url, _, content = video
    answer = client.get(url, headers={"Range": wanted})
    expected = content[start:stop]
    assert (answer.status_code, answer.content == expected) == (206, True)
    first = start % len(content)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(content)}"
    assert answer.headers["content-length"] == str(len(expected))


def test_several_ranges_give_a_part_each(client: TestClient, video: tuple[str, Path, bytes]) -> None:
    url, _, content = video
    answer = client.get(url, headers={"Range": "bytes=0-9,100-199,-5"})
    boundary = re.fullmatch("multipart/byteranges; boundary=(.+)", answer.headers["content-type"])
    assert (answer.status_code, boundary is not None) == (206, True)
    assert boundary is not None
    assert int(answer.headers["content-length"]) == len(answer.content)
    parts = answer.content.split(b"\r\n--" + boundary[1].encode())[1:]
    assert parts.pop() == b"--\r\n"
    bodies = [part.partition(b"\r\n\r\n")[2] for part in parts]
    assert bodies == [content[:10], content[100:200], content[-5:]]
    assert f"Content-Range: bytes 100-199/{len(content)}".encode() in parts[1]


def test_bytes_that_it_has_not_are_refused(client: TestClient, video: tuple[str, Path, bytes]) -> None:
    answer = client.get(video[0], headers={"Range": "bytes=999999999-"})
    assert (answer.status_code, answer.json()["code"]) == (416, "range-not-satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(video[2])}"


@pytest.mark.parametrize("wanted", ["bytes=9-1", "lines=0-9", "bytes=", "nonsense"])
def test_a_range_that_is_none_is_ignored(
    client: TestClient, video: tuple[str, Path, bytes], wanted: str
) -> None:
    assert client.get(video[0], headers={"Range": wanted}).content == video[2]


def test_a_range_is_given_only_of_the_file_that_the_client_knows(
    client: TestClient, video: tuple[str, Path, bytes]
) -> None:
    url, _, content = video
    told = client.get(url).headers
    for known, status in ((told["etag"], 206), (told["last-modified"], 206), ('"other"', 200)):
        answer = client.get(url, headers={"Range": "bytes=0-9", "If-Range": known})
        assert (answer.status_code, len(answer.content)) == (status, 10 if status == 206 else len(content))


def test_what_the_client_has_is_not_sent_again(client: TestClient, video: tuple[str, Path, bytes]) -> None:
    told = client.get(video[0]).headers
    for condition in ({"If-None-Match": told["etag"]}, {"If-Modified-Since": told["last-modified"]}):
        assert (client.get(video[0], headers=condition).status_code) == 304
    assert client.get(video[0], headers={"If-Match": '"other"'}).status_code == 412


def test_a_recovered_video_is_handed_out_byte_for_byte(client: TestClient, world: World, number: int) -> None:
    path = world.video(number)
    world.recover()
    answer = client.get(f"/presentations/{a_job_id(number)}/video")
    assert (answer.status_code, answer.content == path.read_bytes()) == (200, True)


@pytest.mark.parametrize("status", [None, Status.FAILED])
def test_without_completion_there_is_no_video_even_if_a_file_is_there(
    client: TestClient, world: World, site: Site, number: int, job_id: str, status: Status | None
) -> None:
    begin(site, job_id)
    publish_video(world, site, number)
    if status is not None:
        end(site, job_id, status, error="no")
    answer = client.get(f"/presentations/{job_id}/video")
    assert (answer.status_code, answer.json()["code"]) == (409, "not-completed")
    assert ("retry-after" in answer.headers) == (status is None)


def test_a_partial_file_under_the_name_is_not_the_video(
    client: TestClient, world: World, site: Site, number: int, job_id: str
) -> None:
    begin(site, job_id)
    end(site, job_id)
    whole = world.video(number)
    os.truncate(whole, whole.stat().st_size // 2)
    answer = client.get(f"/presentations/{job_id}/video")
    assert (answer.status_code, answer.json()["code"]) == (404, "file-unavailable")


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _flip_a_byte(path: Path) -> None:
    found = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _exchange_for_link(path: Path) -> None:
    secret = path.parent.parent / f"secret-{path.name}"
    secret.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(secret)


def _exchange_for_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _exchange_for_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "harm",
    [_cut, _flip_a_byte, _exchange_for_link, _exchange_for_fifo, _exchange_for_directory, Path.unlink],
    ids=lambda harm: harm.__name__.strip("_"),
)
def test_what_is_no_longer_the_accepted_file_is_not_handed_out(
    client: TestClient, video: tuple[str, Path, bytes], harm: object
) -> None:
    url, path, _ = video
    assert client.get(url).status_code == 200
    harm(path)  # type: ignore[operator]
    answer = client.get(url)
    assert (answer.status_code, answer.json()["code"]) == (404, "file-unavailable")
    assert str(path.parent) not in answer.text


def test_a_file_that_somebody_writes_to_is_not_handed_out(
    client: TestClient, video: tuple[str, Path, bytes]
) -> None:
    url, path, _ = video
    with path.open("r+b"):
        assert client.get(url).status_code == 404
    assert client.get(url).status_code == 200


def test_a_path_in_the_store_leads_nowhere_out_of_the_root(
    client: TestClient, world: World, site: Site, job_id: str
) -> None:
    outside = world.root.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret.mp4").write_bytes(b"secret")
    link = world.root / "linked"
    if not link.exists():
        link.symlink_to(outside)
    begin(site, job_id)
    for path in (world.root / ".." / "outside" / "secret.mp4", link / "secret.mp4"):
        accept(world, site, job_id, "video", path, "0" * 64)
    end(site, job_id)
    answer = client.get(f"/presentations/{job_id}/video")
    assert (answer.status_code, b"secret" in answer.content) == (404, False)


def test_a_video_that_was_noted_but_never_checked_is_not_handed_out(
    client: TestClient, world: World, site: Site, number: int, job_id: str
) -> None:
    begin(site, job_id)
    accept(world, site, job_id, "video", world.video(number), None)
    end(site, job_id)
    answer = client.get(f"/presentations/{job_id}/video")
    assert (answer.status_code, answer.json()["code"]) == (404, "file-unavailable")


def test_a_video_that_was_found_again_is_still_the_accepted_one(
    client: TestClient, site: Site, video: tuple[str, Path, bytes], job_id: str
) -> None:
    url, path, content = video
    with site.store.write() as connection:
        rows = schema.artifact.update().where(schema.artifact.c.job_id == job_id)
        connection.execute(rows.values(sha256=None))
    assert client.get(url).content == content
    found = path.stat()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert client.get(url).status_code == 404


def test_a_thumbnail_is_what_its_bytes_say(
    client: TestClient, world: World, site: Site, number: int, job_id: str
) -> None:
    begin(site, job_id)
    publish_video(world, site, number)
    accept(world, site, job_id, "thumbnail", world.file(f"thumbnail_{job_id}.jpg", JPEG), None)
    end(site, job_id)
    for url in (f"/presentations/{job_id}/thumbnail", f"/api/custom/download/thumbnail_{job_id}.jpg"):
        answer = client.get(url)
        assert (answer.status_code, answer.content) == (200, JPEG)
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
    world.file(f"thumbnail_{job_id}.jpg", b"<script>alert(1)</script>")
    assert client.get(f"/presentations/{job_id}/thumbnail").status_code == 404


def test_a_thumbnail_may_be_absent(client: TestClient, world: World, number: int) -> None:
    job_id, _ = completed(world, number)
    answer = client.get(f"/presentations/{job_id}/thumbnail")
    assert (answer.status_code, answer.json()["code"]) == (404, "file-unavailable")


def test_a_root_that_is_away_is_told_with_503(
    client: TestClient, world: World, video: tuple[str, Path, bytes]
) -> None:
    away = world.root.with_name("unmounted")
    world.root.rename(away)
    try:
        answer = client.get(video[0])
    finally:
        away.rename(world.root)
    assert (answer.status_code, answer.json()["code"]) == (503, "root-unavailable")
    assert "retry-after" in answer.headers
    assert str(world.root) not in answer.text


def test_where_too_much_is_handed_out_the_next_is_told_to_come_back(
    world: World, video: tuple[str, Path, bytes]
) -> None:
    api = api_of(world, downloads=1)
    api.downloads = 1
    with TestClient(app_of(api)) as client:
        refused = client.get(video[0])
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        api.downloads = 0
        for _ in range(3):
            assert client.get(video[0]).status_code == 200
        assert api.downloads == 0


def test_a_file_that_changes_while_it_is_sent_ends_the_answer_short(
    world: World, site: Site, number: int, job_id: str
) -> None:
    begin(site, job_id)
    path = world.video(number)
    with path.open("ab") as file:
        file.write((1 << 20).to_bytes(4, "big") + b"free" + bytes((1 << 20) - 8))
    content = path.read_bytes()
    accept(world, site, job_id, "video", path, hashlib.sha256(content).hexdigest())
    end(site, job_id)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3_600)
        return {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and len(sent) == 2:
            path.write_bytes(b"another one")

    api = api_of(world)
    url = f"/presentations/{job_id}/video"
    scope = {"type": "http", "method": "GET", "path": url, "query_string": b"", "headers": []}
    asyncio.run(app_of(api)(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 200
    assert all(message.get("more_body") for message in sent[1:])
    assert 0 < sum(len(message["body"]) for message in sent[1:]) < len(content)
    assert api.downloads == 0


def test_no_file_stays_open(client: TestClient, video: tuple[str, Path, bytes]) -> None:
    client.get(video[0])
    before = len(os.listdir("/proc/self/fd"))
    for headers in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=999999999-"}, {"If-Match": '"x"'}):
        client.get(video[0], headers=headers)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_a_checksum_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 1_000)
    accepted = Accepted("a.mp4", 1_000, handout.sha256_of(os.open(path, os.O_RDONLY), 1_000), None)
    root, proven = os.open(tmp_path, os.O_RDONLY), Proven()
    open_accepted(root, accepted, proven).close()
    monkeypatch.setattr(handout, "sha256_of", lambda *_: pytest.fail("it was read again"))
    open_accepted(root, accepted, proven).close()


def test_a_file_that_is_written_to_while_it_is_read_is_not_read_on(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 1_000)
    found = path.stat()
    opened = open_accepted(
        os.open(tmp_path, os.O_RDONLY), Accepted("a.mp4", 1_000, None, found.st_mtime_ns), Proven()
    )
    assert opened.read(0, 10) == b"x" * 10
    with path.open("r+b") as file:
        file.write(b"y")
    os.utime(path, ns=(0, found.st_mtime_ns + 1))
    with pytest.raises(NotAsAccepted):
        opened.read(10, 10)
    opened.close()
    opened.close()
    with pytest.raises(NotAsAccepted):
        opened.read(0, 10)


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
def test_a_client_that_takes_nothing_of_a_file_keeps_no_place(
    world: World, video: tuple[str, Path, bytes], spec_version: str, caplog: pytest.LogCaptureFixture
) -> None:
    url, path, _ = video
    api = api_of(world, send_s=0.05)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": "1.1",
        "method": "GET",
        "path": url,
        "raw_path": url.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
    }

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    asyncio.run(app_of(api)(scope, receive, send))
    assert api.downloads == 0
    assert f"a client took too long to receive {path.name}" in caplog.text
    api.close()
