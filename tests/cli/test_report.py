"""``jobctl report`` as a user calls it: periods, forms, files, and words that try to do harm."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.calling import answer, call, installed, on_terminal
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.store import jobs
from ops.world import World, a_job_id
from reported import HOSTILE


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def a_hostile_job(world: World, words: str = HOSTILE) -> None:
    """A job that failed and one that was completed, with somebody else's words wherever there can be any."""
    with world.site() as site, site.store.write() as connection:
        now = site.store.now(connection)
        for number, end in enumerate((Status.FAILED, Status.COMPLETED)):
            job = Job(job_id=a_job_id(number), owner=words)
            jobs.create_job(connection, job, actor="service", at=now)
            for old, new, cause in (
                (Status.QUEUED, Status.PROCESSING, Cause.CLAIM),
                (Status.PROCESSING, end, Cause.EXECUTOR),
            ):
                changes = {"error": words} if new is Status.FAILED else None
                jobs.change_status(
                    connection,
                    job.job_id,
                    new,
                    expect=old,
                    cause=cause,
                    actor="service",
                    at=now + timedelta(microseconds=1),
                    changes=changes,
                )


def report(world: World, *words: str) -> dict[str, Any]:
    document = answer("report", *words, database=world.url)
    assert document["exit_code"] == 0
    data: dict[str, Any] = document["data"]
    return data


def test_the_day_is_the_one_on_this_machines_wall_clock(world: World) -> None:
    period = report(world, "--day", "2026-03-29")["period"]
    assert (period["since"], period["until"]) == (
        "2026-03-28T23:00:00.000000Z",
        "2026-03-29T22:00:00.000000Z",
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["2025-11-04"], "2025-11-04"),
        (["--day", "2025-11-04"], "2025-11-04"),
        (["--week", "2025-11-04"], "2025-W45"),
        (["users", "--month", "2025-11-04"], "2025-11"),
        (["--day", "users", "2025-11-04"], "2025-11-04"),
        (["billing", "2025-11"], "2025-11"),
        (["billing", "--since", "2025-11", "--until", "2025-12"], "2025-11-01 00:00 to 2026-01-01 00:00"),
        (["--since", "2025-11-04T06:00", "--until", "2025-11-04"], "2025-11-04 06:00 to 2025-11-05 00:00"),
    ],
)
def test_a_period_is_said_in_words(world: World, words: list[str], name: str) -> None:
    assert report(world, *words)["period"]["name"] == name


def test_billing_is_about_a_month_unless_told_otherwise(world: World) -> None:
    assert len(report(world, "billing")["period"]["name"]) == len("2026-11")
    assert len(report(world, "billing", "last")["period"]["name"]) == len("2026-11")
    assert report(world, "billing", "2026-11-22")["period"]["name"] == "2026-11-22"
    assert report(world, "billing", "2026-11-22", "--month")["period"]["name"] == "2026-11"
    assert len(report(world)["period"]["name"]) == len("2026-11-22")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--day", "0001-01-01"], "at the edge of the calendar"),
        (["soon"], "names no day, week or month"),
        (["--day", "2025-11"], "names a month, not a day"),
        (["--day", "--week"], "--day and --week are two periods"),
        (["users", "today", "yesterday"], "one word too many"),
        (["--until", "2025-11"], "--until alone tells no period"),
        (["--since", "2025-11", "--day"], "tell the period by themselves"),
        (["--since", "2025-12", "--until", "2025-11"], "ends before it begins"),
        (["--since", "whenever"], "neither an age nor a time"),
        (["--format", "csv"], "only billing is one table"),
        (["--format", "pdf"], "pdf"),
        (["--output", "/nowhere/at/all.html"], "cannot be made"),
    ],
)
def test_what_cannot_be_reported_is_said_with_a_next_step(world: World, words: list[str], said: str) -> None:
    result = call("report", *words, database=world.url)
    assert result.exit_code == 2
    assert said in result.stderr
    assert " hint: " in result.stderr


def test_json_and_a_format_are_two_forms(world: World) -> None:
    result = call("report", "--json", "--format", "html", database=world.url)
    assert result.exit_code == 2
    assert json.loads(result.stdout)["errors"][0]["code"] == "usage"


def test_the_numbers_of_a_day_on_each_database(store_url: str, tmp_path: Path) -> None:
    world = World(store_url, tmp_path / "outputs")
    world.init()
    a_hostile_job(world, "ada")
    data = report(world)
    assert data["events"] == 6
    assert {what: count for what, count in data["activity"].items() if count} == {
        "created": 2,
        "started": 2,
        "completed": 1,
        "failed": 1,
    }
    assert data["reasons"] == [{"reason": "ada", "jobs": 1}]
    assert report(world, "billing")["items"] == [
        {"owner": "ada", "jobs": 1, "minutes": 0.0, "unknown_minutes": 1, "recovered": 0, "copies": 0}
    ]
    assert report(world, "users")["items"] == []


def test_off_a_terminal_tables_are_lines_and_never_cut(world: World) -> None:
    a_hostile_job(world, "ada" * 100)
    lines = call("report", database=world.url).stdout.splitlines()
    assert lines[0] == "what\ttimes\tmeaning"
    assert "created\t2\tasked for" in lines
    bill = call("report", "billing", database=world.url).stdout.splitlines()[1]
    assert bill == "\t".join(["ada" * 100, "1", "0", "1", "0", "0"])


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
@pytest.mark.parametrize("words", [HOSTILE, HOSTILE + "x" * 1_000_000], ids=["hostile", "and a megabyte"])
def test_a_hostile_job_does_no_harm(world: World, form: str, words: str) -> None:
    a_hostile_job(world, words)
    for subject in ([], ["users"], ["billing"]):
        result = call("report", *subject, "--format", form, database=world.url)
        assert result.exit_code == 0
        assert all(char.isprintable() or char == "\n" for char in result.stdout)
        assert len(result.stdout) < 30_000
        assert "<script>" not in result.stdout or form == "text"


def test_a_hostile_owner_is_a_harmless_cell(world: World) -> None:
    a_hostile_job(world)
    result = call("report", "billing", "--format", "csv", database=world.url)
    (_, row) = csv.reader(io.StringIO(result.stdout))
    assert row[2].startswith("'=cmd|")
    assert all(char.isprintable() for char in row[2])


def test_a_hostile_job_on_a_terminal(world: World) -> None:
    a_hostile_job(world)
    shown = on_terminal("report", "--database", world.url)
    assert shown.returncode == 0
    assert "Why jobs failed or were cut short" in shown.text
    assert "\x1b[31mred" not in shown.raw
    assert "\x07" not in shown.raw
    assert all(len(line) <= 80 for line in shown.text.splitlines())


def test_a_file_is_written_whole_and_replaced_only_when_asked(world: World, tmp_path: Path) -> None:
    target = tmp_path / "day.html"
    first = call("report", "-o", str(target), database=world.url)
    assert (first.exit_code, first.stdout) == (0, "")
    assert target.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(target.stat().st_mode) & 0o077 == 0o044
    target.write_text("mine")
    refused = call("report", "-o", str(target), database=world.url)
    assert (refused.exit_code, target.read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    assert answer("report", "-o", str(target), "--force", database=world.url)["data"]["path"] == str(target)
    assert target.read_text().startswith("<!doctype html>")
    assert os.listdir(tmp_path) == [name for name in os.listdir(tmp_path) if ".part" not in name]


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("a.md", "# Completed jobs"),
        ("a.csv", "since,until,owner"),
        ("a.txt", "Completed"),
        ("a", "Completed"),
    ],
)
def test_the_name_of_the_file_tells_its_form(world: World, tmp_path: Path, name: str, begin: str) -> None:
    call("report", "billing", "--output", str(tmp_path / name), database=world.url)
    assert (tmp_path / name).read_text().startswith(begin)


def test_a_link_is_no_file_to_replace(world: World, tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "day.md"
    victim.write_text("mine")
    link.symlink_to(victim)
    result = call("report", "-o", str(link), "--force", database=world.url)
    assert (result.exit_code, victim.read_text(), link.is_symlink()) == (2, "mine", True)


def test_the_installed_program_reports(world: World) -> None:
    done = installed("report", "--week", "last", "--database", world.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("what\ttimes\tmeaning\n")
