"""Expire, cleanup, quarantine, verify and status on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.calling import answer, call, commands_in, on_terminal
from jobctl.cli.recording import recorded
from ops.world import World, a_job_id

POLICY = """
[expire]
retain = { completed = "0.000001s" }
[cleanup]
grace = "0.000001s"
[quarantine]
retention = "0.000001s"
"""


@pytest.fixture
def tidy(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A site whose graces are over at once, seen by a first complete walk."""
    (tmp_path / "jobctl.toml").write_text(POLICY)
    monkeypatch.setenv("JOBCTL_CONFIG", str(tmp_path / "jobctl.toml"))
    world.video(0)
    assert call("recover", "--yes", database=world.url).exit_code == 0
    world.file("temp_composition_1.mp4", b"one")
    world.file("evil\n\x1b[31mname/temp_composition_2.mp4", b"two")
    assert call("scan", "--full", database=world.url).exit_code == 0
    return world


def entries(world: World) -> list[dict[str, object]]:
    return list(answer("quarantine", "list", database=world.url)["data"]["items"])


def test_cleanup_answers_with_steps_what_it_kept_and_the_room_there_is(tidy: World) -> None:
    told = answer("cleanup", "--yes", "--explain", database=tidy.url)
    assert told["counts"]["done"] == 2
    assert [item["verb"] for item in told["data"]["items"]] == ["quarantine", "quarantine"]
    (space,) = told["data"]["space"]
    assert (space["planned"], space["quarantined"], space["quarantined_after"]) == (6, 0, 6)
    assert told["data"]["held"] == []
    assert told["data"]["undo"] == f"jobctl undo {told['run_id']}"


def test_what_is_kept_is_listed_with_its_reason_where_it_is_asked_for(tidy: World) -> None:
    tidy.video(5)
    told = answer("cleanup", "--dry-run", "--explain", database=tidy.url)
    kept = [item for item in told["data"]["items"] if item["verb"] == "keep"]
    assert [(item["job_id"], item["result"]) for item in kept] == [(a_job_id(5), None)]
    assert "would rebuild its record" in kept[0]["reason"]
    assert answer("cleanup", "--dry-run", database=tidy.url)["data"]["kept"] == 1


def test_entries_are_listed_shown_given_back_and_purged(tidy: World) -> None:
    call("cleanup", "--yes", database=tidy.url)
    first, second = entries(tidy)
    shown = answer("quarantine", "show", str(first["entry"]), database=tidy.url)["data"]
    assert (shown["path"], shown["state"], shown["bytes"]) == (first["path"], "quarantined", 3)
    restored = answer("quarantine", "restore", str(first["entry"]), "--yes", database=tidy.url)
    assert (restored["counts"]["done"], restored["data"]["undo"]) == (1, None)
    again = answer("quarantine", "restore", str(first["entry"]), "--yes", database=tidy.url)
    assert (again["exit_code"], again["counts"]["planned"]) == (0, 0)
    purged = answer("quarantine", "purge", "--yes", database=tidy.url)
    assert purged["counts"]["done"] == 1
    assert entries(tidy) == []
    everything = answer("quarantine", "list", "--all", database=tidy.url)["data"]["items"]
    assert {item["state"] for item in everything} == {"restored", "purged"}
    assert answer("verify", database=tidy.url)["data"]["items"] == []
    assert second["entry"] != first["entry"]


def test_a_purge_cannot_be_taken_back_and_says_so(tidy: World) -> None:
    call("cleanup", "--yes", database=tidy.url)
    run = answer("quarantine", "purge", "--yes", database=tidy.url)["run_id"]
    refused = call("undo", str(run), "--yes", database=tidy.url)
    assert refused.exit_code == 2
    assert "cannot be taken back: it was a purge" in refused.stderr


def test_off_a_terminal_a_yes_is_needed(tidy: World) -> None:
    for command in (["cleanup"], ["expire"]):
        result = call(*command, database=tidy.url)
        assert (result.exit_code, "needs a yes" in result.stderr) == (5, True)
    assert len(tidy.tree()) == 3


def test_from_cron_success_is_silent_and_anything_else_one_line(tidy: World) -> None:
    quiet = call("cleanup", "--yes", "--quiet", database=tidy.url)
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")
    leftover = tidy.file("temp_composition_9.mp4")
    call("scan", "--full", database=tidy.url)
    with leftover.open("ab"):
        result = call("cleanup", "--yes", "--quiet", database=tidy.url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1
    assert "1 skipped; see: jobctl run show" in result.stderr


def test_a_brake_says_what_it_holds_why_and_how_to_let_it_pass(tidy: World) -> None:
    for number in range(10, 40):
        tidy.file(f"temp_composition_{number}.mp4")
    call("scan", "--full", database=tidy.url)
    result = call("cleanup", "--yes", database=tidy.url)
    assert result.exit_code == 13
    assert "a brake holds 32 files" in result.stderr
    assert "32 of 33 files, more than one in ten" in result.stderr
    [error] = answer("cleanup", "--yes", "--database", tidy.url)["errors"]
    sees, passes = commands_in(error["hint"])
    assert "held by a brake; else: " in call(*sees).stdout
    assert answer(*passes)["counts"]["done"] == 32


def test_a_brake_on_a_saved_plan_is_let_pass_by_a_new_one(tidy: World, tmp_path: Path) -> None:
    for number in range(10, 40):
        tidy.file(f"temp_composition_{number}.mp4")
    call("scan", "--full", database=tidy.url)
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert call("cleanup", "--plan", first, database=tidy.url).exit_code == 13
    [error] = answer("apply", first, "--yes", "--database", tidy.url)["errors"]
    [anew] = commands_in(error["hint"])
    assert call(*(second if word == "FILE" else word for word in anew)).exit_code == 0
    assert answer("apply", second, "--yes", database=tidy.url)["counts"]["done"] == 32


def test_what_is_said_to_apply_a_plan_keeps_to_its_limits(tidy: World) -> None:
    limits = ("--max-bytes", "1k", "--allow", "leftover=7", "--older-than", "0s")
    shown = call("cleanup", "--dry-run", *limits, database=tidy.url)
    [again] = commands_in(shown.stderr[shown.stderr.index("to apply this: ") :])
    assert set(limits) <= set(again)


def test_a_saved_plan_moves_what_it_says_and_nothing_else(tidy: World, tmp_path: Path) -> None:
    plan = str(tmp_path / "plan")
    assert call("cleanup", "--plan", plan, database=tidy.url).exit_code == 0
    tidy.file("temp_composition_3.mp4")
    assert answer("apply", plan, "--yes", database=tidy.url)["counts"]["done"] == 2
    assert (tidy.root / "temp_composition_3.mp4").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"path":"temp_composition_1.mp4"', '"path":"presentation_{}.mp4"'),
        ('"path":"temp_composition_1.mp4"', '"path":"../outside.mp4"'),
        ('"path":"temp_composition_1.mp4"', '"path":".jobctl/root.json"'),
        ('"verb":"quarantine"', '"verb":"purge"'),
    ],
)
def test_a_forged_plan_takes_nothing_it_should_not(tidy: World, tmp_path: Path, old: str, new: str) -> None:
    import hashlib  # noqa: PLC0415 - the forger's own

    plan = tmp_path / "plan"
    call("cleanup", "--plan", str(plan), database=tidy.url)
    lines = plan.read_text().splitlines(keepends=True)
    body = "".join(lines[:-1]).replace(old, new.format(a_job_id(0)))
    assert body != "".join(lines[:-1])
    plan.write_text(body + json.dumps({"plan_id": hashlib.sha256(body.encode()).hexdigest()}) + "\n")
    before = tidy.tree()
    result = call("apply", str(plan), "--yes", database=tidy.url)
    assert result.exit_code in {3, 12}
    assert before.keys() - tidy.tree().keys() <= {"evil\n\x1b[31mname/temp_composition_2.mp4"}


def test_how_a_command_ended_last_stays_visible(tidy: World) -> None:
    call("expire", "--yes", database=tidy.url)
    tidy.root.rename(tidy.root.with_name("away"))
    assert call("cleanup", "--yes", "--quiet", database=tidy.url).exit_code == 14
    told = answer("status", "--exit-code", database=tidy.url)
    ended = {item["command"]: (item["exit_code"], item["error"]) for item in told["data"]["items"]}
    assert told["exit_code"] == 4
    assert (ended["expire"], ended["cleanup"][0]) == ((0, None), 14)
    assert "cannot be opened" in str(ended["cleanup"][1])
    metrics = call("metrics", "--prometheus", database=tidy.url).stdout
    assert f'jobctl_last_run_exit_code{{command="cleanup",host="{tidy_host(tidy)}"}} 14\n' in metrics
    assert 'jobctl_jobs{status="expired"} 1\n' in metrics


@pytest.mark.parametrize(("ending", "code"), [(KeyboardInterrupt(), 130), (RuntimeError("fault"), 1)])
def test_a_command_that_is_ended_in_the_middle_stays_visible_too(
    tidy: World, ending: BaseException, code: int
) -> None:
    with tidy.site() as site, pytest.raises(type(ending)), recorded(site, "cleanup", is_real=True):
        raise ending
    (item,) = [
        item for item in answer("status", database=tidy.url)["data"]["items"] if item["command"] == "cleanup"
    ]
    assert (item["exit_code"], item["error"]) == (code, "it was ended in the middle")


def tidy_host(world: World) -> str:
    return str(answer("status", database=world.url)["data"]["items"][0]["host"])


def test_metrics_replace_a_file_whole(tidy: World, tmp_path: Path) -> None:
    target = tmp_path / "jobctl.prom"
    target.write_text("old")
    assert call("metrics", "--prometheus", "--output", str(target), database=tidy.url).exit_code == 0
    assert target.read_text().startswith("# HELP jobctl_jobs ")
    refused = call(
        "metrics", "--prometheus", "--output", str(tmp_path / "none" / "x.prom"), database=tidy.url
    )
    assert (refused.exit_code, "hint:" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    "wrong",
    [
        ["cleanup", "--finding", "foreign"],
        ["cleanup", "--older-than", "soon"],
        ["cleanup", "--max-bytes", "0"],
        ["cleanup", "--allow", "everything=5"],
        ["cleanup", "--allow", "leftover=all"],
        ["expire", "--retain", "queued=3d"],
        ["expire", "--queued-ttl", "-1h"],
        ["expire", "--jitter", "later"],
        ["quarantine", "restore"],
        ["quarantine", "restore", "nothing-of-the-kind"],
        ["quarantine", "purge", "nothing-of-the-kind"],
        ["quarantine", "show", "20260101-000000-0000/1"],
        ["cleanup", "--yes", "--dry-run"],
    ],
)
def test_what_makes_no_sense_is_refused_with_a_way_on(tidy: World, wrong: list[str]) -> None:
    result = call(*wrong, database=tidy.url)
    assert (result.exit_code, "hint:" in result.stderr) == (2, True)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("width", [80, 200])
def test_on_a_terminal_the_plan_is_shown_and_asked_about(tidy: World, width: int) -> None:
    shown = on_terminal("cleanup", "--database", tidy.url, width=width, typed=b"n\n")
    assert shown.returncode == 5
    assert "quarantine 2" in shown.text
    assert "Apply 2 steps? [y/N]:" in shown.text
    assert "\\x1b[31mname" in shown.text
    assert len(tidy.tree()) == 3
    listed = on_terminal("quarantine", "list", "--database", tidy.url, width=width)
    assert "Quarantine is empty." in listed.text
    assert "all agree" in on_terminal("verify", "--database", tidy.url, width=width).text


def test_verify_tells_differences_and_what_mends_them(tidy: World) -> None:
    (tidy.root / f"presentation_{a_job_id(0)}.mp4").unlink()
    told = answer("verify", "--exit-code", database=tidy.url)
    (item,) = told["data"]["items"]
    assert (told["exit_code"], item["difference"]) == (4, "missing")
    assert item["mend"] == f"jobctl recover --database {tidy.url}"


def test_on_a_terminal_what_is_kept_is_told_once(world: World) -> None:
    world.video(1)
    shown = on_terminal("cleanup", "--dry-run", "--database", world.url)
    assert shown.text.count("--explain says why") == 1
    assert "Nothing to do; 1 file or job kept" in shown.text
    explained = on_terminal("cleanup", "--dry-run", "--explain", "--database", world.url, width=200)
    assert "would rebuild its record" in " ".join(explained.text.split())
    assert "--explain" not in explained.text


def test_room_is_told_once_where_nothing_was_moved(tidy: World) -> None:
    shown = on_terminal("cleanup", "--dry-run", "--database", tidy.url)
    assert shown.text.count(" free, ") == 1
