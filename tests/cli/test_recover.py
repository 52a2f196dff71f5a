"""Recover, apply, undo: the plan is shown, saved, approved; the answer has one shape."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from cli.calling import answer, call
from ops.world import World, a_job_id


@pytest.fixture
def lost(world: World) -> World:
    """Three videos whose records are lost."""
    for number in range(3):
        world.video(number)
    return world


def test_without_a_terminal_the_plan_is_shown_and_nothing_is_done(lost: World) -> None:
    result = call("recover", database=lost.url)
    assert result.exit_code == 5
    heading, *rows = result.stdout.splitlines()
    assert heading.startswith("verb\tjob_id\t")
    assert len(rows) == 3
    assert "needs a yes" in result.stderr
    assert f"apply them: jobctl recover --yes --database {lost.url}" in result.stderr
    assert "--plan FILE" in result.stderr
    assert lost.job_ids() == set()


def test_the_same_as_json_is_one_object_with_plan_and_error(lost: World) -> None:
    told = answer("recover", database=lost.url)
    assert told["exit_code"] == 5
    assert [error["code"] for error in told["errors"]] == ["approval-needed"]
    assert told["counts"]["planned"] == len(told["data"]["items"]) == 3
    assert {item["result"] for item in told["data"]["items"]} == {None}


def test_the_way_on_repeats_what_was_asked_for(lost: World) -> None:
    result = call("recover", "--root", str(lost.root), "--include-declined", database=lost.url)
    again = f"jobctl recover --root {shlex.quote(str(lost.root))} --include-declined --yes"
    assert again in result.stderr


def test_yes_applies_and_tells_how_to_take_it_back(lost: World) -> None:
    result = call("recover", "--yes", database=lost.url)
    assert result.exit_code == 0
    rows = [line.split("\t") for line in result.stdout.splitlines()[1:]]
    assert {row[0] for row in rows} == {"create"}
    assert "3 done" in result.stderr
    assert lost.job_ids() == {a_job_id(number) for number in range(3)}

    undo = result.stderr.rpartition("To take it back: ")[2].strip()
    assert call(*shlex.split(undo)[1:], "--yes", database=lost.url).exit_code == 0
    assert lost.job_ids() == set()


def test_json_of_an_applied_plan(lost: World) -> None:
    told = answer("recover", "--yes", database=lost.url)
    assert told["run_id"]
    assert told["counts"] == {
        "planned": 3,
        "done": 3,
        "already": 0,
        "skipped": 0,
        "conflict": 0,
        "failed": 0,
    }
    assert told["data"]["undo"] == f"jobctl undo {told['run_id']}"
    assert len(told["data"]["plan_id"]) == 64
    item = told["data"]["items"][0]
    assert item.keys() >= {"verb", "job_id", "path", "from", "to", "reason", "confidence", "result"}
    assert (item["verb"], item["to"], item["result"]) == ("create", "completed", "done")


def test_a_dry_run_shows_and_changes_nothing(lost: World) -> None:
    told = answer("recover", "--dry-run", database=lost.url)
    assert (told["exit_code"], told["counts"]["planned"], told["run_id"]) == (0, 3, None)
    assert lost.job_ids() == set()


def test_findings_nothing_is_done_about_are_told_with_their_reasons(lost: World) -> None:
    lost.file(f"presentation_{a_job_id(7)}.mp4", b"<html>")
    lost.file("temp_composition_1762300800.mp4")
    told = answer("recover", "--dry-run", database=lost.url)["data"]
    assert told["findings"] == {"broken-video": 1, "leftover": 1}
    [broken] = told["told"]
    assert broken["finding"] == "broken-video"
    assert broken["reason"]


def test_a_saved_plan_is_applied_by_apply(lost: World, tmp_path: Path) -> None:
    plan = tmp_path / "a plan"
    saved = call("recover", "--plan", str(plan), database=lost.url)
    assert saved.exit_code == 0
    assert f"jobctl apply '{plan}'" in saved.stderr
    assert lost.job_ids() == set()
    assert call("apply", str(plan), database=lost.url).exit_code == 5
    lost.video(3)
    told = answer("apply", str(plan), "--yes", database=lost.url)
    assert told["counts"]["done"] == 3
    assert a_job_id(3) not in lost.job_ids()


def test_a_plan_does_not_replace_a_file(lost: World, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    plan.write_text("mine")
    assert call("recover", "--plan", str(plan), database=lost.url).exit_code == 2
    assert plan.read_text() == "mine"


def test_undo_shows_first_and_plans_like_recover(lost: World, tmp_path: Path) -> None:
    run_id = answer("recover", "--yes", database=lost.url)["run_id"]
    told = answer("undo", run_id, "--dry-run", database=lost.url)
    assert {item["verb"] for item in told["data"]["items"]} == {"forget"}
    assert call("undo", run_id, database=lost.url).exit_code == 5
    assert len(lost.job_ids()) == 3
    plan = tmp_path / "undo.plan"
    assert call("undo", run_id, "--plan", str(plan), database=lost.url).exit_code == 0
    assert call("apply", str(plan), "--yes", database=lost.url).exit_code == 0
    assert lost.job_ids() == set()


def test_nothing_to_do_is_one_calm_line(world: World) -> None:
    result = call("recover", database=world.url)
    assert (result.exit_code, result.stderr) == (0, "Nothing to do.\n")
    world.file(f"presentation_{a_job_id(7)}.mp4", b"<html>")
    told = call("recover", "--yes", database=world.url)
    assert told.exit_code == 0
    assert told.stderr.startswith("Nothing to do; 1 finding left alone, 'jobctl scan --database ")


def test_quiet_says_nothing_on_success(lost: World) -> None:
    for _ in range(2):
        result = call("recover", "--yes", "--quiet", database=lost.url)
        assert (result.exit_code, result.output) == (0, "")


def test_what_was_skipped_is_told_and_gives_exit_code_3(lost: World, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    call("recover", "--plan", str(plan), database=lost.url)
    lost.video(0, seed=99)
    told = answer("apply", str(plan), "--yes", database=lost.url)
    assert told["exit_code"] == 3
    [skipped] = [item for item in told["data"]["items"] if item["result"] == "skipped"]
    assert skipped["job_id"] == a_job_id(0)
    assert skipped["note"]
    quiet = call("runs", database=lost.url)
    assert quiet.stdout.splitlines()[1].split("\t")[-1] == "3"


def test_runs_are_listed_newest_first_and_shown_step_by_step(lost: World) -> None:
    first = answer("recover", "--yes", database=lost.url)["run_id"]
    second = answer("undo", first, "--yes", database=lost.url)["run_id"]
    runs = answer("runs", database=lost.url)["data"]["items"]
    assert [run["run_id"] for run in runs] == [second, first]
    assert runs[0]["undo_of"] == first
    shown = answer("run", "show", first, database=lost.url)
    assert shown["data"]["run"]["command"] == "recover"
    assert [item["result"] for item in shown["data"]["items"]] == ["done"] * 3
    none = answer("run", "show", first, "--result", "failed", database=lost.url)
    assert none["data"]["items"] == []
    lines = call("run", "show", first, "--jsonl", database=lost.url).stdout.splitlines()
    assert len(lines) == 4
    assert json.loads(lines[-1])["run_id"] == first
