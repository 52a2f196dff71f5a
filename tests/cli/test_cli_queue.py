"""The queue on the command line: enqueue, cancel, retry, workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.calling import answer, call
from jobctl.store import jobs
from jobctl.store.engine import open_store


def test_an_enqueued_job_is_named_alone_on_stdout(store_url: str) -> None:
    result = call("enqueue", "render", "--payload", '{"slides": 3}', "--owner", "u1", database=store_url)
    assert result.exit_code == 0
    job_id = result.stdout.strip()
    shown = answer("show", job_id, database=store_url)["data"]
    assert (shown["status"], shown["owner"]) == ("queued", "u1")
    assert "no running worker knows a task 'render'" in result.stderr


def test_a_key_gives_back_the_job_that_has_it(store_url: str) -> None:
    first = call("enqueue", "render", "--key", "k", database=store_url)
    again = call("enqueue", "render", "--key", "k", database=store_url)
    assert first.stdout == again.stdout
    assert "nothing was enqueued" in again.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--payload", "{slides"], "the payload is no JSON"),
        (["--payload", "NaN"], "NaN is no JSON"),
        (["--payload", "[" * 100_000], "nested too deeply"),
        (["--each-line", "-", "--key", "k"], "--each-line goes with"),
        (["--payload", "@/no/such/file"], "/no/such/file cannot be read"),
        (["--at", "soon"], "--at 'soon' is no time"),
        (["--delay", "soon"], "--delay"),
    ],
)
def test_what_cannot_be_read_enqueues_nothing(store_url: str, options: list[str], said: str) -> None:
    result = call("enqueue", "render", *options, database=store_url)
    assert result.exit_code == 2
    assert said in result.stderr
    assert answer("list", database=store_url)["data"]["items"] == []


def test_lines_become_jobs_and_bad_ones_are_told(store_url: str, tmp_path: Path) -> None:
    lines = tmp_path / "payloads.jsonl"
    lines.write_text('{"n": 1}\nno json\n3\n')
    result = call("enqueue", "render", "--each-line", str(lines), "--json", database=store_url)
    document = json.loads(result.stdout)
    assert (result.exit_code, document["counts"]) == (3, {"enqueued": 2, "failed": 1})
    assert any("line 2" in warning for warning in document["warnings"])


def test_a_queued_job_is_cancelled_at_once_and_can_be_tried_again(store_url: str) -> None:
    job_id = call("enqueue", "render", database=store_url).stdout.strip()
    assert call("cancel", job_id, database=store_url).exit_code == 0
    again = call("cancel", job_id, database=store_url)
    assert (again.exit_code, "cancelled already" in again.stderr) == (3, True)
    assert call("retry", job_id, database=store_url).exit_code == 0
    store = open_store(store_url)
    with store.read() as connection:
        statuses = [event.to_status for event in jobs.history(connection, job_id)]
    store.close()
    assert statuses == ["queued", "cancelled", "queued"]


def test_an_unknown_job_is_told_and_the_others_are_done(store_url: str) -> None:
    job_id = call("enqueue", "render", database=store_url).stdout.strip()
    result = call("cancel", "nobody", job_id, database=store_url)
    assert result.exit_code == 3
    assert "no job nobody is recorded" in result.stderr
    assert answer("show", job_id, database=store_url)["data"]["status"] == "cancelled"


def test_no_worker_is_told_with_the_way_to_one(store_url: str) -> None:
    result = call("workers", database=store_url)
    assert result.exit_code == 0, result.stderr
    assert "jobctl worker --tasks MODULE" in result.stderr


def test_a_worker_without_tasks_does_not_start(store_url: str) -> None:
    result = call("worker", database=store_url)
    assert result.exit_code == 2
    assert "no task is known" in result.stderr
