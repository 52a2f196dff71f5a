"""``jobctl schedule``: what it prints is what it writes, and only its own files are touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cli.calling import answer, call
from jobctl.core.schedule import END_MARK, MARK, File
from jobctl.ops.schedule import Kind, Schedule, install, remove
from ops.world import World


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``crontab`` program that keeps its table in a file, as cron's own does."""
    table, program = tmp_path / "table", tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then exec cat {table}; fi\n[ "$1" = - ] && exec cat > {table}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return table


def test_crontab_lines_are_printed_ready_to_be_sent_on(world: World) -> None:
    result = call("schedule", "--cron", "--only", "expire", "--every", "expire=15m", database=world.url)
    assert result.exit_code == 0
    first, line, _last = result.stdout.splitlines()
    assert first == MARK
    assert line.startswith("*/15 * * * * ")
    assert line.endswith(" expire --yes --quiet --jitter 60s")


def test_units_are_written_where_they_are_wanted_and_removed_again(world: World, tmp_path: Path) -> None:
    there = ("schedule", "--systemd", "--directory", str(tmp_path / "units"))
    refused = call(*there, "--install", database=world.url)
    assert (refused.exit_code, (tmp_path / "units").exists()) == (5, False)
    assert call(*there, "--install", "--yes", database=world.url).exit_code == 0
    service = tmp_path / "units" / "jobctl-cleanup.service"
    assert f"ReadWritePaths={world.root}\n" in service.read_text()
    assert stat.S_IMODE(service.stat().st_mode) == 0o644
    assert len(list((tmp_path / "units").iterdir())) == 8
    assert call(*there, "--remove", database=world.url).exit_code == 0
    assert list((tmp_path / "units").iterdir()) == []


def test_a_file_of_somebody_else_stops_it_before_anything_is_written(world: World, tmp_path: Path) -> None:
    theirs = tmp_path / "jobctl-expire.timer"
    theirs.write_text("[Timer]\n")
    there = ("schedule", "--systemd", "--directory", str(tmp_path))
    result = call(*there, "--install", "--yes", database=world.url)
    assert result.exit_code == 2
    assert f"{theirs} was not written by jobctl; nothing was changed" in result.stderr
    assert not (tmp_path / "jobctl-recover.timer").exists()
    call(*there, "--remove", database=world.url)
    assert theirs.read_text() == "[Timer]\n"


def test_other_lines_of_a_crontab_stay(crontab: Path) -> None:
    crontab.write_text("MAILTO=ops\n")
    ours = Schedule(Kind.CRON, "", [File("jobctl", f"{MARK}\n5 * * * * jobctl expire\n{END_MARK}\n")], "")
    for _ in range(2):
        install(ours)
    assert crontab.read_text() == f"MAILTO=ops\n{ours.files[0].text}"
    assert remove(ours) == ["crontab"]
    assert (crontab.read_text(), remove(ours)) == ("MAILTO=ops\n", [])


def test_a_password_is_never_written_into_a_schedule(world: World) -> None:
    url = "postgresql://ops:hunter2@db.example/jobs"
    result = call("schedule", "--cron", "--database", url)
    assert "hunter2" not in result.stdout + result.stderr
    assert result.exit_code != 0


def test_json_holds_each_file(world: World) -> None:
    items = answer("schedule", "--systemd", "--only", "purge", database=world.url)["data"]["items"]
    assert [Path(item["path"]).name for item in items] == ["jobctl-purge.service", "jobctl-purge.timer"]
    assert all(item["kind"] == "systemd" and item["text"].startswith(MARK) for item in items)


@pytest.mark.parametrize(
    "wrong", [["--cron", "--systemd"], ["--only", "sleep"], ["--every", "expire=7m"], ["--every", "x=1h"]]
)
def test_what_makes_no_sense_is_refused(world: World, wrong: list[str]) -> None:
    result = call("schedule", *wrong, database=world.url)
    assert (result.exit_code, "hint:" in result.stderr) == (2, True)
