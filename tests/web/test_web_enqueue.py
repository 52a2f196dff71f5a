"""POST /presentations: a job is enqueued once, whatever the network does to the request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from jobctl.model.status import Cause, Status
from jobctl.ops.site import Site
from jobctl.store import jobs
from jobctl.web.application import app_of
from ops.world import World
from web.serving import api_of

JSON = {"Content-Type": "application/json"}


def test_a_job_is_enqueued_and_its_place_told(client: TestClient, site: Site) -> None:
    answer = client.post("/presentations", json={"title": "Ünïcode", "slides": [1, 2]})
    job_id = answer.json()["jobId"]
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["location"] == f"/presentations/{job_id}"
    assert "retry-after" in answer.headers
    with site.store.read() as connection:
        job, body = jobs.get_job(connection, job_id), jobs.body_of(connection, job_id)
    assert (job.kind, body.payload) == ("presentation", {"title": "Ünïcode", "slides": [1, 2]})
    followed = client.get(answer.headers["location"])
    assert followed.headers["etag"] == answer.headers["etag"]


def test_the_same_key_gives_the_same_job(client: TestClient, job_id: str) -> None:
    first = client.post("/presentations", json={"n": 1}, headers={"Idempotency-Key": job_id})
    again = client.post("/presentations", json={"n": 1}, headers={"Idempotency-Key": f'"{job_id}"'})
    assert (again.status_code, again.json()) == (202, first.json())
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")


def test_the_same_key_with_another_body_is_refused(client: TestClient, job_id: str) -> None:
    first = client.post("/presentations", json={"n": 1}, headers={"Idempotency-Key": job_id})
    other = client.post("/presentations", json={"n": 2}, headers={"Idempotency-Key": job_id})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert other.json()["jobId"] == first.json()["jobId"]


def test_a_storm_of_tries_enqueues_one_job(client: TestClient, job_id: str) -> None:
    def ask(_number: int) -> str:
        answer = client.post("/presentations", json={}, headers={"Idempotency-Key": job_id})
        return str(answer.json()["jobId"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(24)))) == 1


def test_a_key_whose_job_is_ended_gives_it_as_it_is(client: TestClient, site: Site, job_id: str) -> None:
    def ask() -> tuple[int, str]:
        answer = client.post("/presentations", json={}, headers={"Idempotency-Key": job_id})
        return answer.status_code, answer.json().get("status") or answer.json()["code"]

    ask()
    made = client.post("/presentations", json={}, headers={"Idempotency-Key": job_id}).json()["jobId"]
    for before, to, cause in (
        (Status.QUEUED, Status.CANCELLED, Cause.OPERATOR),
        (Status.CANCELLED, Status.EXPIRED, Cause.RETENTION),
    ):
        with site.store.write() as connection:
            at = site.store.now(connection)
            jobs.change_status(connection, made, to, expect=before, cause=cause, actor="t", at=at)
        assert ask() == ((200, "cancelled") if to is Status.CANCELLED else (410, "gone"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[]", "no JSON object"),
        (b"1", "no JSON object"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b'{"a": 1e999}', "cannot be written as JSON"),
        (b"\xff\xfe", "no JSON"),
        (b'{"a":' * 700 + b'"\\u0000"' + b"}" * 700, "nested too deeply"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' + b"1" * 5_000 + b"}", "no JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client: TestClient, body: bytes, said: str) -> None:
    answer = client.post("/presentations", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-body")
    assert said in answer.json()["error"]


def test_texts_that_no_database_holds_are_written_out(client: TestClient, site: Site) -> None:
    body = b'{"a": "\\u0000 \\ud800 \\u001b[31m", "\\udfff": {"b": ["\\u202e"]}}'
    answer = client.post("/presentations", content=body, headers=JSON)
    assert answer.status_code == 202
    with site.store.read() as connection:
        payload = jobs.body_of(connection, answer.json()["jobId"]).payload
    assert payload["a"].startswith("\\x00 \\ud800")


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "multipart/form-data", "application/x-www-form-urlencoded"]
)
def test_what_is_not_said_to_be_json_is_refused(client: TestClient, kind: str | None) -> None:
    answer = client.post("/presentations", content=b"{}", headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


def test_a_body_that_is_too_large_is_refused_before_all_of_it_came(world: World) -> None:
    sent = 0

    def endless() -> object:
        nonlocal sent
        while sent < 1_000:
            sent += 1
            yield b" " * 1_000

    with TestClient(app_of(api_of(world, body_bytes=10_000))) as client:
        answer = client.post("/presentations", content=endless(), headers=JSON)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "tab\tbed"])
def test_a_key_that_cannot_be_one_is_refused(client: TestClient, key: str) -> None:
    answer = client.post("/presentations", json={}, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert "Idempotency-Key" in answer.json()["error"]


def test_a_body_that_is_said_to_be_too_large_is_not_asked_for(client: TestClient) -> None:
    declared = {**JSON, "Content-Length": str((1 << 20) + 1)}
    answer = client.post("/presentations", content=b"{}", headers=declared)
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
