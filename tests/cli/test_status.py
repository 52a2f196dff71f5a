"""``jobctl status``: a screen on a terminal, blocks in a pipe, everything in JSON; --watch goes on."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from cli.calling import PROGRAM, Shown, answer, call, on_terminal, read_until
from jobctl import clock
from jobctl.cli.commands import status as status_command
from jobctl.model.health import Diagnosis, Health
from jobctl.model.job import Job
from jobctl.model.standing import Trouble
from jobctl.store import jobs
from jobctl.store.engine import Store
from ops.world import World
from report.test_standing_screen import healthy
from store.records import claim, create

HOSTILE = "\x1b[31mred\x1b[0m [bold]loud[/bold]\nnext\u202e"


@pytest.fixture
def broken(world: World) -> World:
    """A stale job with a hostile id, and an orphan."""
    world.video(0)
    world.scan()
    with world.site() as site, site.store.write() as connection:
        create(connection, HOSTILE)
        claim(connection, HOSTILE)
    return world


def test_a_pipe_gets_the_health_first_and_then_blocks(broken: World) -> None:
    result = call("status", database=broken.url)
    blocks = result.stdout.split("\n\n")
    assert [block.partition("\t")[0] for block in blocks] == [
        *("health", "status", "queue", "worker", "command", "root")
    ]
    first = blocks[0].splitlines()[1].split("\t")
    assert first[:2] == ["warn", "all"]
    assert first[2].startswith("Works, but: 1 job with a stale heartbeat (\\x1b[31mred\\x1b[0m [bold]loud")
    assert result.exit_code == 0
    assert result.stderr == ""


def test_commands_that_are_named_work_on_this_store(broken: World) -> None:
    for told in answer("status", database=broken.url)["data"]["troubles"]:
        assert told["command"].endswith(f" --database {broken.url}")
        assert call(*told["command"].split()[1:]).exit_code in {0, 3, 5}


def test_a_command_with_words_in_quotes_works_on_this_store_too(world: World) -> None:
    at = clock.now() - timedelta(minutes=10)
    with world.site() as site, site.store.write() as connection:
        create(connection, "j1", kind="render", queue="q[red] it's", run_at=at, at=at)
    (told,) = answer("status", database=world.url)["data"]["troubles"]
    words = shlex.split(told["command"])
    assert words[-4:] == ["--queue", "q[red] it's", "--database", world.url]


def test_json_has_everything(broken: World) -> None:
    told = answer("status", database=broken.url)
    data = told["data"]
    assert told["counts"]["processing"] == 1
    assert (data["health"], data["stale_heartbeats"]["jobs"]) == ("warn", 1)
    (root,) = data["roots"]
    assert (root["findings"], root["days_until_full"]) == ({"orphan-video": 1}, None)
    assert root["outlook"].startswith("unknown")
    assert data.keys() >= {"items", "troubles", "changes", "queues", "workers", "unfinished_runs", "now"}


def test_the_exit_code_tells_where_it_is_asked_to(broken: World) -> None:
    assert call("status", "--exit-code", database=broken.url).exit_code == 4
    assert answer("status", "--exit-code", database=broken.url)["status"] == "findings"


def test_nothing_is_said_from_cron_where_all_is_well(world: World, broken: World) -> None:
    del world
    assert call("status", "--quiet", database=broken.url).stdout != ""
    with broken.site() as site, site.store.write() as connection:
        jobs.delete_job(connection, HOSTILE, actor="x", at=clock.now())
    broken.recover()
    result = call("status", "--quiet", "--exit-code", database=broken.url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_both_databases_tell_the_same(store: Store, store_url: str) -> None:
    with store.write() as connection:
        jobs.create_job(connection, Job(job_id="j1"), actor="x", at=clock.now())
    told = answer("status", database=store_url)
    assert (told["counts"]["queued"], told["data"]["changes"]["jobs"]["queued"]) == (1, 1)
    assert told["data"]["queues"][0]["oldest_job"] == "j1"


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_gets_one_screen(broken: World, width: int) -> None:
    shown = on_terminal("status", "--database", broken.url, width=width)
    assert shown.text.startswith("Works, but: 1 job with a stale heartbeat")
    assert all(len(row) <= width for row in shown.text.splitlines())
    assert len(shown.text.splitlines()) < 24
    assert "\x1b[31mred" not in shown.raw
    assert "[bold]loud[/bold]" in "".join(shown.text.split("\n"))


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("3",), "jobctl status --watch 3"),
        (("--watch", "--json"), "jobctl metrics"),
        (("--watch", "0.5"), "jobctl status --help"),
        (("--watch", "nan"), "jobctl status --help"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_does(
    world: World, arguments: tuple[str, ...], hint: str
) -> None:
    result = call("status", *arguments, database=world.url)
    assert result.exit_code == 2
    assert hint in result.stderr + result.stdout


def test_watched_in_a_pipe_it_writes_one_block_after_the_other(world: World) -> None:
    with subprocess.Popen(
        [PROGRAM, "status", "--watch", "1", "--database", world.url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        begun = [line for _, line in zip(range(40), process.stdout, strict=False) if line.startswith("# ")]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert len(begun) >= 2
    assert process.returncode == 0


@contextmanager
def watching(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The program on a terminal, and that terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_watched_on_a_terminal_it_says_when_the_store_is_away_and_comes_back(world: World) -> None:
    with watching("status", "--watch", "1", "--database", world.url) as (process, terminal):
        read_until(terminal, b"Ctrl-C ends")
        os.rename(world.url, f"{world.url}.away")
        read_until(terminal, b"As it was")
        os.rename(f"{world.url}.away", world.url)
        read_until(terminal, b"All is well.")
        process.send_signal(signal.SIGINT)
        rest = read_until(terminal, b"\x1b[?1049l")
        assert process.wait(60) == 0
    # The screen it had for itself is gone, and no trace of how it ended.
    assert "Interrupt" not in Shown(0, rest.decode()).text


@pytest.mark.parametrize(
    ("health", "code"), [(Health.OK, 0), (Health.UNKNOWN, 3), (Health.WARN, 4), (Health.FAIL, 4)]
)
def test_each_health_has_its_exit_code(health: Health, code: int) -> None:
    found = healthy()
    found.troubles = [Trouble("room", Diagnosis(health, "as it is"))]
    assert status_command._code(found, tells=True) == code
    assert status_command._code(found, tells=False) == 0
