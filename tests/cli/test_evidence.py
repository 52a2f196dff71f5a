"""Evidence on the command line: logs read in, listed and forgotten; recover with logs and other tables."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from cli.calling import answer, call, on_terminal
from ops.world import World, a_job_id

BOOT = "INFO:     Started server process [1]"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log that knows of two jobs, one interrupted and one failed."""
    path = tmp_path / "app.log"
    path.write_text(
        f"INFO:svc:Created presentation job: {a_job_id(0)}\n"
        f"INFO:svc:[HEARTBEAT] Job {a_job_id(0)}: status=processing, progress=45.0% (beat #2)\n"
        "INFO:svc:[HEARTBEAT] Keeping connection alive - 2026-01-31T10:00:00\n"
        f"INFO:svc:Created presentation job: {a_job_id(1)}\n"
        f"ERROR:svc:Presentation {a_job_id(1)} failed: no [bold]space[/] left\n"
        f"{BOOT}\n"
    )
    return path


def config(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "jobctl.toml"
    path.write_text(text)
    return ["--config", str(path)]


def test_ingest_answers_with_what_each_log_gave(world: World, log: Path) -> None:
    result = call("evidence", "ingest", str(log), database=world.url)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["path\tbytes\tlines\tjobs", f"{log}\t{log.stat().st_size}\t6\t2"]
    assert "read 1 log, " in result.stderr
    assert "1 time without a zone taken as UTC" in result.stderr
    again = answer("evidence", "ingest", str(log), database=world.url)
    assert [item["bytes"] for item in again["data"]["items"]] == [0]


def test_quiet_says_nothing_when_all_is_well(world: World, log: Path) -> None:
    result = call("recover", "--yes", "--quiet", "--log", str(log), database=world.url)
    assert (result.exit_code, result.output) == (0, "")
    result = call("evidence", "ingest", "--quiet", str(log), database=world.url)
    assert (result.exit_code, result.output) == (0, "")


def test_recover_takes_any_number_of_logs(world: World, log: Path, tmp_path: Path) -> None:
    second = tmp_path / "other.log"
    second.write_text(f"INFO:svc:Created presentation job: {a_job_id(2)}\n{BOOT}\n")
    told = answer("recover", "--yes", "--log", str(log), str(second), database=world.url)
    assert told["counts"]["done"] == 3
    assert {item["to"] for item in told["data"]["items"]} == {"failed"}
    shown = answer("show", a_job_id(0), database=world.url)["data"]
    assert (shown["status"], shown["error_code"], shown["progress"]) == ("failed", "interrupted", 45.0)
    assert shown["error"].startswith("interrupted at 45 % by restart 1 of app.log (")
    failed = answer("show", a_job_id(1), database=world.url)["data"]
    assert failed["error"] == "no [bold]space[/] left"


def test_files_without_log_are_not_understood(world: World, log: Path) -> None:
    result = call("recover", str(log), database=world.url)
    assert result.exit_code == 2
    assert f"for a server log: jobctl recover --log {log} --database {world.url}" in result.stderr


def test_what_cannot_be_read_is_told_beside_the_result(world: World, log: Path, tmp_path: Path) -> None:
    told = answer(
        "recover", "--yes", "--log", str(log), "--log", str(tmp_path / "gone.log"), database=world.url
    )
    assert (told["exit_code"], told["counts"]["done"]) == (3, 2)
    assert [error["code"] for error in told["errors"]] == ["log-unreadable"]
    assert (
        "gone.log cannot be read: No such file or directory; the others were read"
        in told["errors"][0]["message"]
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("[[logs.mine.rules]]\nname = 'x'\nsays = 'created'\npattern = '('", "no regular expression of RE2"),
        ("[logs]\nmine = 1", "log rules mine: it is not a table"),
        ("log_timezone = 'Mars/Olympus'", "names no time zone"),
        ("[sidecar]\ncolour = 'x'", "sidecar has the unknown field 'colour'"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_read(
    world: World, log: Path, tmp_path: Path, settings: str, said: str
) -> None:
    result = call("evidence", "ingest", str(log), *config(tmp_path, settings), database=world.url)
    assert result.exit_code == 2
    assert said in result.stderr
    assert answer("evidence", "list", database=world.url)["data"]["items"] == []


def test_show_of_a_job_that_only_a_log_knows_says_where_to_look(world: World, log: Path) -> None:
    call("evidence", "ingest", str(log), database=world.url)
    result = call("show", a_job_id(0), database=world.url)
    assert result.exit_code == 2
    assert f"no job {a_job_id(0)} is recorded, but a log knows of it" in result.stderr
    assert f"jobctl explain {a_job_id(0)}" in result.stderr


def test_own_rules_read_own_logs(world: World, tmp_path: Path) -> None:
    log = tmp_path / "mine.log"
    log.write_text(f"2026-01-31 10:00:00,123 - worker - INFO - begin {a_job_id(0)}\nbooting\n")
    rules = (
        "[[logs.mine.rules]]\nname = 'begin'\nsays = 'created'\npattern = 'begin {uuid}'\n"
        "[[logs.mine.rules]]\nname = 'boot'\nsays = 'boot'\npattern = 'booting'\n"
    )
    told = answer("recover", "--yes", "--log", str(log), *config(tmp_path, rules), database=world.url)
    assert told["counts"]["done"] == 1
    assert (
        answer("show", a_job_id(0), database=world.url)["data"]["created_at"] == "2026-01-31T10:00:00.123000Z"
    )


def test_logs_are_listed_and_forgotten_only_with_a_yes(world: World, log: Path) -> None:
    call("evidence", "ingest", str(log), database=world.url)
    (state,) = answer("evidence", "list", database=world.url)["data"]["items"]
    assert (state["name"], state["jobs"], state["restarts"], state["lines"]) == (str(log), 2, 1, 6)
    refused = call("evidence", "forget", str(log), database=world.url)
    assert refused.exit_code == 5
    assert f"jobctl evidence forget {state['log_id']} --yes" in refused.stderr
    assert call("evidence", "forget", str(log), "--yes", database=world.url).exit_code == 0
    assert answer("evidence", "list", database=world.url)["data"]["items"] == []
    assert answer("evidence", "forget", "nothing", "--yes", database=world.url)["exit_code"] == 2


def test_another_table_tells_the_owner_and_an_unreachable_one_is_told(world: World, tmp_path: Path) -> None:
    world.video(0)
    with sqlite3.connect(tmp_path / "app.db") as database:
        database.execute(
            "CREATE TABLE projects (id, onyx_user_id, project_name, microproduct_content, created_at)"
        )
        content = {"videoJobId": a_job_id(0), "generatedAt": "2026-01-31T10:00:00"}
        database.execute("INSERT INTO projects VALUES (17, 'ada', 'Q1', ?, NULL)", (json.dumps(content),))
        unknown = json.dumps({"videoJobId": "unknown"})
        database.execute("INSERT INTO projects VALUES (18, 'eve', 'Q2', ?, NULL)", (unknown,))
    database.close()
    settings = (
        f"[[source]]\nname = 'projects'\npreset = 'projects'\ndatabase = '{tmp_path / 'app.db'}'\n"
        f"[[source]]\nname = 'gone'\npreset = 'projects'\ndatabase = '{tmp_path / 'gone.db'}'\n"
    )
    given = config(tmp_path, settings)
    before = answer("explain", a_job_id(0), *given, database=world.url)["data"]
    assert (before["fields"]["owner"]["value"], before["fields"]["title"]["value"]) == ("ada", "Q1")
    assert any("source gone cannot be read" in note for note in before["notes"])
    told = answer("recover", "--yes", *given, database=world.url)
    assert (told["exit_code"], told["counts"]["done"]) == (3, 1)
    assert [error["code"] for error in told["errors"]] == ["source-unusable"]
    assert "source gone cannot be read" in told["errors"][0]["message"]
    owner = answer("explain", a_job_id(0), *given, database=world.url)["data"]["fields"]["owner"]
    assert (owner["value"], owner["source"], owner["trust"]) == ("ada", "projects", "E3")
    assert owner["locator"].endswith("projects:1") or owner["locator"].startswith("projects:")


def test_explain_lists_contradictions_first(world: World, log: Path, tmp_path: Path) -> None:
    video = world.video(0)
    sidecar = {"schema": "jobctl-sidecar/v1", "size": video.stat().st_size, "owner": "ada"}
    video.with_name(f"{video.name}.json").write_text(json.dumps(sidecar))
    with sqlite3.connect(tmp_path / "app.db") as database:
        database.execute("CREATE TABLE video (job TEXT, person TEXT)")
        database.execute("INSERT INTO video VALUES (?, 'eve')", (a_job_id(0),))
    database.close()
    given = config(
        tmp_path,
        f"[[source]]\nname = 'video'\ndatabase = '{tmp_path / 'app.db'}'\ntable = 'video'\n"
        "columns = { job_id = 'job', owner = 'person' }\n",
    )
    assert answer("recover", "--yes", "--log", str(log), *given, database=world.url)["exit_code"] == 0
    fields = answer("explain", a_job_id(0), *given, database=world.url)["data"]["fields"]
    assert next(iter(fields)) == "owner"
    assert fields["owner"]["conflict"] is True
    assert {other["value"] for other in fields["owner"]["others"]} == {"ada", "eve"}
    shown = on_terminal("explain", a_job_id(0), *given, "--database", world.url).text
    assert shown.index("Evidence disagrees") < shown.index(f"Job {a_job_id(0)}")
    assert "owner: left empty" in shown
