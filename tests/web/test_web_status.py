"""GET /presentations/{id}: how a job stands, in the service's own shape."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from jobctl.model.status import Cause, Status
from jobctl.model.timestamps import parse_timestamp
from jobctl.ops.site import Site
from jobctl.store import jobs
from jobctl.web.application import app_of
from ops.world import World
from web.serving import api_of, begin, completed, end, publish_video, report


def test_an_open_job_is_told_with_202_and_when_to_ask_again(
    client: TestClient, site: Site, job_id: str
) -> None:
    begin(site, job_id, progress=62.5)
    answer = client.get(f"/presentations/{job_id}")
    told = answer.json()
    assert answer.status_code == 202
    assert int(answer.headers["retry-after"]) > 0
    assert parse_timestamp(told.pop("createdAt")) < datetime.now(UTC)
    assert told == {
        "success": True,
        "jobId": job_id,
        "status": "processing",
        "progress": 62.5,
        "videoUrl": None,
        "thumbnailUrl": None,
        "error": None,
        "completedAt": None,
    }


def test_progress_beyond_all_bounds_is_clamped_and_never_falls(
    client: TestClient, site: Site, job_id: str
) -> None:
    begin(site, job_id)
    shown = []
    for reported in (40.0, 20.0, 125.0, 60.0):
        report(site, job_id, reported)
        shown.append(client.get(f"/presentations/{job_id}").json()["progress"])
    assert shown == [40.0, 40.0, 100.0, 100.0]


def test_a_completed_job_is_told_with_200_and_its_urls(client: TestClient, world: World, number: int) -> None:
    job_id, _ = completed(world, number)
    answer = client.get(f"/presentations/{job_id}")
    assert (answer.status_code, answer.json()["status"], answer.json()["progress"]) == (
        200,
        "completed",
        100.0,
    )
    assert answer.json()["videoUrl"] == f"/presentations/{job_id}/video"
    assert answer.json()["completedAt"] is not None
    assert "retry-after" not in answer.headers


def test_the_url_of_a_video_is_told_once_its_job_is_completed(
    client: TestClient, world: World, site: Site, job_id: str, number: int
) -> None:
    begin(site, job_id)
    publish_video(world, site, number)
    assert client.get(f"/presentations/{job_id}").json()["videoUrl"] is None


def test_a_failed_job_is_told_with_200_and_why(client: TestClient, site: Site, job_id: str) -> None:
    begin(site, job_id, progress=75.0)
    end(
        site, job_id, Status.FAILED, error="interrupted at 75 %\x1b[31m [red]\ud800", error_code="interrupted"
    )
    answer = client.get(f"/presentations/{job_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")
    assert answer.json()["error"].startswith("interrupted at 75 %")


@pytest.mark.parametrize("prefix", ["/api/custom", "/api/custom-projects-backend"])
def test_older_urls_tell_the_same(client: TestClient, site: Site, prefix: str, job_id: str) -> None:
    begin(site, job_id)
    old, new = client.get(f"{prefix}/presentations/{job_id}"), client.get(f"/presentations/{job_id}")
    assert (old.status_code, old.json()) == (new.status_code, new.json())


def test_head_tells_the_same_without_a_body(client: TestClient, site: Site, job_id: str) -> None:
    begin(site, job_id)
    head, get = client.head(f"/presentations/{job_id}"), client.get(f"/presentations/{job_id}")
    assert (head.status_code, head.content, head.headers["etag"]) == (202, b"", get.headers["etag"])


def test_what_the_client_knows_is_not_told_again(client: TestClient, site: Site, job_id: str) -> None:
    begin(site, job_id, progress=10.0)
    etag = client.get(f"/presentations/{job_id}").headers["etag"]
    known = client.get(f"/presentations/{job_id}", headers={"If-None-Match": etag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
    assert "retry-after" in known.headers
    report(site, job_id, 20.0)
    assert client.get(f"/presentations/{job_id}", headers={"If-None-Match": etag}).status_code == 202


def test_an_expired_job_is_gone_since_when_it_says(
    client: TestClient, world: World, site: Site, number: int
) -> None:
    job_id, _ = completed(world, number)
    with site.store.write() as connection:
        at = site.store.now(connection)
        jobs.change_status(
            connection,
            job_id,
            Status.EXPIRED,
            expect=Status.COMPLETED,
            cause=Cause.RETENTION,
            actor="tester",
            at=at,
        )
    for path in ("", "/video", "/events"):
        answer = client.get(f"/presentations/{job_id}{path}")
        assert (answer.status_code, answer.json()["code"]) == (410, "gone"), path
        assert parse_timestamp(answer.json()["since"]) == at


def test_a_deleted_job_is_gone_since_when_it_says(client: TestClient, site: Site, job_id: str) -> None:
    begin(site, job_id)
    with site.store.write() as connection:
        at = site.store.now(connection)
        jobs.delete_job(connection, job_id, actor="ada", at=at)
    answer = client.get(f"/presentations/{job_id}")
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")
    assert parse_timestamp(answer.json()["since"]) == at


def test_who_waits_is_told_as_soon_as_the_job_changes(client: TestClient, site: Site, job_id: str) -> None:
    begin(site, job_id, progress=10.0)
    etag = client.get(f"/presentations/{job_id}").headers["etag"]
    later = threading.Timer(0.1, report, (site, job_id, 20.0))
    later.start()
    answer = client.get(f"/presentations/{job_id}?wait=30", headers={"If-None-Match": etag})
    later.join()
    assert (answer.status_code, answer.json()["progress"]) == (202, 20.0)
    assert answer.elapsed.total_seconds() < 10


def test_who_knows_something_older_is_told_at_once(client: TestClient, site: Site, job_id: str) -> None:
    begin(site, job_id)
    answer = client.get(f"/presentations/{job_id}?wait=60", headers={"If-None-Match": '"older"'})
    assert answer.status_code == 202
    assert answer.elapsed.total_seconds() < 10


def test_who_waited_in_vain_is_told_that_nothing_changed(client: TestClient, site: Site, job_id: str) -> None:
    begin(site, job_id)
    etag = client.get(f"/presentations/{job_id}").headers["etag"]
    answer = client.get(f"/presentations/{job_id}?wait=1", headers={"If-None-Match": etag})
    assert answer.status_code == 304
    assert answer.elapsed.total_seconds() >= 0.9


def test_nobody_waits_for_a_job_that_is_ended(client: TestClient, world: World, number: int) -> None:
    job_id, _ = completed(world, number)
    answer = client.get(f"/presentations/{job_id}?wait=60")
    assert (answer.status_code, answer.elapsed.total_seconds() < 10) == (200, True)


@pytest.mark.parametrize("wait", ["61", "-1", "long", "1e9", ""])
def test_a_wait_beyond_the_bound_is_refused(client: TestClient, wait: str, job_id: str) -> None:
    answer = client.get(f"/presentations/{job_id}", params={"wait": wait})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert "wait" in answer.json()["error"]


def test_where_too_many_wait_the_next_is_told_how_it_stands_now(
    world: World, site: Site, job_id: str
) -> None:
    begin(site, job_id)
    api = api_of(world, waiters=1)
    assert api.watcher.take_place()
    with TestClient(app_of(api)) as client:
        answer = client.get(f"/presentations/{job_id}?wait=60")
        assert (answer.status_code, "retry-after" in answer.headers) == (202, True)
        assert answer.elapsed.total_seconds() < 10
        refused = client.get(f"/presentations/{job_id}/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert "retry-after" in refused.headers


def test_events_tell_each_change_until_the_end(client: TestClient, site: Site, job_id: str) -> None:
    begin(site, job_id, progress=10.0)
    told = []
    with client.stream("GET", f"/presentations/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        steps = iter([lambda: report(site, job_id, 50.0), lambda: end(site, job_id)])
        for line in answer.iter_lines():
            if line.startswith("data: "):
                told.append(line)
                next(steps, lambda: None)()
    assert [('"processing"' in line, '"completed"' in line) for line in told] == [
        (True, False),
        (True, False),
        (False, True),
    ]


def test_who_heard_of_the_end_is_told_to_stop(client: TestClient, world: World, number: int) -> None:
    job_id, _ = completed(world, number)
    heard = client.get(f"/presentations/{job_id}").headers["etag"].strip('"')
    assert f"id: {heard}" in client.get(f"/presentations/{job_id}/events").text
    again = client.get(f"/presentations/{job_id}/events", headers={"Last-Event-ID": heard})
    assert again.status_code == 204


def test_a_job_that_is_deleted_ends_its_events(client: TestClient, site: Site, job_id: str) -> None:
    begin(site, job_id)
    with client.stream("GET", f"/presentations/{job_id}/events") as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        with site.store.write() as connection:
            jobs.delete_job(connection, job_id, actor="ada", at=site.store.now(connection))
        assert "event: gone" in list(lines)


def test_a_stream_ends_after_its_time_also_where_the_job_never_rests(world: World, job_id: str) -> None:
    with world.site() as site, TestClient(app_of(api_of(world, events_s=0.5))) as client:
        begin(site, job_id)
        reported = 0
        with client.stream("GET", f"/presentations/{job_id}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    reported += 1
                    assert reported < 100, "it goes on"
                    report(site, job_id, 0.5 * reported)
    assert reported > 0


@pytest.mark.parametrize("known", [False, True], ids=["anew", "known"])
def test_the_quick_way_tells_what_the_documented_one_does(
    client: TestClient, world: World, site: Site, number: int, job_id: str, known: bool
) -> None:
    begin(site, job_id, progress=10.0)
    done, _ = completed(world, 10_000 + number)
    for method in ("GET", "HEAD"):
        for asked in (job_id, done, "nobody", "%ff", "a" * 200):
            headers = {"If-None-Match": client.get(f"/presentations/{asked}").headers.get("etag", "")}
            quick, whole = (
                client.request(method, f"/presentations/{asked}{query}", headers=headers if known else {})
                for query in ("", "?wait=0")
            )
            assert (quick.status_code, quick.content) == (whole.status_code, whole.content)
            assert quick.headers == whole.headers
