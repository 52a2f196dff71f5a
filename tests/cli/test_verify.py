"""Verify: what the command tells in each form, and its exit codes."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from cli.calling import answer, call, on_terminal
from ops.world import Calendar, World, a_job_id

FIELDS = {"difference", "root_id", "run_id", "seq", "job_id", "path", "reason", "mend"}


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Calendar:
    return Calendar(monkeypatch)


def in_quarantine(world: World, calendar: Calendar, *names: str) -> str:
    """Move files into quarantine; give the run."""
    for name in names:
        world.file(name)
    answer("scan", "--full", database=world.url)
    calendar.pass_(hours=25)
    done = answer("cleanup", "--yes", database=world.url)
    assert done["counts"]["done"] == len(names)
    return str(done["run_id"])


def without_journal(world: World, run_id: str) -> None:
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM run_action WHERE run_id = '{run_id}'")


@pytest.fixture
def unjournalled(world: World, calendar: Calendar) -> str:
    """The run of a file in quarantine of which the journal knows nothing."""
    run_id = in_quarantine(world, calendar, "temp_composition_0.mp4")
    without_journal(world, run_id)
    return run_id


def test_where_all_agrees_one_line_says_how_much_was_compared(world: World, calendar: Calendar) -> None:
    in_quarantine(world, calendar, "temp_composition_0.mp4", "temp_composition_1.mp4")
    world.video()
    world.recover()
    result = call("verify", "--exit-code", database=world.url)
    line = "Compared 1 file of a record and 2 entries of quarantine (1 run): all agree.\n"
    assert (result.exit_code, result.stderr) == (0, line)
    quiet = call("verify", "--quiet", database=world.url)
    assert (quiet.exit_code, quiet.output) == (0, "")
    told = answer("verify", database=world.url)
    assert told["data"] == {
        "items": [],
        "compared": {"runs": 1, "entries": 2, "artifacts": 1},
        "in_progress": [],
    }


def test_json_names_each_difference_and_the_command_that_mends_it(world: World, unjournalled: str) -> None:
    told = answer("verify", database=world.url)
    [item] = told["data"]["items"]
    assert item.keys() == FIELDS
    assert (item["difference"], item["run_id"], item["path"]) == (
        "unjournalled",
        unjournalled,
        "temp_composition_0.mp4",
    )
    assert (told["exit_code"], told["counts"]) == (0, {"unjournalled": 1})
    words = item["mend"].removeprefix("jobctl ").split()
    assert answer(*words, "--yes", database=world.url)["counts"]["done"] == 1
    assert answer("verify", database=world.url)["data"]["items"] == []


def test_a_stream_is_one_difference_a_line_and_ends_with_the_counts(world: World, unjournalled: str) -> None:
    item, last = map(json.loads, call("verify", "--jsonl", database=world.url).stdout.splitlines())
    assert (item["run_id"], last["counts"]) == (unjournalled, {"unjournalled": 1})


@pytest.mark.usefixtures("unjournalled")
def test_exit_4_is_asked_for(world: World) -> None:
    assert call("verify", database=world.url).exit_code == 0
    assert call("verify", "--exit-code", database=world.url).exit_code == 4


@pytest.mark.usefixtures("unjournalled")
def test_off_a_terminal_it_is_a_table_of_tabs(world: World) -> None:
    result = call("verify", database=world.url)
    heading, row = (line.split("\t") for line in result.stdout.splitlines())
    assert set(heading) == FIELDS
    assert len(row) == len(heading)
    assert result.stderr.endswith(": 1 difference.\n")


def test_a_terminal_shows_what_differs_why_and_what_mends_it_here(world: World, unjournalled: str) -> None:
    shown = on_terminal("verify", "--database", world.url, width=200)
    assert shown.returncode == 0
    assert "a file is in quarantine, and the journal does not say so" in shown.text
    again = f"jobctl quarantine restore {unjournalled}/1 --database {world.url}"
    assert again in shown.text.replace("\n", "")


def test_what_could_not_be_read_is_exit_3(world: World) -> None:
    (world.root / "loop").symlink_to("loop")
    world.video()
    world.recover()
    with world.site() as site, site.store.write() as connection:
        connection.exec_driver_sql("UPDATE artifact SET path = 'loop/a.mp4'")
    told = answer("verify", database=world.url)
    assert (told["exit_code"], told["warnings"]) == (3, ["1 file could not be looked at"])


def test_a_root_that_is_away_is_exit_14_and_the_rest_is_told(
    world: World, unjournalled: str, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    second.mkdir()
    call("init", "--root", str(second), database=world.url)
    second.rename(tmp_path / "away")
    told = answer("verify", "--exit-code", database=world.url)
    assert (told["exit_code"], told["counts"]) == (14, {"unjournalled": 1})
    assert [error["code"] for error in told["errors"]] == ["root-unavailable"]
    assert answer("verify", "--root", str(world.root), database=world.url)["exit_code"] == 0
    assert answer("verify", "--root", str(tmp_path), database=world.url)["exit_code"] == 14
    assert unjournalled


def test_hostile_names_come_whole_and_harmless(world: World, calendar: Calendar) -> None:
    directories = ["\x1b[31mred", "a\nb", "[bold]", os.fsdecode(b"caf\xe9")]
    run_id = in_quarantine(
        world, calendar, *(f"{name}/temp_composition_{number}.mp4" for number, name in enumerate(directories))
    )
    without_journal(world, run_id)
    text = call("verify", database=world.url)
    assert "\x1b" not in text.output
    assert {line.count("\t") for line in text.stdout.splitlines()} == {len(FIELDS) - 1}
    items = answer("verify", database=world.url)["data"]["items"]
    [odd] = [item for item in items if "path_b64" in item]
    assert base64.b64decode(odd["path_b64"]) == b"caf\xe9/temp_composition_3.mp4"
    shown = on_terminal("verify", "--database", world.url, width=160)
    assert "[bold]" in shown.text
    assert "\x1b[31mred" not in shown.raw


def test_a_job_id_in_a_suggested_command_is_one_word_of_the_shell(world: World) -> None:
    world.video()
    world.recover()
    with world.site() as site, site.store.write() as connection:
        for table in ("job", "artifact"):
            connection.exec_driver_sql(f"UPDATE {table} SET job_id = 'a; rm -rf x'")
        connection.exec_driver_sql("UPDATE artifact SET state = 'purged'")
    [item] = answer("verify", database=world.url)["data"]["items"]
    assert item["mend"] == f"jobctl show 'a; rm -rf x' --database {world.url}"
    assert a_job_id() not in item["mend"]


def test_what_could_not_be_read_is_not_said_to_agree(world: World) -> None:
    world.root.rename(world.root.with_name("away"))
    result = call("verify", database=world.url)
    assert result.exit_code == 14
    assert "no difference in what could be read" in result.stderr
    assert "all agree" not in result.stderr
