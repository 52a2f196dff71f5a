"""``jobctl events`` as scripts and people call it."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from cli.calling import PROGRAM, answer, call, on_terminal
from ops.world import World, a_job_id


@pytest.fixture
def busy(world: World) -> World:
    """Three jobs, one after the other: created, taken, the first one completed: seven events."""
    for number in range(3):
        world.start_job(number, ago_s=3_600.0 * (3 - number))
    world.finish_job(0)
    return world


def listed(world: World, *options: str) -> list[int]:
    return [event["event_id"] for event in answer("events", *options, database=world.url)["data"]["items"]]


def test_the_newest_is_the_last_line_as_in_a_log(busy: World) -> None:
    heading, *rows = call("events", database=busy.url).stdout.splitlines()
    assert heading.split("\t") == [
        *("event_id", "at", "job_id", "kind", "from", "to", "cause", "actor", "run_id", "attempt", "reason")
    ]
    assert [row.split("\t")[0] for row in rows] == ["1", "2", "3", "4", "5", "6", "7"]
    assert rows[-1].split("\t")[4:7] == ["processing", "completed", "executor"]
    assert listed(busy, "--reverse") == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--to", "processing"], [2, 4, 6]),
        (["--from", "processing", "--to", "completed"], [7]),
        (["--event", "created"], [1, 3, 5]),
        (["--cause", "claim", a_job_id(1)], [4]),
        (["--owner", "ada", "--kind", "presentation", "--queue", "default", "--limit", "2"], [6, 7]),
        (["--owner", "nobody"], []),
        (["--until", "150m"], [1, 2]),
        (["--since", "150m", "--until", "90m"], [3, 4]),
        (["--text", a_job_id(2)], [5, 6]),
        (["--after", "4"], [5, 6, 7]),
        (["--after", "2", "--limit", "2"], [3, 4]),
        (["--before", "4"], [1, 2, 3]),
        (["--before", "4", "--limit", "1", "--reverse"], [3]),
    ],
)
def test_filters_and_pages(busy: World, options: list[str], numbers: list[int]) -> None:
    assert listed(busy, *options) == numbers


def test_a_script_goes_on_where_a_page_ended(busy: World) -> None:
    data = answer("events", "--after", "0", "--limit", "3", database=busy.url)["data"]
    assert (data["next"], data["previous"], data["has_more"]) == (3, None, True)
    data = answer("events", "--after", "3", "--limit", "50", database=busy.url)["data"]
    assert (data["next"], data["has_more"]) == (7, False)
    # Nothing new: the same place again.
    data = answer("events", "--after", "7", "--limit", "50", database=busy.url)["data"]
    assert (data["items"], data["next"]) == ([], 7)
    data = answer("events", "--limit", "2", database=busy.url)["data"]
    assert (data["previous"], data["has_more"]) == (6, True)


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (["--since", "soon"], "--since 'soon' is neither an age nor a time", "yesterday 10:00"),
        (["--since", "1h", "--until", "2h"], "nothing lies between", "--since"),
        (["--follow", "--json"], "--json is one object", "--jsonl"),
        (["--follow", "--reverse"], "--reverse", "leave out --reverse"),
        (["--follow", "--until", "1h"], "--until", "leave out --until"),
        (["--to", "zombie"], "zombie", "--help"),
        (["--limit", "0"], "--limit", "--help"),
        (["nope"], "there is no history of a job nope", "jobctl show nope"),
    ],
)
def test_bad_input_is_told_with_a_next_step(busy: World, options: list[str], said: str, hint: str) -> None:
    result = call("events", *options, database=busy.url)
    assert result.exit_code == 2
    if "--json" in options:
        [error] = json.loads(result.stdout)["errors"]
        told = [error["message"], error["hint"]]
    else:
        told = result.stderr.splitlines()
    assert said in told[0]
    assert hint in told[1]
    assert "Traceback" not in result.output


def test_a_terminal_shows_a_page_and_how_to_see_more(busy: World) -> None:
    shown = on_terminal("events", "--limit", "2", "--database", busy.url, width=80)
    lines = shown.text.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["at", "job", "id", "what"],
        [*lines[1].split()[:2], a_job_id(2), "queued", "→", "processing"],
        [*lines[2].split()[:2], a_job_id(0), "processing", "→", "completed"],
    ]
    assert re.fullmatch(r"\d\d-\d\d \d\d:\d\d:\d\d", " ".join(lines[1].split()[:2]))
    assert lines[3] == "There are earlier ones; to go on, add --before 6"
    assert max(map(len, lines)) <= 80


def test_following_shows_what_was_and_what_comes_until_ctrl_c(busy: World) -> None:
    with subprocess.Popen(
        [PROGRAM, "events", "--follow", "--limit", "1", "--jsonl", "--database", busy.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert json.loads(following.stdout.readline())["event_id"] == 7
        busy.queue_job(3)
        assert json.loads(following.stdout.readline())["job_id"] == a_job_id(3)
        following.send_signal(signal.SIGINT)
        rest, said = following.stdout.read(), following.stderr.read()
    assert (following.returncode, rest, said) == (0, "", "")
