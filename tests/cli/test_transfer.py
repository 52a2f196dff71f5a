"""``jobctl export`` and ``jobctl import`` as users meet them."""

from __future__ import annotations

import csv
import io
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.calling import PROGRAM, answer, call, installed, on_terminal
from ops.world import World, a_job_id


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """What a service dumped of its table, with one entry that is none."""
    path = tmp_path / "a dump.json"
    jobs: dict[str, Any] = {a_job_id(number): {"status": "failed", "owner": "=ada"} for number in range(3)}
    path.write_text(json.dumps({**jobs, "render\n1": {"status": "half-baked"}}))
    return path


def test_without_a_terminal_an_import_is_shown_and_nothing_is_done(world: World, dump: Path) -> None:
    result = call("import", str(dump), "--source", "my dump", database=world.url)
    assert result.exit_code == 5
    heading, *rows = result.stdout.splitlines()
    assert heading.startswith("verb\tjob_id\t")
    assert {row.split("\t")[0] for row in rows} == {"import"}
    told = "warning: not imported: key 'render\\n1': its job_id 'render\\n1' is not understood"
    assert told in result.stderr
    again = f"jobctl import {shlex.quote(str(dump))} --source 'my dump' --yes --database {world.url}"
    assert f"apply them: {again}\n" in result.stderr
    assert world.job_ids() == set()


def test_yes_imports_and_tells_how_to_take_it_back(world: World, dump: Path) -> None:
    result = call("import", str(dump), "--yes", database=world.url)
    assert result.exit_code == 3
    assert "3 done" in result.stderr
    assert world.job_ids() == {a_job_id(number) for number in range(3)}
    undo = result.stderr.rpartition("To take it back: ")[2].strip()
    assert call(*shlex.split(undo)[1:], "--yes", database=world.url).exit_code == 0
    assert world.job_ids() == set()


def test_json_of_an_import_tells_what_was_not_imported(world: World, dump: Path) -> None:
    told = answer("import", str(dump), "--yes", database=world.url)
    assert (told["command"], told["exit_code"], told["counts"]["done"]) == ("import", 3, 3)
    assert {item["verb"] for item in told["data"]["items"]} == {"import"}
    (finding,) = told["data"]["told"]
    assert (finding["finding"], finding["job_id"]) == ("unreadable", None)
    assert "render" in finding["reason"]
    again = answer("import", str(dump), "--yes", database=world.url)
    assert (again["exit_code"], again["counts"]["planned"], again["run_id"]) == (3, 0, None)


def test_importing_what_is_there_is_one_calm_line(world: World, dump: Path) -> None:
    call("import", str(dump), "--yes", database=world.url)
    file = str(dump.with_name("export.jsonl"))
    assert call("export", file, database=world.url).exit_code == 0
    result = call("import", file, database=world.url)
    assert (result.exit_code, result.stderr) == (0, "3 entries recorded already, just so.\nNothing to do.\n")
    quiet = call("import", file, "--quiet", database=world.url)
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_only_the_first_of_many_bad_entries_are_warned_of(world: World, tmp_path: Path) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text("{}\n" * 50)
    result = call("import", str(path), "--dry-run", database=world.url)
    assert result.exit_code == 3
    assert result.stderr.count("not imported: line") == 20
    assert "30 more entries not imported" in result.stderr


def test_an_import_is_saved_and_applied_later(world: World, dump: Path) -> None:
    plan = str(dump.with_name("plan"))
    assert call("import", str(dump), "--plan", plan, database=world.url).exit_code == 3
    dump.unlink()
    told = answer("apply", plan, "--yes", database=world.url)
    assert told["counts"]["done"] == 3
    run = answer("run", "show", told["run_id"], database=world.url)["data"]["run"]
    assert run["command"] == "import"


def test_a_person_is_shown_the_import_and_asked(world: World, dump: Path) -> None:
    shown = on_terminal("import", str(dump), "--database", world.url, typed=b"y\n", width=100)
    assert shown.returncode == 3
    assert "import 3" in shown.text
    assert "record a job from a dump" in shown.text
    assert shown.text.count("render") == 2
    assert len(world.job_ids()) == 3


def test_an_export_through_a_pipe_is_imported(world: World, dump: Path, tmp_path: Path) -> None:
    call("import", str(dump), "--yes", database=world.url)
    other = World(str(tmp_path / "other" / "jobs.db"), tmp_path / "other-outputs", host="")
    other.init()
    out = installed("export", "-", "--database", world.url)
    assert (out.returncode, out.stderr) == (0, "")
    into = subprocess.run(
        [PROGRAM, "import", "-", "--yes", "--database", other.url],
        input=out.stdout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert into.returncode == 0
    assert other.job_ids() == world.job_ids()


def test_a_spreadsheet_finds_no_formula_in_an_export(world: World, dump: Path) -> None:
    call("import", str(dump), "--yes", database=world.url)
    result = call("export", "-", "--format", "csv", database=world.url)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["owner"] for row in rows} == {"'=ada"}


def test_an_export_tells_what_it_wrote(world: World, dump: Path) -> None:
    call("import", str(dump), "--yes", database=world.url)
    file = str(dump.with_name("jobs.sqlite"))
    told = answer("export", file, "--status", "failed", database=world.url)
    assert (told["counts"], told["data"]) == ({"jobs": 3}, {"path": file, "format": "sqlite"})
    refused = call("export", file, database=world.url)
    assert (refused.exit_code, "exists already" in refused.stderr) == (2, True)


def test_data_and_answer_do_not_share_standard_output(world: World) -> None:
    result = call("export", "-", "--json", database=world.url)
    assert result.exit_code == 2
    assert json.loads(result.stdout)["errors"][0]["code"] == "usage"


def test_nobody_reading_an_export_is_no_error_of_ours(world: World, tmp_path: Path) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text("".join(f'{{"job_id": "j{n}", "status": "queued"}}\n' for n in range(3_000)))
    call("import", str(path), "--yes", database=world.url)
    command = f"{shlex.quote(PROGRAM)} export - --database {shlex.quote(world.url)} | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["job_id"] == "j0"
    assert "Traceback" not in done.stderr
