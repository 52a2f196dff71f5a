"""The benchmark of the runner still runs, and what it says of what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench_runner_table import BULK, FLOOR, OURS, RESCUE, SINGLES, Table

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench_runner.py"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_small_run_measures_everything(database: str, tmp_path: Path) -> None:
    words = ["--small", "--json", "--only", database, "--directory", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, str(_SCRIPT), *words], capture_output=True, timeout=300, check=False, env=os.environ
    )
    assert ran.returncode == 0, ran.stderr.decode()
    (table,) = json.loads(ran.stdout)
    reached = {row["name"]: row["reached"] for row in table["rows"]}
    assert {name for name, cells in reached.items() if cells[OURS] > 0 or name == "idle worker"} == {
        "enqueue one by one",
        "enqueue in bulk",
        "drain by one worker",
        "pick-up p50",
        "pick-up p95",
        "idle worker",
        "kill -9 to running again",
    }
    assert all(reached[name][FLOOR] > 0 for name in ("enqueue in bulk", "drain by one worker", "pick-up p95"))
    assert list(tmp_path.iterdir()) == []


def test_of_several_rounds_the_best_counts() -> None:
    table = Table("")
    for rate, seconds in ((100.0, 2.0), (300.0, 1.0), (200.0, 3.0)):
        table.note(SINGLES, OURS, rate)
        table.note(RESCUE, OURS, seconds)
    assert table.cells == {SINGLES.name: {OURS: 300.0}, RESCUE.name: {OURS: 1.0}}


def test_the_best_of_the_peers_is_compared_with_and_neither_the_floor_nor_what_does_not() -> None:
    table = Table("")
    for name, rate, seconds in (
        (FLOOR, 900.0, "does not"),
        (OURS, 300.0, 2.0),
        ("swift", 600.0, 8.0),
        ("slow", 10.0, "does not: why it does not"),
    ):
        table.note(BULK, name, rate)
        table.note(RESCUE, name, seconds)
    assert (table.best_peer(BULK), table.best_peer(RESCUE)) == (("swift", 0.5), ("swift", 4.0))
    assert table.ratio(RESCUE, FLOOR) is None


def test_what_one_does_not_do_is_told_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("a title")
    table.note(RESCUE, OURS, 2.0)
    table.note(RESCUE, "slow", "does not: its user looks")
    table.show()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a title"
    assert lines[2].split() == ["kill", "-9", "to", "running", "again,", "s", "2", "does", "not"]
    assert lines[3] == "  slow does not: its user looks"
