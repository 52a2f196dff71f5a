"""The way from loss to recovery and back, by commands alone, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from cli.calling import answer, call
from ops.world import World, a_job_id


def test_from_loss_to_recovery_and_back(bare_url: str, tmp_path: Path) -> None:
    world = World(bare_url, tmp_path / "outputs")
    world.video(0)
    assert answer("scan", database=bare_url)["exit_code"] == 10
    assert answer("init", "--root", str(world.root), database=bare_url)["data"]["store_made"]

    assert answer("scan", database=bare_url)["counts"]["orphan-video"] == 1
    run_id = answer("recover", "--yes", database=bare_url)["run_id"]
    assert answer("scan", "--exit-code", database=bare_url)["exit_code"] == 0

    [job] = answer("list", database=bare_url)["data"]["items"]
    assert (job["job_id"], job["status"]) == (a_job_id(0), "completed")
    shown = answer("show", job["job_id"], database=bare_url)["data"]
    assert [event["run_id"] for event in shown["events"]] == [run_id]
    assert answer("explain", job["job_id"], database=bare_url)["data"]["fields"]["status"]["trust"] == "E1"

    assert answer("undo", run_id, "--yes", database=bare_url)["counts"]["done"] == 1
    assert answer("list", database=bare_url)["data"]["items"] == []
    assert [run["command"] for run in answer("runs", database=bare_url)["data"]["items"]] == [
        "undo",
        "recover",
    ]
    assert answer("recover", "--yes", database=bare_url)["counts"]["planned"] == 0
    assert answer("recover", "--yes", "--include-declined", database=bare_url)["counts"]["done"] == 1


@pytest.mark.parametrize("words", [["status"], ["expire", "--dry-run"], ["cleanup", "--dry-run"]])
def test_a_command_connects_once_however_often_it_looks(store_url: str, words: list[str]) -> None:
    made = []

    def note(*_: object) -> None:
        made.append(1)

    event.listen(Engine, "connect", note)
    try:
        result = call(*words, database=store_url)
    finally:
        event.remove(Engine, "connect", note)
    assert result.exit_code in {0, 14}, result.output
    assert len(made) == 1
