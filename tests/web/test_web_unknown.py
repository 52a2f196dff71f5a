"""An id without a record: looked up in all that is kept before it is called unknown."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cli.calling import call
from jobctl.model.renders import KnownRender, Proof, Render, RenderState
from jobctl.ops import whereabouts
from jobctl.ops.site import Site
from jobctl.store import lastruns, renders
from jobctl.web.application import app_of
from ops.world import World, a_job_id
from web.serving import api_of, begin

RECOVERING = (503, "being-recovered")


def asked(client: TestClient, job_id: str, path: str = "") -> tuple[int, str]:
    answer = client.get(f"/presentations/{job_id}{path}")
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)
    return answer.status_code, answer.json()["code"]


def test_of_what_nothing_tells_is_unknown(client: TestClient, job_id: str) -> None:
    assert asked(client, job_id) == (404, "unknown-job")


@pytest.mark.parametrize("path", ["", "/video", "/thumbnail", "/events"])
def test_a_video_without_a_record_is_being_recovered(
    client: TestClient, world: World, number: int, path: str
) -> None:
    world.video(number)
    assert asked(client, a_job_id(number), path) == RECOVERING


def test_a_scanned_video_is_being_recovered_wherever_it_lies(
    client: TestClient, world: World, number: int
) -> None:
    found = world.video(number)
    (world.root / "2026").mkdir(exist_ok=True)
    os.rename(found, world.root / "2026" / found.name)
    assert asked(client, a_job_id(number)) == (404, "unknown-job")
    world.scan()
    assert asked(client, a_job_id(number)) == RECOVERING
    world.recover()
    assert client.get(f"/presentations/{a_job_id(number)}").json()["status"] == "completed"


def test_what_a_scan_found_broken_is_not_waited_for(client: TestClient, world: World, number: int) -> None:
    path = world.video(number)
    os.truncate(path, path.stat().st_size // 2)
    world.scan(full=True)
    assert asked(client, a_job_id(number)) == (404, "unknown-job")


def test_a_recovery_that_was_taken_back_is_not_waited_for(
    client: TestClient, world: World, number: int
) -> None:
    world.video(number)
    report = world.recover()
    assert client.get(f"/presentations/{a_job_id(number)}").status_code == 200
    world.undo(report.run_id)
    assert asked(client, a_job_id(number)) == (404, "declined")
    world.video(number, seed=number + 1, age_s=4_000)
    world.scan()
    assert asked(client, a_job_id(number)) == RECOVERING


def read_log(world: World, tmp_path: Path, *lines: str) -> None:
    path = tmp_path / "app.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    assert call("evidence", "ingest", str(path), database=world.url).exit_code == 0


def recovered(site: Site, **ago: Any) -> None:
    """Note that a recovery ended well."""
    with site.store.write() as connection:
        at = site.store.now(connection) - timedelta(**ago)
        lastruns.record(
            connection,
            command="recover",
            host="host-a",
            started_at=at,
            finished_at=at,
            exit_code=0,
            error=None,
            succeeded=True,
        )


def test_a_job_that_a_log_tells_of_is_waited_for_until_a_recovery_has_looked_at_it(
    client: TestClient, world: World, site: Site, tmp_path: Path, job_id: str
) -> None:
    recovered(site, hours=1)
    read_log(world, tmp_path, f"INFO:svc:Created presentation job: {job_id}")
    assert asked(client, job_id) == RECOVERING
    recovered(site)
    assert asked(client, job_id) == (404, "lost")


def test_that_somebody_asked_for_it_proves_nothing(
    client: TestClient, world: World, tmp_path: Path, job_id: str
) -> None:
    asked_for = f'INFO:     10.0.0.1:1 - "GET /presentations/{job_id} HTTP/1.1" 404 Not Found'
    read_log(world, tmp_path, asked_for)
    assert asked(client, job_id) == (404, "unknown-job")


def test_a_job_whose_render_the_renderer_knows_is_waited_for(
    client: TestClient, site: Site, job_id: str
) -> None:
    with site.store.write() as connection:
        seen_at = site.store.now(connection) + timedelta(seconds=1)
        render = Render("0123456789abcdef01234567", RenderState.RENDERING)
        renders.record_renders(connection, [KnownRender("elai", render, job_id, Proof.NAME, seen_at)])
    assert asked(client, job_id) == RECOVERING


def test_a_video_that_recovery_makes_no_record_of_is_not_waited_for_for_ever(
    client: TestClient, world: World, site: Site, number: int
) -> None:
    world.video(number)
    world.scan()
    assert asked(client, a_job_id(number)) == RECOVERING
    recovered(site)
    assert asked(client, a_job_id(number)) == (404, "lost")


def test_a_record_that_is_made_while_evidence_is_looked_at_is_told(
    world: World, site: Site, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_of(world)
    look = whereabouts.whereabouts

    def slowly(*arguments: Any) -> Any:
        begin(site, job_id)
        return look(*arguments)

    monkeypatch.setattr(whereabouts, "whereabouts", slowly)
    with TestClient(app_of(api)) as client:
        assert client.get(f"/presentations/{job_id}").status_code == 202


@pytest.mark.parametrize("name", ["..", "%2e%2e", "a" * 200, "é", "%00", "x%0d%0aSet-Cookie:a", "%1b[31m"])
def test_ids_of_any_kind_are_unknown_and_nothing_else(client: TestClient, name: str) -> None:
    answer = client.get(f"/presentations/{name}")
    assert answer.status_code == 404
    assert answer.json()["success"] is False
    assert "set-cookie" not in answer.headers


def test_an_id_that_is_far_too_long_is_refused(client: TestClient) -> None:
    assert client.get(f"/presentations/{'a' * 201}").status_code == 422
