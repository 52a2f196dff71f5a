"""Probes, tokens, outages, and the one shape of all that is refused."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import jobctl.web
from jobctl.errors import ConfigurationError
from jobctl.web.application import app_of
from jobctl.web.tokens import Tokens, TokensFile, tokens_from_text
from ops.world import World
from web.serving import api_of, begin, completed

TOKEN = "4f1c7b0e9d2a8c6b5e3f"
OTHER = "another-token-that-is-good"


@pytest.fixture(scope="module")
def guarded(world: World) -> Iterator[TestClient]:
    """The API, for those who bear a token."""
    tokens = Tokens([TOKEN, OTHER], source="a test")
    with TestClient(app_of(api_of(world, tokens=tokens))) as client:
        yield client


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_process_is_alive_and_can_do_its_work(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"alive": True}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"], ready.json()["store"]) == (200, True, "ready")


def test_metrics_are_those_of_the_command(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'jobctl_jobs{status="queued"}' in answer.text


def test_without_its_root_a_server_is_not_ready(client: TestClient, world: World) -> None:
    away = world.root.with_name("unmounted")
    world.root.rename(away)
    try:
        answer = client.get("/readyz")
        assert client.get("/healthz").status_code == 200
    finally:
        away.rename(world.root)
    assert (answer.status_code, answer.json()["ready"], "retry-after" in answer.headers) == (503, False, True)
    assert answer.json()["roots"][0]["state"] == "unavailable"
    assert str(world.root) not in answer.text


@contextmanager
def away(world: World) -> Iterator[None]:
    """The database of a world, away for as long as the block lasts."""
    if not world.url.startswith("postgresql"):
        path = Path(world.url)
        hidden = path.with_name("hidden.db")
        path.rename(hidden)
        try:
            yield
        finally:
            hidden.rename(path)
        return
    base, _, name = world.url.partition("?")[0].rpartition("/")
    query = world.url.partition("?")[2]
    admin = f"{base}/postgres{'?' + query if query else ''}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_without_the_database_the_answer_is_503_and_then_as_before(world: World, number: int) -> None:
    job_id, _ = completed(world, number)
    asked = [
        f"/presentations/{job_id}",
        f"/presentations/{job_id}/video",
        "/presentations/nobody",
    ]
    with TestClient(app_of(api_of(world))) as client:
        before = [client.get(url).status_code for url in asked]
        with away(world):
            for url in asked:
                answer = client.get(url)
                assert (answer.status_code, answer.json()["code"]) == (503, "store-unreachable"), url
                assert "retry-after" in answer.headers
                assert world.url not in answer.text
            refused = client.post("/presentations", json={})
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").json()["store"] == "unavailable"
        assert [client.get(url).status_code for url in asked] == before


def test_a_server_that_begins_without_its_database_serves_once_that_is_there(world: World) -> None:
    with TestClient(app_of(api_of(world))) as client:
        with away(world):
            assert client.get("/presentations/nobody").status_code == 503
        assert client.get("/presentations/nobody").status_code == 404


@pytest.mark.parametrize("path", ["/presentations/a", "/presentations/a/video", "/metrics", "/readyz"])
def test_without_a_good_token_nothing_is_told(guarded: TestClient, path: str) -> None:
    for headers in ({}, bearing("wrong"), bearing(""), {"Authorization": f"Basic {TOKEN}"}):
        answer = guarded.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    for token in (TOKEN, OTHER):
        assert guarded.get(path, headers=bearing(token)).status_code != 401


def test_whoever_may_not_ask_is_not_told_what_is_wrong_with_the_question(guarded: TestClient) -> None:
    assert guarded.get("/presentations/a?wait=nonsense").status_code == 401
    assert guarded.post("/presentations", content=b"x").status_code == 401


def test_that_it_lives_is_told_to_everybody(guarded: TestClient) -> None:
    assert guarded.get("/healthz").status_code == 200


def test_no_token_is_logged(guarded: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        guarded.get("/metrics", headers=bearing(TOKEN))
        guarded.get("/metrics", headers=bearing("a-token-that-is-not-good"))
    assert TOKEN not in caplog.text
    assert "a-token-that" not in caplog.text
    assert TOKEN not in repr(vars(Tokens([TOKEN], source="a test")))


def test_a_tokens_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# who may ask\n\n{TOKEN}\n")
    for mode in (0o644, 0o640, 0o604):
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match="can be read by others") as refused:
            TokensFile(str(path))
        assert refused.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    assert TokensFile(str(path)).admits(TOKEN)
    assert not TokensFile(str(path)).admits("# who may ask")


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "holds no token"), ("# none", "holds no token"), ("short", "less than 16"), (f"{TOKEN}é", "ASCII"),
     (f"{TOKEN} x", "no HTTP header")],
)  # fmt: skip
def test_a_token_that_is_none_is_refused_without_repeating_it(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=said) as refused:
        TokensFile(str(path))
    assert TOKEN not in str(refused.value)


def test_a_tokens_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        TokensFile(str(tmp_path / "gone"))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigurationError, match="no regular file"):
        TokensFile(str(tmp_path / "fifo"))


def test_a_tokens_file_without_end_is_refused_so_that_no_token_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n" * (1 + (1 << 20) // (len(TOKEN) + 1)))
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="has more than 1,048,576 bytes"):
        TokensFile(str(path))


def test_a_connection_that_the_server_ends_is_noticed_by_no_client(world: World, number: int) -> None:
    if not world.url.startswith("postgresql"):
        return
    job_id, _ = completed(world, number)
    others = "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with (
        TestClient(app_of(api_of(world))) as client,
        psycopg.connect(world.url, autocommit=True) as connection,
    ):
        for _ in range(3):
            assert client.get(f"/presentations/{job_id}").status_code == 200
            connection.execute(f"SELECT pg_terminate_backend(pid, 60000) FROM {others}")


def test_tokens_of_the_environment_are_parted_by_commas_or_space() -> None:
    tokens = tokens_from_text(f"{TOKEN}, {OTHER}\n", source="the environment")
    assert tokens.admits(TOKEN)
    assert tokens.admits(OTHER)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("DELETE", "/presentations/a", 405), ("GET", "/presentations/", 404)],
)
def test_what_there_is_not_is_told_in_the_same_shape(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"success", "jobId", "error", "code", "hint", "since"}


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/presentations/a/video"])
def test_a_method_that_is_not_served_is_refused_with_all_that_are(client: TestClient, path: str) -> None:
    answer = client.request("DELETE", path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert client.head(path).status_code == client.get(path).status_code


def test_a_fault_is_logged_and_not_shown(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api = api_of(world)
    monkeypatch.setattr(api.reader, "get", lambda _job_id: 1 / 0)
    with TestClient(app_of(api)) as client:
        answer = client.get("/presentations/a")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "ZeroDivisionError" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_the_router_is_mounted_in_an_application_of_ones_own(
    world: World, site: object, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBCTL_WEB_TOKENS", TOKEN)
    application = FastAPI()
    application.include_router(jobctl.web.router(world.url, prefix="/v1"))
    begin(site, job_id)  # type: ignore[arg-type]
    with TestClient(application) as client:
        assert client.get(f"/v1/presentations/{job_id}").json()["code"] == "unauthorized"
        assert client.get(f"/v1/presentations/{job_id}", headers=bearing(TOKEN)).status_code == 202
        made = client.post("/v1/presentations", json={}, headers=bearing(TOKEN))
        assert made.headers["location"].startswith("/v1/presentations/")
        assert client.get("/v1/presentations/x?wait=x", headers=bearing(TOKEN)).json()["success"] is False
        assert client.get("/v1/healthz").status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_a_balancer_may_probe_by_head(client: TestClient, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (client.get(path).status_code, b"")
