"""Scan: what it tells in each form, filters, exit codes."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from cli.calling import answer, call
from ops.world import World, a_job_id, set_age

HOSTILE = (b"line\nbreak", b"\x1b[31mred\x1b[0m", b"[bold red]loud", b"caf\xe9", "right\u202eleft".encode())


@pytest.fixture
def busy(world: World) -> World:
    """A whole orphan, a broken one, a leftover, a thumbnail of a job without record or video."""
    world.video(0)
    world.file(f"presentation_{a_job_id(1)}.mp4", b"<html>")
    world.file("temp_composition_1762300800.mp4")
    world.file(f"thumbnail_{a_job_id(2)}.jpg")
    return world


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_counts_by_finding_and_lists_each(busy: World) -> None:
    told = answer("scan", database=busy.url)
    expected = {"orphan-video": 1, "broken-video": 1, "leftover": 1, "lost": 1}
    assert {kind: count for kind, count in told["counts"].items() if count} == expected
    items = {item["finding"]: item for item in told["data"]["items"]}
    assert items.keys() == expected.keys()
    orphan = items["orphan-video"]
    assert orphan["job_id"] == a_job_id(0)
    assert orphan["path"] == f"presentation_{a_job_id(0)}.mp4"
    assert (orphan["verdict"], orphan["tier"]) == ("whole", "1b")
    assert orphan["bytes"] == (busy.root / orphan["path"]).stat().st_size
    assert orphan["reason"]


def test_a_stream_is_one_item_a_line_and_ends_with_the_counts(busy: World) -> None:
    *items, last = lines_of(call("scan", "--jsonl", database=busy.url).stdout)
    assert [item["finding"] for item in items] == [
        item["finding"] for item in answer("scan", database=busy.url)["data"]["items"]
    ]
    assert last["schema"] == "jobctl/v1"
    assert last["counts"]["orphan-video"] == 1  # type: ignore[index]


def test_off_a_terminal_it_is_a_table_of_tabs_with_the_sums_on_stderr(busy: World) -> None:
    result = call("scan", database=busy.url)
    heading, *rows = (line.split("\t") for line in result.stdout.splitlines())
    assert heading == ["finding", "job_id", "root_id", "path", "verdict", "tier", "bytes", "reason"]
    assert {row[0] for row in rows} == {"orphan-video", "broken-video", "leftover", "lost"}
    assert {len(row) for row in rows} == {len(heading)}
    assert "1 orphan-video, 1 broken-video" in result.stderr


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (["--finding", "orphan-video"], {"orphan-video"}),
        (["--finding", "orphan-video", "--finding", "lost"], {"orphan-video", "lost"}),
        (["--job", a_job_id(1)], {"broken-video"}),
        (["--since", "1h"], set()),
        (["--since", "3h"], {"orphan-video", "broken-video", "leftover", "lost"}),
    ],
)
def test_filters(busy: World, options: list[str], kinds: set[str]) -> None:
    told = answer("scan", *options, database=busy.url)
    assert {item["finding"] for item in told["data"]["items"]} == kinds
    assert {kind for kind, count in told["counts"].items() if count} == kinds


def test_all_lists_the_files_nothing_is_wrong_with(world: World) -> None:
    world.video(0)
    world.recover()
    assert answer("scan", database=world.url)["data"]["items"] == []
    [item] = answer("scan", "--all", database=world.url)["data"]["items"]
    assert item["finding"] is None
    assert item["job_id"] == a_job_id(0)
    assert item["verdict"] == "whole"


def test_exit_code_4_only_when_asked_and_only_for_what_needs_a_look(busy: World) -> None:
    assert call("scan", database=busy.url).exit_code == 0
    assert call("scan", "--exit-code", database=busy.url).exit_code == 4
    for path in busy.root.glob("*_*-*"):
        path.unlink()
    assert call("scan", "--exit-code", database=busy.url).exit_code == 0
    assert call("scan", "--exit-code", "--finding", "leftover", database=busy.url).exit_code == 4


def test_quiet_says_nothing_when_all_is_well_and_tells_what_is_not(world: World) -> None:
    world.file("temp_composition_1762300800.mp4")
    calm = call("scan", "--quiet", database=world.url)
    assert (calm.exit_code, calm.output) == (0, "")
    world.video(0)
    told = call("scan", "--quiet", database=world.url)
    assert "orphan-video" in told.stdout
    assert told.stderr == ""


def test_a_root_that_is_away_is_an_error_and_the_rest_is_told(world: World, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    call("init", "--root", str(second), database=world.url)
    world.video(0)
    second.rename(tmp_path / "away")
    told = answer("scan", database=world.url)
    assert told["exit_code"] == 14
    assert [error["code"] for error in told["errors"]] == ["root-unavailable"]
    assert told["counts"]["orphan-video"] == 1
    text = call("scan", database=world.url)
    assert "orphan-video" in text.stdout
    assert f"error: root {second}" in text.stderr


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_harmless_in_every_form(world: World, name: bytes) -> None:
    place = world.root / os.fsdecode(name)
    place.mkdir()
    world.video(0).rename(place / f"presentation_{a_job_id(0)}.mp4")
    set_age(place / f"presentation_{a_job_id(0)}.mp4", 7_200)

    text = call("scan", database=world.url).stdout
    assert len(text.splitlines()) == 2
    assert all(char.isprintable() or char in "\t\n" for char in text)

    for form in ("--json", "--jsonl"):
        assert call("scan", form, database=world.url).stdout.isascii()
    [item] = answer("scan", database=world.url)["data"]["items"]
    true_path = os.path.join(name, f"presentation_{a_job_id(0)}.mp4".encode())
    if "path_b64" in item:
        assert base64.b64decode(item["path_b64"]) == true_path
    else:
        assert item["path"].encode() == true_path
