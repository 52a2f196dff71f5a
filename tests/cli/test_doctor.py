"""Doctor on the command line: every form of its answer, its exit codes, and the commands it names."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli.calling import PROGRAM, answer, call, installed, on_terminal
from cli.test_startup import loaded
from jobctl.model.health import Health, fail, unknown
from jobctl.ops.doctor import places, work
from ops.world import World

FIELDS = ["check", "theme", "why", "health", "said", "fix", "command", "seconds"]
SECRET = "postgresql://ops:hunter2@127.0.0.1:1/jobs"

# Python 3.12 warns of a fork beside the test runner's own thread; the program has one thread.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def items(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["check"]: item for item in told["data"]["items"]}


def spoil(world: World, version: str = "0003") -> None:
    """Give the store another schema version than the program's."""
    with closing(sqlite3.connect(world.url)) as connection, connection:
        connection.execute(f"UPDATE alembic_version SET version_num = '{version}'")


def make_old(world: World) -> None:
    """Bring the store back to an older schema, as an older program left it."""
    from jobctl.store.migrations import migrate  # noqa: PLC0415

    with world.site() as site:
        migrate(site.store.engine, site.store.dialect, "0003")


@pytest.fixture
def sick_root(world: World, tmp_path: Path) -> World:
    """A site whose root is away."""
    world.root.rename(tmp_path / "away")
    return world


def test_json_tells_of_each_check_and_counts_them(world: World) -> None:
    told = answer("doctor", database=world.url)
    assert told["exit_code"] == 0
    assert all(list(item) == FIELDS for item in told["data"]["items"])
    assert told["counts"].keys() == {"ok", "unknown", "warn", "fail"}
    assert sum(told["counts"].values()) == len(told["data"]["items"])
    seen = items(told)
    assert seen["store"]["said"] == world.url
    assert (seen["roots"]["health"], seen["roots"]["fix"], seen["roots"]["command"]) == ("ok", None, None)
    assert "running-jobs" not in seen


def test_a_stream_is_one_check_a_line_and_ends_with_the_counts(world: World) -> None:
    *checks, last = map(json.loads, call("doctor", "--jsonl", database=world.url).stdout.splitlines())
    assert len(checks) == sum(last["counts"].values())


def test_in_a_pipe_it_is_a_table_of_tabs_and_one_line_beside_it(sick_root: World) -> None:
    result = call("doctor", "--only", "roots", "--only", "store", database=sick_root.url)
    heading, store, roots = (line.split("\t") for line in result.stdout.splitlines())
    assert heading == ["check", "health", "said", "fix", "command", "why", "theme"]
    assert (store[:2], roots[:2]) == (["store", "ok"], ["roots", "fail"])
    assert len(store) == len(roots) == len(heading)
    assert result.stderr == "2 checks: 1 fail.\n"


def test_quiet_tells_only_what_is_not_well(sick_root: World) -> None:
    result = call("doctor", "--quiet", "--only", "store", "--only", "wal", database=sick_root.url)
    assert (result.exit_code, result.output) == (0, "")
    result = call("doctor", "--quiet", "--only", "store", "--only", "roots", database=sick_root.url)
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["check", "roots"]
    assert result.stderr == ""


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_shows_a_line_a_check_and_explains_what_is_not_well(sick_root: World, width: int) -> None:
    shown = on_terminal("doctor", "--database", sick_root.url, width=width)
    assert shown.returncode == 0
    lines = shown.text.splitlines()
    assert all(len(line) <= width for line in lines)
    assert lines[0].split()[:2] == ["store", "ok"]
    assert "To do: mount it" in shown.text
    assert "Without its store" not in shown.text
    assert "checks: 1 fail, " in lines[-1]
    # What is worst stands nearest to the prompt.
    assert [line.split()[0] for line in lines if line.startswith(("warn  ", "fail  "))][-1] == "fail"


def test_a_quiet_terminal_stays_empty_where_all_is_well(world: World) -> None:
    assert on_terminal("doctor", "--quiet", "--only", "store", "--database", world.url).raw == ""


def test_only_and_skip_and_list(world: World) -> None:
    assert list(items(answer("doctor", "--only", "wal", database=world.url))) == ["wal"]
    assert "wal" not in items(answer("doctor", "--skip", "wal", database=world.url))
    listed = answer("doctor", "--list", database=str(world.root / "nowhere.db"))
    names = [item["check"] for item in listed["data"]["items"]]
    assert {"store", "wal", "running-jobs"} <= set(names)
    assert "bloat" not in names
    heading, *rows = call("doctor", "--list", database=world.url).stdout.splitlines()
    assert heading == "check\ttheme\twhy"
    assert [row.partition("\t")[0] for row in rows] == names


def test_what_cannot_be_meant_is_exit_2(world: World) -> None:
    told = answer("doctor", "--only", "wall", database=world.url)
    assert (told["exit_code"], "did you mean wal?" in told["errors"][0]["hint"]) == (2, True)
    assert answer("doctor", "--timeout", "soon", database=world.url)["exit_code"] == 2
    assert answer("doctor", "--timeout", "0s", database=world.url)["exit_code"] == 2
    assert answer("doctor", database="mysql://h/d")["exit_code"] == 2


def test_the_exit_code_is_asked_for_and_4_where_a_check_fails(sick_root: World) -> None:
    assert call("doctor", database=sick_root.url).exit_code == 0
    assert call("doctor", "--exit-code", database=sick_root.url).exit_code == 4
    assert call("doctor", "--exit-code", "--skip", "roots", database=sick_root.url).exit_code == 3
    assert call("doctor", "--exit-code", "--only", "store", database=sick_root.url).exit_code == 0


def test_a_warning_is_no_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "installed_for_s", lambda: None)
    told = answer("doctor", "--exit-code", "--only", "schedule", database=world.url)
    assert (told["exit_code"], told["counts"]["warn"]) == (0, 1)


def test_what_cannot_be_told_stands_behind_what_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for found, code in ((unknown("dark"), 3), (fail("broken"), 4)):
        monkeypatch.setattr(places, "judge_room", lambda room, found=found: found)
        assert call("doctor", "--exit-code", "--only", "room", database=world.url).exit_code == code


def test_without_a_store_the_rest_is_told_and_10_is_asked_for(world: World) -> None:
    nowhere = str(world.root / "nowhere.db")
    told = answer("doctor", "--exit-code", database=nowhere)
    assert (told["exit_code"], told["status"], told["errors"]) == (10, "store", [])
    seen = items(told)
    assert seen["store"]["health"] == "fail"
    assert f"jobctl init --database {nowhere}" in seen["store"]["fix"]
    assert {seen[name]["health"] for name in ("configuration", "codecs", "room")} == {"ok"}
    assert call("doctor", database=nowhere).exit_code == 0
    spoil(world, "9999")
    assert call("doctor", "--exit-code", database=world.url).exit_code == 10


def test_a_server_that_is_away_shows_no_password(world: World) -> None:
    for form in ("--json", "--quiet", "--verbose"):
        result = call("doctor", form, database=SECRET)
        assert "hunter2" not in result.output
    seen = items(answer("doctor", database=SECRET))
    assert seen["store"]["health"] == "fail"
    assert seen["configuration"]["health"] == "ok"


def test_a_password_on_its_own_command_line_is_told() -> None:
    told = json.loads(installed("doctor", "--only", "command-lines", "--json", "--database", SECRET).stdout)
    assert items(told)["command-lines"]["health"] == "fail"
    env = {"JOBCTL_DATABASE_URL": SECRET}
    told = json.loads(installed("doctor", "--only", "command-lines", "--json", env=env).stdout)
    assert items(told)["command-lines"]["health"] == "ok"


def test_a_command_that_is_named_runs_as_it_stands(world: World) -> None:
    make_old(world)
    command = items(answer("doctor", database=world.url))["schema"]["command"]
    assert command == f"jobctl init --database {shlex.quote(world.url)}"
    path = os.pathsep.join([os.path.dirname(PROGRAM), os.environ["PATH"]])
    subprocess.run(command, shell=True, check=True, env={**os.environ, "PATH": path}, capture_output=True)
    assert items(answer("doctor", database=world.url))["schema"]["health"] == "ok"


def test_where_no_check_is_left_nothing_is_called_well(world: World) -> None:
    result = call("doctor", "--only", "wal", "--skip", "wal", database=world.url)
    assert (result.exit_code, "well" in result.output) == (2, False)
    assert "no check is left" in result.stderr
    other = "wal" if world.url.startswith("postgresql") else "bloat"
    result = call("doctor", "--only", other, database=world.url)
    assert (result.exit_code, result.stderr) == (0, "0 checks: none concerns this database.\n")


def test_a_sentence_about_jobctl_is_no_command(world: World) -> None:
    spoil(world, "9999")
    told = items(answer("doctor", "--only", "schema", database=world.url))["schema"]
    assert told["fix"] == "install the version of jobctl that made it"


def test_each_of_several_commands_is_placed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fail("two", "mend both", "jobctl recover --root a && jobctl recover --root b")
    monkeypatch.setattr(places, "judge_room", lambda room: found)
    command = items(answer("doctor", "--only", "room", database=world.url))["room"]["command"]
    at = f"--database {world.url}"
    assert command == f"jobctl recover --root a {at} && jobctl recover --root b {at}"


def test_before_a_deploy_running_jobs_fail(world: World) -> None:
    told = answer("doctor", "--before-deploy", "--exit-code", "--skip", "schedule", database=world.url)
    assert (told["exit_code"], items(told)["running-jobs"]["health"]) == (0, "ok")
    world.start_job()
    told = answer("doctor", "--before-deploy", "--exit-code", database=world.url)
    assert told["exit_code"] == 4
    assert items(told)["running-jobs"]["said"].startswith("1 job running: drain first")
    told = answer("doctor", "--before-deploy", "--only", "store", database=world.url)
    assert list(items(told)) == ["store", "running-jobs"]


def test_a_check_is_given_up_after_the_time_that_was_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "room_of", lambda path: sys.stdin.read() or os.read(os.pipe()[0], 1))
    seen = items(answer("doctor", "--timeout", "1s", "--only", "room", database=world.url))
    assert (seen["room"]["health"], seen["room"]["said"]) == ("unknown", "it gave no answer within 1 s")


def test_nothing_is_changed(world: World) -> None:
    world.video()
    world.recover()
    before = (world.tables("job", "artifact", "event", "run", "lock", "clock_watch"), world.tree())
    answer("doctor", "--before-deploy", database=world.url)
    assert before == (world.tables("job", "artifact", "event", "run", "lock", "clock_watch"), world.tree())
    assert sorted(os.listdir(world.root / ".jobctl")) == ["root.json"]


def test_help_is_quick() -> None:
    assert loaded("doctor", "--help") == {"typer"}


def test_the_four_words_are_in_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    assert all(f"| `{health.value}` | {health.meaning} |" in page for health in Health)
