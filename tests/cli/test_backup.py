"""``jobctl backup`` and ``jobctl restore`` on the command line: every form of the answer, and the codes."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.calling import answer, call, installed, on_terminal
from jobctl.ops.hold import hold_roots
from ops.world import World, a_job_id

HOSTILE = "back\x1b[31mup [red]\u202e\n.db"


def made_by(world: World) -> str:
    return str(answer("backup", database=world.url)["data"]["path"])


def test_json_tells_what_was_made(world: World, tmp_path: Path) -> None:
    world.queue_job(0)
    told = answer("backup", "--to", str(tmp_path / "b") + "/", database=world.url)
    data = told["data"]
    assert (told["counts"], data["jobs_by_status"]) == (
        {"jobs": 1, "events": 1, "removed": 0},
        {"queued": 1},
    )
    assert os.path.getsize(data["path"]) == data["bytes"]
    assert {"kind", "made_at", "seconds", "store_id", "schema", "newest_at", "removed"} <= data.keys()


def test_in_a_pipe_it_is_one_line_of_tabs_and_for_cron_nothing(world: World) -> None:
    result = call("backup", database=world.url)
    heading, line = (each.split("\t") for each in result.stdout.splitlines())
    assert heading == ["path", "bytes", "store_id", "schema", "made_at", "jobs", "events"]
    assert os.path.getsize(line[0]) == int(line[1])
    quiet = call("backup", "--quiet", database=world.url)
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_the_last_run_is_remembered_and_doctor_is_content(world: World) -> None:
    before = answer("doctor", "--only", "backup", database=world.url)["data"]["items"][0]
    assert (before["health"], before["command"].startswith("jobctl backup")) == ("warn", True)
    made_by(world)
    assert answer("doctor", "--only", "backup", database=world.url)["counts"]["ok"] == 1
    failed = call("backup", "--to", "/proc/nowhere/", database=world.url)
    assert failed.exit_code == 2
    items = answer("status", database=world.url)["data"]
    assert "backup" in json.dumps(items)


def test_older_ones_go_by_flag_or_setting(world: World, tmp_path: Path) -> None:
    (tmp_path / "jobctl.toml").write_text(f'[backup]\ndirectory = "{tmp_path}/set"\nkeep = 2\n')
    for _ in range(3):
        result = call("backup", "--config", str(tmp_path / "jobctl.toml"), database=world.url)
    assert "removed 1 older one." in result.stderr
    assert len(list((tmp_path / "set").glob("*.db"))) == 2
    call("backup", "--keep", "1", "--to", str(tmp_path / "set"), database=world.url)
    assert len(list((tmp_path / "set").glob("*.db"))) == 1
    assert call("backup", "--keep", "0", database=world.url).exit_code == 2


def test_what_keeps_a_number_of_backups_makes_their_directory(world: World, tmp_path: Path) -> None:
    """As a file of that name the first one would be in the way of the second."""
    for _ in range(3):
        assert call("backup", "--to", str(tmp_path / "new"), "--keep", "2", database=world.url).exit_code == 0
    assert len([one for one in os.listdir(tmp_path / "new") if one.startswith("jobctl-")]) == 2


@pytest.mark.parametrize("line", ["keep = 0", "keep = true", "directory = 3", "keeps = 3"])
def test_a_setting_that_is_wrong_is_told(world: World, tmp_path: Path, line: str) -> None:
    (tmp_path / "jobctl.toml").write_text(f"[backup]\n{line}\n")
    result = call("backup", "--config", str(tmp_path / "jobctl.toml"), database=world.url)
    assert result.exit_code == 2
    assert "backup" in result.stderr


def test_off_a_terminal_a_restore_shows_its_plan_and_needs_a_yes(world: World) -> None:
    world.queue_job(0)
    path = made_by(world)
    world.queue_job(1)
    result = call("restore", path, database=world.url)
    assert result.exit_code == 5
    assert "jobs\t1\t2\n" in result.stdout
    assert "1 job, 1 event" in result.stderr
    assert f"do it: jobctl restore {path} --yes --database {world.url}" in result.stderr
    told = answer("restore", path, database=world.url)
    assert (told["errors"][0]["code"], told["data"]["lost"]) == (
        "approval-needed",
        {"jobs": 1, "changed": 0, "events": 1},
    )
    assert call("restore", path, "--dry-run", database=world.url).exit_code == 0
    assert call("restore", path, "--dry-run", "--yes", database=world.url).exit_code == 2
    assert world.job_ids() == {a_job_id(0), a_job_id(1)}


def test_with_a_yes_it_is_done_and_says_what_comes_next(world: World) -> None:
    world.queue_job(0)
    path = made_by(world)
    world.queue_job(1)
    result = call("restore", path, "--yes", database=world.url)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Restored 1 job and 1 event" in result.stderr
    assert f"jobctl recover --database {world.url}" in result.stderr
    assert world.job_ids() == {a_job_id(0)}
    told = answer("restore", path, "--yes", database=world.url)
    assert (told["exit_code"], told["counts"]["lost_jobs"]) == (0, 0)
    assert os.path.exists(told["data"]["kept_as"])
    quiet = call("restore", path, "--yes", "--quiet", database=world.url)
    assert (quiet.exit_code, quiet.output) == (0, "")


@pytest.mark.parametrize("width", [80, 200])
def test_on_a_terminal_it_shows_both_sides_and_asks(world: World, width: int) -> None:
    world.queue_job(0)
    path = made_by(world)
    world.queue_job(1)
    arguments = ("restore", path, "--database", world.url)
    said_no = on_terminal(*arguments, width=width, typed=b"n\n")
    assert said_no.returncode == 5
    assert "the backup" in said_no.text
    assert "the store now" in said_no.text
    table = said_no.text[said_no.text.index("the backup") :].partition("\n\n")[0]
    assert max(map(len, table.splitlines())) <= width
    assert world.job_ids() == {a_job_id(0), a_job_id(1)}
    assert on_terminal(*arguments, width=width, typed=b"y\n").returncode == 0
    assert world.job_ids() == {a_job_id(0)}


def test_a_run_at_work_is_exit_code_11(world: World) -> None:
    path = made_by(world)
    with world.site() as site, hold_roots(site, command="recover"):
        result = call("restore", path, "--yes", database=world.url)
    assert result.exit_code == 11
    assert "'jobctl recover'" in result.stderr


def test_a_hostile_name_is_shown_as_text(world: World, tmp_path: Path) -> None:
    target = tmp_path / HOSTILE
    shown = call("backup", "--to", str(target), database=world.url)
    assert shown.exit_code == 0
    assert target.exists()
    assert "\x1b" not in shown.output
    assert "\u202e" not in shown.output
    refused = call("restore", str(target) + "x", "--yes", database=world.url)
    assert refused.exit_code == 2
    assert "\x1b" not in refused.output
    assert call("restore", str(target), "--yes", database=world.url).exit_code == 0


def test_a_file_of_another_program_in_the_stores_place_is_left_alone(world: World, tmp_path: Path) -> None:
    path = made_by(world)
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection, connection:
        connection.execute("CREATE TABLE users (id)")
    before = (tmp_path / "theirs.db").read_bytes()
    result = call("restore", path, "--yes", database=str(tmp_path / "theirs.db"))
    assert result.exit_code == 10
    assert (tmp_path / "theirs.db").read_bytes() == before


def test_the_installed_program_makes_and_restores_a_backup(world: World, tmp_path: Path) -> None:
    world.queue_job(0)
    at = {"JOBCTL_DATABASE_URL": world.url}
    assert installed("backup", "--to", str(tmp_path / "b.db"), env=at).returncode == 0
    world.queue_job(1)
    assert installed("restore", str(tmp_path / "b.db"), "--yes", env=at).returncode == 0
    assert world.job_ids() == {a_job_id(0)}
