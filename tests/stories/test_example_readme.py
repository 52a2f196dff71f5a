"""What the README of the example says to type is typed, and what it says one sees is seen."""

from __future__ import annotations

import ast
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from stories.example import EXAMPLE
from stories.fleet import until

PATIENCE_S = float(os.environ.get("PATIENCE", "120"))
_HERE = Path(__file__).parent
_PROJECT = tomllib.loads((EXAMPLE.parents[1] / "pyproject.toml").read_text())["project"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the example to play with, and a ``curl`` that waits as its reader does."""
    made = Path(shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__")))
    asking = made / "bin" / "curl"
    asking.parent.mkdir()
    asking.write_text(f'#!/bin/sh\nexec {sys.executable} {_HERE / "asking.py"} "$@"\n')
    asking.chmod(0o755)
    return made


def test_a_job_is_lost_before_and_kept_after(place: Path) -> None:
    lines = told_under("See it lose a job, and keep it")
    said = typed(place, lines)
    job_id = (place / "job").read_text()
    # The first answer is that to the request.
    answers = [line for line in said.splitlines() if line.startswith("{")][1:]
    told = [line.rstrip("…}").replace("JOB", job_id) for line in lines if line.startswith("{")]
    assert [answer[: len(beginning)] for answer, beginning in zip(answers, told, strict=True)] == told


def test_of_three_servers_one_may_die_and_no_poll_is_in_vain(place: Path, sqlite_url: str) -> None:
    (place / "outputs").mkdir()
    (command, *told) = told_under("Three servers")
    with started(place, command, JOBCTL_DATABASE_URL=sqlite_url) as (process, said):
        shown = [next(said) for _ in told]
        assert [without_numbers(line) for line in shown] == [without_numbers(line) for line in told]
        victim = int(shown[1].split()[-1])
        with httpx.Client(base_url=shown[-1].split()[-1], timeout=PATIENCE_S) as client:
            job_id = client.post("/presentations", json={"slides": 2}).json()["jobId"]
            until(lambda: client.get(f"/presentations/{job_id}").json()["status"] == "completed")
            os.kill(victim, signal.SIGKILL)
            assert "server 1 is started again" in next(said)
            # Each request over a connection of its own, so that the next server has its turn.
            polls = [
                httpx.get(f"{client.base_url}/presentations/{job_id}", timeout=PATIENCE_S) for _ in range(6)
            ]
        assert {(each.status_code, each.json()["status"]) for each in polls} == {(200, "completed")}
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_what_the_example_imports_is_what_the_extra_for_the_web_brings() -> None:
    asked = [*_PROJECT["dependencies"], *_PROJECT["optional-dependencies"]["web"]]
    brought = {re.match(r"[\w-]+", each)[0] for each in asked}  # type: ignore[index]
    own = {path.stem for path in EXAMPLE.glob("*.py")} | {"jobctl"}
    imported = {name for path in EXAMPLE.glob("*.py") for name in imports_of(path.read_text())}
    assert imported - own - sys.stdlib_module_names == {"av", "fastapi", "uvicorn"}
    assert {"av", "fastapi", "uvicorn"} <= brought


def told_under(title: str) -> list[str]:
    """The lines of the console blocks of a section, those that are typed beginning with ``$``."""
    section = (EXAMPLE / "README.md").read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    return "".join(re.findall(r"```console\n(.*?)```", section, re.DOTALL)).splitlines()


def typed(place: Path, lines: list[str]) -> str:
    """Type all of it but what installs; what was said to that."""
    script = ["trap 'kill -9 $(jobs -p)' EXIT"]
    port = str(a_free_port())
    for line in (line.removeprefix("$ ") for line in lines if line.startswith("$ ")):
        if line.startswith("pip "):
            continue
        script.append(line.replace("8000", port).replace("/JOB", "/$(cat job)"))
        if line.startswith("kill "):
            # Whoever types is slower than the kernel.
            script.append("wait $!")
    with started(place, "bash -c " + shlex.quote("\n".join(script))) as (_, said):
        return "".join(said)


@contextmanager
def started(place: Path, command: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """A command of the README, and the lines it says; gone with all it started when the block ends."""
    words = shlex.split(command.removeprefix("$ ").replace("--port 8080", "--port 0"))
    paths = [str(place / "bin"), os.path.dirname(sys.executable), os.environ["PATH"]]
    process = subprocess.Popen(
        words,
        cwd=place,
        env={**os.environ, "PATH": os.pathsep.join(paths), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def without_numbers(line: str) -> str:
    return re.sub(r"\d+", "N", line.strip())


def a_free_port() -> int:
    """A port that is free, and no connection is given while nobody listens there."""
    given_out_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(given_out_from // 2, given_out_from)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def imports_of(source: str) -> Iterator[str]:
    """The first names of the modules that are imported."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
