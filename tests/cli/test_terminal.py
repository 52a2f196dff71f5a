"""The installed program on a real terminal."""

from __future__ import annotations

import os

import pytest

from cli.calling import on_terminal
from ops.world import World, a_job_id


@pytest.fixture
def lost(world: World) -> World:
    """Seven videos whose records are lost."""
    for number in range(7):
        world.video(number)
    return world


@pytest.mark.parametrize("width", [80, 200])
def test_a_scan_shows_sums_and_a_few_examples_and_the_way_on(lost: World, width: int) -> None:
    shown = on_terminal("scan", "--database", lost.url, width=width)
    assert shown.returncode == 0
    screen = shown.text[shown.text.index("Compared") :]
    assert "Compared 7 files" in screen
    assert screen.count("presentation_") == 5
    said = " ".join(screen.split())
    assert "… 2 more: jobctl scan --finding orphan-video" in said
    assert "Next: jobctl recover" in said
    assert all(len(line) <= width for line in screen.splitlines())


def test_asked_for_one_kind_all_of_it_is_shown(lost: World) -> None:
    shown = on_terminal("scan", "--finding", "orphan-video", "--database", lost.url)
    assert shown.text.count("presentation_") == 7


def test_recover_shows_asks_and_applies(lost: World) -> None:
    shown = on_terminal("recover", "--database", lost.url, typed=b"y\n")
    assert shown.returncode == 0
    assert "Plan: 7 steps" in shown.text
    assert "Apply 7 steps? [y/N]:" in shown.text
    assert "7 done." in shown.text
    assert "To take it back: jobctl undo " in " ".join(shown.text.split())
    assert len(lost.job_ids()) == 7


@pytest.mark.parametrize(("typed", "code"), [(b"n\n", 5), (b"\n", 5), (b"\x04", 130)])
def test_anything_but_yes_changes_nothing(lost: World, typed: bytes, code: int) -> None:
    shown = on_terminal("recover", "--database", lost.url, typed=typed)
    assert shown.returncode == code
    assert lost.job_ids() == set()


def test_json_is_the_same_on_a_terminal_and_asks_nothing(lost: World) -> None:
    shown = on_terminal("recover", "--json", "--quiet", "--database", lost.url)
    assert shown.returncode == 5
    assert shown.raw.startswith('{"schema":"jobctl/v1"')


def test_ages_and_sizes_are_for_people(world: World) -> None:
    world.start_job(0)
    shown = on_terminal("list", "--database", world.url)
    assert [line.split() for line in shown.text.splitlines()] == [
        ["job", "id", "status", "progress", "age", "task"],
        [a_job_id(0), "processing", "75", "%", "2", "h", "presentation"],
    ]


def test_no_color_means_no_colour(world: World) -> None:
    arguments = ("show", "nope", "--database", world.url)
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b[3" not in on_terminal(*arguments, env=env).raw


def test_a_hostile_name_reaches_no_terminal(world: World) -> None:
    place = world.root / os.fsdecode(b"\x1b]0;owned\x07\xff[bold]\n")
    place.mkdir()
    world.video(0).rename(place / f"presentation_{a_job_id(0)}.mp4")
    shown = on_terminal("scan", "--database", world.url, width=160)
    assert "\x1b]0;" not in shown.raw
    assert "\x07" not in shown.raw
    assert "\\x1b]0;owned\\x07\\xff[bold]\\n/presentation_" in shown.text
