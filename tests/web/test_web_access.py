"""Who may ask, and which pages may read the answers: as both change while the API is served."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from jobctl.errors import ConfigurationError
from jobctl.web.application import app_of
from jobctl.web.origins import add_origins
from jobctl.web.tokens import TokensFile
from ops.world import World
from web.serving import api_of

OLD, NEW = "a-token-that-was-good", "a-token-of-the-other-kind"
PAGE = "https://app.example"


def write(path: Path, *tokens: str, mode: int = 0o600) -> None:
    """Replace the file in one step, as its documentation asks for."""
    beside = path.with_name("new")
    beside.write_text("".join(f"{token}\n" for token in tokens))
    beside.chmod(mode)
    os.replace(beside, path)


def test_tokens_are_read_anew_once_their_file_has_changed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobctl.web.tokens._LOOK_EVERY_S", 0.0)
    path = tmp_path / "tokens"
    write(path, OLD)

    with TestClient(app_of(api_of(world, tokens=TokensFile(str(path))))) as client:

        def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return client.get("/presentations/nobody", headers=headers).status_code

        assert (status(OLD), status(NEW)) == (404, 401)
        write(path, OLD, NEW)
        assert (status(OLD), status(NEW)) == (404, 404)
        write(path, NEW)
        assert (status(OLD), status(NEW)) == (401, 404)


def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens"
    write(path, OLD)
    tokens = TokensFile(str(path))
    for change in (
        lambda: write(path),
        lambda: write(path, "short"),
        lambda: write(path, NEW, mode=0o644),
        path.unlink,
    ):
        caplog.clear()
        change()
        with caplog.at_level(logging.WARNING, logger="jobctl.web"):
            tokens.look()
            tokens.look()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "stay good" in caplog.text
        assert NEW not in caplog.text
        assert (tokens.admits(OLD), tokens.admits(NEW)) == (True, False)
    write(path, NEW)
    tokens.look()
    assert (tokens.admits(OLD), tokens.admits(NEW)) == (False, True)


@pytest.fixture(scope="module")
def open_to_a_page(world: World) -> TestClient:
    return TestClient(app_of(api_of(world), cors_origins=[PAGE, "http://localhost:3000"]))


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_a_page_of_a_named_origin_reads_answers_and_refusals(open_to_a_page: TestClient, origin: str) -> None:
    answer = open_to_a_page.get("/presentations/nobody", headers={"Origin": origin})
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_a_browser_that_asks_first_is_told_what_it_may_send(open_to_a_page: TestClient) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    wanted = "authorization, content-type, idempotency-key, if-none-match, last-event-id, range"
    answer = open_to_a_page.options(
        "/presentations", headers={**asked, "Access-Control-Request-Headers": wanted}
    )
    assert answer.status_code == 200
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert set(wanted.split(", ")) <= set(allowed.split(", "))
    refused = open_to_a_page.options("/presentations", headers={**asked, "Origin": "https://evil.example"})
    assert refused.status_code == 400


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://app.example", f"{PAGE}:8443", f"{PAGE}.evil.example", "null"]
)
def test_no_other_page_may_read_anything(open_to_a_page: TestClient, origin: str) -> None:
    answer = open_to_a_page.get("/healthz", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


def test_without_any_named_no_page_may(client: TestClient) -> None:
    answer = client.get("/healthz", headers={"Origin": PAGE})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "app.example",
        f"{PAGE}/",
        f"{PAGE}:443",
        "https://APP.example",
        "ftp://app.example",
        "https://*.example",
        "https://user@app.example",
        "https://[::1",
        "https://app.example:http",
    ],
)
def test_what_is_no_exact_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="no exact origin"):
        add_origins(Starlette(), [origin])
