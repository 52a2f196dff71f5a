"""Duplicates: what the command tells in each form, and its exit codes."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from cli.calling import answer, call, commands_in, on_terminal
from ops.world import Calendar, World, a_job_id

FIELDS = {"group", "kind", "role", "job_id", "root_id", "path", "bytes", "reason", "may_go"}


def name(number: int) -> str:
    return f"presentation_{a_job_id(number)}.mp4"


def with_copies(world: World) -> World:
    """A recorded video, a copy of it, and a second name of that copy's file."""
    world.video(0)
    world.recover()
    world.video(1, seed=0)
    world.video(2, seed=2)
    os.link(world.root / name(2), world.root / name(3))
    return world


def test_json_lists_the_files_of_each_group_with_their_parts(world: World) -> None:
    told = answer("duplicates", database=with_copies(world).url)
    items = {item["path"]: item for item in told["data"]["items"]}
    assert all(item.keys() == FIELDS for item in items.values())
    assert {path: (item["role"], item["may_go"]) for path, item in items.items()} == {
        name(0): ("keeper", False),
        name(1): ("copy", True),
        name(2): ("keeper", False),
        name(3): ("same-file", False),
    }
    size = (world.root / name(0)).stat().st_size
    assert {item["kind"] for item in items.values()} == {"bytes"}
    assert (items[name(1)]["job_id"], items[name(1)]["bytes"]) == (a_job_id(1), size)
    assert items[name(0)]["group"] == items[name(1)]["group"] != items[name(2)]["group"]
    assert told["counts"] == {"bytes": 2, "request": 0}
    assert (told["data"]["videos"], told["data"]["bytes_to_save"]) == (4, size)
    assert (told["exit_code"], told["data"]["complete"], told["data"]["left_out"]) == (0, True, [])


def test_a_stream_is_one_file_a_line_and_ends_with_the_counts(world: World) -> None:
    result = call("duplicates", "--jsonl", database=with_copies(world).url)
    *items, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert [item["role"] for item in items].count("keeper") == 2
    assert last["counts"]["bytes"] == 2


def test_off_a_terminal_it_is_a_table_of_tabs_with_the_sum_on_stderr(world: World) -> None:
    result = call("duplicates", database=with_copies(world).url)
    heading, *rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert set(heading) == FIELDS
    assert len(rows) == 4
    assert {len(row) for row in rows} == {len(heading)}
    assert {row[heading.index("may_go")] for row in rows} == {"yes", "no"}
    assert "Compared 4 videos: 2 groups of the same bytes (" in result.stderr


def test_a_terminal_shows_the_groups_with_their_reasons(world: World) -> None:
    shown = on_terminal("duplicates", "--database", with_copies(world).url, width=120)
    assert shown.returncode == 0
    assert f"it stays: the record of job {a_job_id(0)} names it" in shown.text
    assert f"nothing refers to it, and {name(0)} has the same bytes" in shown.text
    assert "may go" in shown.text
    assert shown.text.rindex("Compared 4 videos") > shown.text.rindex("comparing bytes")


def test_only_bytes_or_only_requests(world: World) -> None:
    with_copies(world)
    assert answer("duplicates", "--by", "bytes", database=world.url)["counts"]["bytes"] == 2
    assert answer("duplicates", "--by", "request", database=world.url)["data"]["items"] == []
    assert call("duplicates", "--by", "name", database=world.url).exit_code == 2


def test_where_nothing_is_there_twice_it_says_so_or_nothing(world: World) -> None:
    world.video(0)
    result = call("duplicates", database=world.url)
    assert "Compared 1 video: no duplicates." in result.stderr
    quiet = call("duplicates", "--quiet", database=world.url)
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_what_could_not_be_compared_is_told_with_exit_3(world: World) -> None:
    with_copies(world)
    answer("duplicates", database=world.url)
    with open(world.root / name(1), "ab"):
        told = answer("duplicates", database=world.url)
    assert told["exit_code"] == 3
    [left] = told["data"]["left_out"]
    assert (left["path"], left["reason"]) == (name(1), "it is open for writing")
    assert told["warnings"] == [f"{name(1)} in {left['root_id']} was left out: it is open for writing"]
    assert not told["data"]["complete"]


def test_a_root_that_is_away_is_an_error_and_the_rest_is_told(world: World, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    call("init", "--root", str(second), database=world.url)
    with_copies(world)
    second.rename(tmp_path / "away")
    told = answer("duplicates", database=world.url)
    assert told["exit_code"] == 14
    assert [error["code"] for error in told["errors"]] == ["root-unavailable"]
    assert told["counts"]["bytes"] == 2


def test_hostile_names_come_whole_and_harmless(world: World) -> None:
    for number, directory in enumerate([b"\x1b[31mred", b"a\nb", b"[bold]", b"caf\xe9"]):
        place = world.root / os.fsdecode(directory)
        place.mkdir()
        world.video(number, seed=0).rename(place / name(number))
    text = call("duplicates", database=world.url)
    assert "\x1b" not in text.output
    assert {line.count("\t") for line in text.stdout.splitlines()} == {8}
    items = answer("duplicates", database=world.url)["data"]["items"]
    [odd] = [item for item in items if "path_b64" in item]
    assert base64.b64decode(odd["path_b64"]) == b"caf\xe9/" + name(3).encode()
    shown = on_terminal("duplicates", "--database", world.url, width=160)
    assert "[bold]" in shown.text
    assert "\x1b[31mred" not in shown.raw


# --- into quarantine --------------------------------------------------------------------------


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Calendar:
    return Calendar(monkeypatch)


def test_copies_are_moved_after_a_yes_and_come_back_with_undo(world: World, calendar: Calendar) -> None:
    world.video(0)
    world.recover()
    copy = world.video(1, seed=0)
    answer("duplicates", database=world.url)
    calendar.pass_(hours=25)
    refused = answer("duplicates", "--quarantine", database=world.url)
    assert (refused["exit_code"], copy.exists()) == (5, True)
    assert "jobctl duplicates --quarantine --yes" in refused["errors"][0]["hint"]
    shown = answer("duplicates", "--quarantine", "--dry-run", database=world.url)
    [step] = shown["data"]["items"]
    assert (step["verb"], step["path"], step["result"]) == ("quarantine", name(1), None)
    done = answer("duplicates", "--quarantine", "--yes", database=world.url)
    assert (done["exit_code"], done["counts"]["done"], copy.exists()) == (0, 1, False)
    assert answer("undo", done["run_id"], "--yes", database=world.url)["counts"]["done"] == 1
    assert copy.exists()


def test_a_plan_is_saved_for_apply(world: World, calendar: Calendar, tmp_path: Path) -> None:
    world.video(0)
    copy = world.video(1, seed=0)
    call("duplicates", database=world.url)
    calendar.pass_(hours=25)
    plan = str(tmp_path / "plan")
    assert call("duplicates", "--quarantine", "--plan", plan, database=world.url).exit_code == 0
    assert answer("apply", plan, "--yes", database=world.url)["counts"]["done"] == 1
    assert not copy.exists()


def test_without_quarantine_there_is_nothing_to_agree_to(world: World, tmp_path: Path) -> None:
    for options in (["--yes"], ["--dry-run"], ["--plan", str(tmp_path / "p")], ["--allow", "duplicate=9"]):
        told = answer("duplicates", *options, database=world.url)
        assert (told["exit_code"], told["errors"][0]["code"]) == (2, "usage")


def test_requests_are_never_moved(world: World) -> None:
    told = answer("duplicates", "--by", "request", "--quarantine", database=world.url)
    assert (told["exit_code"], told["errors"][0]["code"]) == (2, "usage")


@pytest.mark.parametrize("given", ["duplicate", "duplicate=", "duplicate=x", "duplicate=-1", "other=3", "=3"])
def test_what_may_pass_a_brake_is_a_class_and_a_number(world: World, given: str) -> None:
    told = answer("duplicates", "--quarantine", "--allow", given, database=world.url)
    assert told["exit_code"] == 2
    assert "--allow duplicate=100" in told["errors"][0]["hint"]


def test_a_brake_is_let_pass_by_its_number(world: World, calendar: Calendar) -> None:
    content = world.video(0).read_bytes()
    world.recover()
    for number in range(1, 23):
        world.file(name(number), content)
    call("duplicates", database=world.url)
    calendar.pass_(hours=25)
    held = answer("duplicates", "--quarantine", "--yes", database=world.url)
    assert held["counts"]["planned"] == 0
    sees, passes = commands_in(held["errors"][0]["hint"])
    assert len(answer(*sees)["data"]["items"]) == 23
    done = answer(*passes)
    assert done["counts"]["done"] == 22
