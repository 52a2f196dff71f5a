"""Bad input: one sentence, one next step, the exit code; as text and as JSON. Never a traceback."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.calling import call
from jobctl.cli.output import Format, Output
from jobctl.errors import JobctlError
from ops.world import World, a_job_id


class Bad(NamedTuple):
    """A call that cannot work: made for a site, with the code, a word of its message and of its hint."""

    name: str
    arguments: Callable[[World], list[str]]
    exit_code: int
    code: str
    message: str
    hint: str


def _file(world: World, name: str, content: str) -> str:
    path = world.root.parent / name
    path.write_text(content)
    return str(path)


def _other_schema(world: World) -> str:
    with sqlite3.connect(world.url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    return world.url


def _at(world: World) -> list[str]:
    return ["--database", world.url]


def _plan(world: World, change: Callable[[str], str]) -> str:
    world.video()
    plan = world.root.parent / "plan"
    assert call("recover", "--plan", str(plan), *_at(world)).exit_code == 0
    plan.write_text(change(plan.read_text()))
    return str(plan)


BAD = [
    Bad("no such option", lambda _: ["scan", "--nope"], 2, "usage", "No such option", "jobctl scan --help"),
    Bad(
        "no number", lambda _: ["status", "--watch", "abc"], 2, "usage", "'abc' is no number", "status --help"
    ),
    Bad(
        "no whole number",
        lambda _: ["list", "--limit", "1.5"],
        2,
        "usage",
        "is no whole number",
        "list --help",
    ),
    Bad("no such command", lambda _: ["scam"], 2, "usage", "'scam'", "jobctl --help"),
    Bad("option before command", lambda _: ["--quiet", "scan"], 2, "usage", "--quiet", "jobctl scan --quiet"),
    Bad("missing argument", lambda _: ["show"], 2, "usage", "JOB", "jobctl show --help"),
    Bad("bad enum", lambda w: ["scan", "--finding", "ghost", *_at(w)], 2, "usage", "ghost", "scan --help"),
    Bad("bad tier", lambda w: ["scan", "--tier", "9", *_at(w)], 2, "usage", "'9'", "scan --help"),
    Bad("bad status", lambda w: ["list", "--status", "zombie", *_at(w)], 2, "usage", "zombie", "list --help"),
    Bad("bad number", lambda w: ["list", "--limit", "0", *_at(w)], 2, "usage", "0", "list --help"),
    Bad(
        "bad age",
        lambda w: ["list", "--older", "soon", *_at(w)],
        2,
        "usage",
        "'soon'",
        "--older 2h, '3d ago'",
    ),
    Bad(
        "bad moment",
        lambda w: ["scan", "--since", "2026-99", *_at(w)],
        2,
        "usage",
        "2026-99",
        "--since 2h, '3d ago'",
    ),
    Bad(
        "bad cursor", lambda w: ["list", "--after", "x", *_at(w)], 2, "unknown-job", "no job x", "jobctl list"
    ),
    Bad(
        "bad scheme", lambda _: ["list", "--database", "mysql://h/d"], 2, "usage", "mysql://", "postgresql://"
    ),
    Bad("yes and no", lambda w: ["recover", "--yes", "--dry-run", *_at(w)], 2, "usage", "--yes", "leave one"),
    Bad(
        "unreadable configuration",
        lambda w: ["list", "--config", _file(w, "c.toml", "a = "), *_at(w)],
        2,
        "configuration",
        "not TOML",
        "--config",
    ),
    Bad(
        "unknown setting",
        lambda w: ["list", "--config", _file(w, "c.toml", "databas = 'x'"), *_at(w)],
        2,
        "configuration",
        "'databas'",
        "database",
    ),
    Bad(
        "unknown layout",
        lambda w: ["init", "--layout", "nope", "--root", str(w.root), *_at(w)],
        2,
        "configuration",
        "'nope'",
        "layouts.nope",
    ),
    Bad("unknown job", lambda w: ["show", "x", *_at(w)], 2, "unknown-job", "no job x", "jobctl list"),
    Bad(
        "unexplained job", lambda w: ["explain", "x", *_at(w)], 2, "unknown-job", "no job x", "jobctl show x"
    ),
    Bad("unknown run", lambda w: ["undo", "x", *_at(w)], 2, "unknown-run", "no run x", "jobctl runs"),
    Bad("unknown run shown", lambda w: ["run", "show", "x", *_at(w)], 2, "unknown-run", "no run x", "runs"),
    Bad("no plan", lambda w: ["apply", "/nowhere", *_at(w)], 2, "usage", "/nowhere", "name"),
    Bad(
        "not a plan",
        lambda w: ["apply", _file(w, "p", "{}"), *_at(w)],
        12,
        "plan-stale",
        "not a plan",
        "--plan",
    ),
    Bad(
        "altered plan",
        lambda w: ["apply", _plan(w, lambda text: text.replace('"medium"', '"certain"', 1)), *_at(w)],
        12,
        "plan-stale",
        "altered",
        "--plan",
    ),
    Bad(
        "no store",
        lambda w: ["list", "--database", str(w.root.parent / "nowhere.db")],
        10,
        "store-uninitialised",
        "nowhere.db",
        "jobctl init",
    ),
    Bad(
        "other schema",
        lambda w: ["list", "--database", _other_schema(w)],
        10,
        "store-schema",
        "schema 9999",
        "install",
    ),
    Bad(
        "no server",
        lambda w: ["list", "--database", f"postgresql://ada:secret@/jobs?host={w.root.parent}"],
        10,
        "store-unreachable",
        "cannot be used",
        "--database",
    ),
    Bad(
        "unknown root", lambda w: ["scan", "--root", "/x", *_at(w)], 14, "root-unavailable", "/x", "root list"
    ),
    Bad(
        "jobs of no root",
        lambda w: ["list", "--root", "/x", *_at(w)],
        14,
        "root-unavailable",
        "/x",
        "root list",
    ),
    Bad("root refused", lambda w: ["init", "--root", "/", *_at(w)], 14, "root-refused", "/", "outputs"),
    Bad(
        "adopt a stranger",
        lambda w: ["root", "adopt", "/usr", *_at(w)],
        14,
        "root-unavailable",
        "/usr",
        "root",
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_told_in_one_sentence_with_a_next_step(bad: Bad, world: World) -> None:
    result = call(*bad.arguments(world))
    assert result.exit_code == bad.exit_code
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("error: ")
    assert bad.message in first
    assert second.startswith(" hint: ")
    assert bad.hint in second


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_told_as_json_where_that_was_asked_for(bad: Bad, world: World) -> None:
    result = call(*bad.arguments(world), "--json")
    document = json.loads(result.stdout)
    assert result.stderr == ""
    assert result.exit_code == document["exit_code"] == bad.exit_code
    [error] = document["errors"]
    assert error["code"] == bad.code
    assert bad.message in error["message"]
    assert bad.hint in error["hint"]
    assert document["schema"] == "jobctl/v1"


@pytest.mark.parametrize("form", [[], ["--json"], ["--verbose"]])
@pytest.mark.parametrize(
    "url",
    ["postgresql://ada:hunter2@/jobs?host=/nowhere", "postgresql:///jobs?host=/nowhere&password=hunter2"],
)
def test_a_password_is_never_told(form: list[str], url: str) -> None:
    result = call("list", "--database", url, *form)
    assert result.exit_code == 10
    assert "hunter2" not in result.output


@pytest.mark.parametrize("form", Format)
def test_a_password_that_got_into_an_error_is_not_told(
    form: Format, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://ada:hunter2@db/jobs"
    error = JobctlError(f"{url} is away", hint=f"look at {url}")
    Output("list", format=form).fail(error)
    said = "".join(capsys.readouterr())
    assert "db/jobs is away" in said
    assert "hunter2" not in said


def test_a_job_is_found_by_the_beginning_of_its_id(world: World) -> None:
    for number in (0, 1):
        world.start_job(number)
    wanted = a_job_id(0)
    beginning = os.path.commonprefix([wanted, a_job_id(1)])
    shown = call("show", wanted[: len(beginning) + 1], "--json", database=world.url)
    assert json.loads(shown.stdout)["data"]["job_id"] == wanted
    unknown = call("show", beginning, database=world.url)
    assert unknown.exit_code == 2
    assert wanted in unknown.stderr


def test_control_characters_in_an_argument_are_shown_escaped(world: World) -> None:
    result = call("show", "\x1b[31mred\n\u202e", database=world.url)
    assert "\\x1b[31mred\\n\\u202e" in result.stderr
    assert "\x1b" not in result.stderr


def test_a_fault_of_our_own_is_one_sentence_and_a_file(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    world.start_job()
    with sqlite3.connect(world.url) as connection:
        connection.execute("UPDATE job SET origin = 'made-up'")
    connection.close()
    result = call("list", database=world.url)
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert "a fault in jobctl: ValueError: 'made-up'" in first
    kept = Path(second.rpartition(" ")[2])
    assert "Traceback" in kept.read_text()
    assert os.stat(kept).st_mode & 0o077 == 0
    assert "Traceback" in call("list", "--verbose", database=world.url).stderr
    assert kept.parent == tmp_path
