"""The installed program, serving on the loopback: what clients and operators see of it."""

from __future__ import annotations

import http.client
import importlib.util
import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

import jobctl.web
from cli.calling import call
from jobctl.errors import ExtraMissing
from jobctl.ops.site import Site
from ops.world import World, a_job_id
from web.serving import begin, completed, end, served

TOKEN = "4f1c7b0e9d2a8c6b5e3f"


def called_by(url: str, *names: str) -> int:
    """The answer to a client that calls the server by so many names, which httpx would not."""
    with closing(http.client.HTTPConnection(httpx.URL(url).netloc.decode(), timeout=60)) as connection:
        connection.putrequest("GET", "/healthz", skip_host=True)
        for name in names:
            connection.putheader("Host", name)
        connection.endheaders()
        return connection.getresponse().status


def test_a_job_is_enqueued_followed_and_fetched_and_a_sigkill_loses_nothing(
    world: World, number: int
) -> None:
    job_id, path = completed(world, number)
    content = path.read_bytes()
    with served(world.url) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        made = client.post("/presentations", json={"n": 1}, headers={"Idempotency-Key": job_id})
        before = client.get(f"/presentations/{job_id}")
        assert (made.status_code, before.status_code) == (202, 200)
        part = client.get(f"/presentations/{job_id}/video", headers={"Range": "bytes=10-19,-5"})
        assert (part.status_code, content[10:20] in part.content) == (206, True)
        head = client.head(f"/presentations/{job_id}/video")
        assert (head.headers["content-length"], head.content) == (str(len(content)), b"")
        elsewhere = client.get(f"/presentations/{job_id}", headers={"Host": "page.example"})
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (421, "misdirected-request")
        assert called_by(server.url, "localhost") == called_by(server.url) == 200
        assert called_by(server.url, "localhost", "page.example") == 421
        server.process.kill()
    with served(world.url) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        assert client.get(made.headers["location"]).status_code == 202
        after = client.get(f"/presentations/{job_id}")
        assert (after.status_code, after.headers["etag"]) == (200, before.headers["etag"])
        assert client.get(f"/presentations/{job_id}/video").content == content


def test_many_who_wait_are_told_together_and_let_go_when_the_server_stops(
    world: World, site: Site, number: int
) -> None:
    first, second = a_job_id(number), a_job_id(number + 500_000)
    begin(site, first)
    begin(site, second)

    def wait(job_id: str) -> tuple[int, str]:
        answer = httpx.get(f"{server.url}/presentations/{job_id}?wait=60", timeout=90)
        return answer.status_code, answer.json()["status"]

    with served(world.url) as server, ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(wait, first) for _ in range(20)]
        httpx.get(f"{server.url}/presentations/{first}", timeout=60)
        end(site, first)
        assert {each.result() for each in waiting} == {(200, "completed")}
        # Asked before the next connection is made, so that the server hears of it first.
        asked = http.client.HTTPConnection(httpx.URL(server.url).netloc.decode(), timeout=90)
        asked.request("GET", f"/presentations/{second}?wait=60")
        with httpx.stream("GET", f"{server.url}/presentations/{second}/events", timeout=90) as events:
            lines = events.iter_lines()
            while not next(lines).startswith("data:"):
                pass
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert not [line for line in lines if line.startswith("data:")]
        with closing(asked):
            answer = asked.getresponse()
            assert (answer.status, json.load(answer)["status"]) == (202, "processing")
        assert server.process.wait(timeout=60) == 0
        assert time.monotonic() - began < 50


def test_tokens_come_from_a_file_and_are_never_shown(tmp_path: Path) -> None:
    database = str(tmp_path / "jobs.db")
    assert call("init", database=database).exit_code == 0
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    tokens.chmod(0o600)
    with served(database, "--tokens-file", str(tokens), "--verbose") as server:
        assert httpx.get(f"{server.url}/metrics", timeout=60).status_code == 401
        told = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{server.url}/metrics", headers=told, timeout=60).is_success
        server.process.send_signal(signal.SIGINT)
        output, errors = server.process.communicate(timeout=60)
    assert server.process.returncode == 0
    assert "GET /metrics" in errors
    assert "Answered 2 requests." in errors
    assert TOKEN not in output + errors


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "no tokens are given"),
        (["--host", "999.1.1.1"], 2, "999.1.1.1"),
        (["--host", "999.1.1.1", "--no-tokens"], 2, "999.1.1.1 port 8080 cannot be listened on"),
        (["--tokens-file", "/no/such/file"], 2, "No such file"),
        (["--tokens-file", "x", "--no-tokens"], 2, "exclude each other"),
        (["--port", "70000"], 2, "--port"),
        (["--max-body", "much"], 2, "--max-body"),
        (["--grace", "soon"], 2, "--grace"),
        (["--cors-origin", "*"], 2, "'*' is no exact origin"),
        (["--database", "/no/such/store.db"], 10, "there is no job store"),
    ],
)
def test_what_cannot_be_served_is_told(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    database = str(tmp_path / "jobs.db")
    call("init", database=database)
    result = call(
        "serve", "--json", *([] if "--database" in arguments else ["--database", database]), *arguments
    )
    document = json.loads(result.stdout)
    assert (result.exit_code, document["exit_code"]) == (code, code)
    assert said in document["errors"][0]["message"]


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    database = str(tmp_path / "jobs.db")
    call("init", database=database)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = call("serve", "--port", port, database=database)
    assert result.exit_code == 2
    assert f"port {port} cannot be listened on" in result.stderr


def test_without_the_extra_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "fastapi" else found(name, *more)
    )
    result = call("serve", database=str(tmp_path / "jobs.db"))
    assert result.exit_code == 2
    assert "the status API needs fastapi, which is not installed" in result.stderr
    assert "pip install 'jobctl[web]'" in result.stderr
    with pytest.raises(ExtraMissing):
        jobctl.web.router()
