"""The queue on the command line: enqueue, cancel, retry, workers."""

from __future__ import annotations

import io
import json
import random
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from cli.calling import answer, call
from jobctl.cli.commands.workers import worker_columns
from jobctl.model.attempts import WorkerRow
from jobctl.model.job import Executor
from jobctl.ops.queue import Workers
from jobctl.report.screen import table
from jobctl.store import jobs
from jobctl.store.engine import open_store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_an_enqueued_job_is_named_alone_on_stdout(store_url: str) -> None:
    result = call("enqueue", "render", "--payload", '{"slides": 3}', "--owner", "u1", database=store_url)
    assert result.exit_code == 0
    job_id = result.stdout.strip()
    shown = answer("show", job_id, database=store_url)["data"]
    assert (shown["status"], shown["owner"]) == ("queued", "u1")
    start = f"jobctl worker --tasks MODULE --database {shlex.quote(store_url)}"
    waits = "warning: no worker serves the queue default, so that the job waits"
    guessed = "with 2 retries unless --retries says otherwise"
    assert result.stderr == f"{waits}, {guessed}; start one: {start}\n"
    assert start in call("show", job_id, database=store_url).stderr
    told = call("enqueue", "render", "--retries", "0", database=store_url)
    assert told.stderr == f"{waits}; start one: {start}\n"


def test_who_asked_for_a_job_to_wait_is_not_warned_that_it_does(store_url: str) -> None:
    for later in (["--delay", "2h"], ["--at", "2999-01-31T03:00Z"]):
        assert call("enqueue", "render", *later, "--retries", "0", database=store_url).stderr == ""
        guessed = "no worker has told of the task render yet: it gets 2 retries; --retries N says otherwise"
        assert call("enqueue", "render", *later, database=store_url).stderr == f"warning: {guessed}\n"


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
        (["--payload", "1e999"], "1e999 is too large a number"),
        (["--payload", "[" * 100_000], "nested too deeply"),
        (["--each-line", "-", "--key", "k"], "--each-line goes with"),
        (["--payload", "@/no/such/file"], "/no/such/file cannot be read"),
        (["--at", "soon"], "--at 'soon' is no time"),
        (["--delay", "soon"], "--delay"),
        (["--delay", "5m", "--at", "2031-01-31T03:00"], "--delay and --at exclude each other"),
        (["--priority", "99999999999"], "--priority"),
        (["--key", "k" * 501], "the key is 501 bytes long, more than 500"),
        (["--queue", "é" * 251], "the queue is 502 bytes long, more than 500"),
        (["--owner", "o" * 501], "the owner is 501 bytes long, more than 500"),
    ],
)
def test_what_cannot_be_read_enqueues_nothing(store_url: str, options: list[str], said: str) -> None:
    result = call("enqueue", "render", *options, database=store_url)
    assert result.exit_code == 2
    assert said in result.stderr
    assert answer("list", database=store_url)["data"]["items"] == []


def test_what_is_past_is_due_at_once_and_said_to_have_passed(store_url: str, tmp_path: Path) -> None:
    result = call("enqueue", "render", "--at", "0001-01-01T00:00Z", database=store_url)
    job_id = result.stdout.strip()
    assert f"--at 0001-01-01T00:00Z has passed; job {job_id} is due at once" in result.stderr
    (tmp_path / "lines").write_text('{"at": "0001-01-01T00:00Z"}\n{"at": "9999-12-31T23:59:00-12:00"}\n')
    result = call("enqueue", "render", "--jobs", str(tmp_path / "lines"), database=store_url)
    assert "line 2: 'at' has to be a time with its offset" in result.stderr
    made = [item["job_id"] for item in answer("list", database=store_url)["data"]["items"]]
    assert len(made) == 2
    with open_store(store_url).read() as connection:
        found = [jobs.get_job(connection, each) for each in made]
    assert all(each.run_at is None or each.run_at >= each.created_at for each in found if each.created_at)


def test_the_longest_names_are_held(store_url: str) -> None:
    words = ("--key", random_text("k"), "--queue", random_text("q"), "--job-id", random_text("j"))
    assert call("enqueue", random_text("t"), *words, database=store_url).exit_code == 0
    (job,) = answer("list", database=store_url)["data"]["items"]
    assert job["job_id"] == random_text("j")


def random_text(seed: str) -> str:
    """500 bytes that do not compress."""
    return random.Random(seed).randbytes(250).hex()


def test_lines_become_jobs_and_bad_ones_are_told(store_url: str, tmp_path: Path) -> None:
    lines = tmp_path / "payloads.jsonl"
    lines.write_text('{"n": 1}\nno json\n3\n')
    result = call("enqueue", "render", "--each-line", str(lines), "--json", database=store_url)
    document = json.loads(result.stdout)
    assert (result.exit_code, document["counts"]) == (
        3,
        {"enqueued": 2, "existed": 0, "failed": 1},
    )
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


def test_at_80_columns_workers_are_named_in_full() -> None:
    executor = Executor("render-host-17", "b", 4711, 1)
    queues = ["urgent", "default", "bulk", "thumbnails"]
    row = WorkerRow(
        "render-host-17-7266e94a", "stopped", executor, queues, [], 8, "process", 10.0, NOW, NOW, None, {}
    )
    console = Console(width=80, file=io.StringIO())
    console.print(table(worker_columns(Workers([row], {}, NOW)), [row], 80))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(word in shown for word in ("render-host-17-7266e94a", "stopped", "failed", "beat", *queues))
    assert max(map(len, shown.splitlines())) <= 80


def test_a_worker_without_tasks_does_not_start(store_url: str) -> None:
    result = call("worker", database=store_url)
    assert result.exit_code == 2
    assert "no task is known" in result.stderr


def test_a_key_with_another_payload_is_told(store_url: str) -> None:
    for payload, said in (("1", ""), ("1", "has the key 'k'; nothing"), ("2", "'k', with another payload")):
        result = call("enqueue", "render", "--key", "k", "--payload", payload, database=store_url)
        assert said in result.stderr


def test_lines_say_everything_of_their_jobs(store_url: str, tmp_path: Path) -> None:
    lines = tmp_path / "jobs.jsonl"
    lines.write_text(
        '{"job_id": "a", "payload": {"n": 1}, "owner": "u1", "priority": 5, "queue": "films", "retries": 4}\n'
        '{"job_id": "b", "delay": "1h"}\n'
        '{"job_id": "c", "at": "2031-01-31T03:00:00Z", "key": "k"}\n'
        '{"job_id": "d", "key": "k"}\n'
    )
    told = answer("enqueue", "render", "--jobs", str(lines), "--owner", "u2", database=store_url)
    assert told["counts"] == {"enqueued": 3, "existed": 1, "failed": 0}
    store = open_store(store_url)
    with store.read() as connection:
        one, two, three = (jobs.get_job(connection, job_id) for job_id in "abc")
        now = store.now(connection)
    store.close()
    assert (one.owner, one.priority, one.queue, one.max_attempts) == ("u1", 5, "films", 5)
    assert two.run_at is not None
    assert timedelta(minutes=59) < two.run_at - now < timedelta(minutes=61)
    assert (three.owner, three.run_at) == ("u2", datetime(2031, 1, 31, 3, tzinfo=UTC))


def test_lines_whose_jobs_are_there_are_counted_and_another_job_in_their_place_is_told(
    store_url: str, tmp_path: Path
) -> None:
    lines = tmp_path / "jobs.jsonl"
    lines.write_text('{"key": "k", "payload": 1}\n{"job_id": "a", "payload": 1}\n')
    call("enqueue", "render", "--jobs", str(lines), database=store_url)
    again = call("enqueue", "render", "--jobs", str(lines), database=store_url)
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (
        0,
        "Enqueued 0 jobs; 2 were there already.",
    )
    lines.write_text('{"key": "k", "payload": 2}\n{"job_id": "a", "payload": 2}\n{"job_id": "b"}\n')
    told = answer("enqueue", "render", "--jobs", str(lines), database=store_url)
    assert (told["exit_code"], told["counts"]) == (3, {"enqueued": 1, "existed": 1, "failed": 1})
    assert any("has the key 'k', with another payload" in warning for warning in told["warnings"])
    assert any("a job a is recorded already, another one" in warning for warning in told["warnings"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: it is no JSON"),
        ("3", "line 1: it is no object of a job's fields"),
        ('{"owners": 1}', "line 1: 'owners' is no field of a job (payload, key,"),
        ('{"priority": "high"}', "line 1: 'priority' has to be "),
        ('{"priority": 1099511627776}', "line 1: 'priority' has to be "),
        ('{"retries": -1}', "line 1: 'retries' has to be "),
        ('{"delay": "soon"}', "line 1: "),
        ('{"delay": -1}', "line 1: delay -1.0 is less than nothing"),
        ('{"delay": 1e300}', "line 1: delay 1e+300 is too long"),
        ('{"delay": 1e12}', "line 1: its delay leads beyond the calendar"),
        ('{"at": "2031-01-31T03:00:00"}', "line 1: 'at' has to be "),
        ('{"at": "9999-12-31T23:59:59-10:00"}', "line 1: 'at' has to be a time with its offset"),
        ('{"at": 2031}', "line 1: 'at' has to be a time with its offset"),
        ('{"queue": 5}', "line 1: 'queue' has to be a text; nothing"),
        ('{"delay": 1, "at": "2031-01-31T03:00:00Z"}', "line 1: delay and at exclude each other"),
        ('{"payload": NaN}', "line 1: NaN is no JSON"),
        ('{"payload": [-1e999]}', "line 1: -1e999 is too large a number"),
        ('{"key": "' + "k" * 501 + '"}', "line 1: the key is 501 bytes long"),
    ],
)
def test_a_line_that_says_nonsense_is_told_and_the_next_is_enqueued(
    store_url: str, tmp_path: Path, line: str, said: str
) -> None:
    lines = tmp_path / "jobs.jsonl"
    lines.write_text(f"{line}\n" + '{"job_id": "a"}\n')
    told = answer("enqueue", "render", "--jobs", str(lines), database=store_url)
    assert (told["exit_code"], told["counts"]) == (
        3,
        {"enqueued": 1, "existed": 0, "failed": 1},
    )
    assert any(said in warning for warning in told["warnings"]), told["warnings"]


def test_an_operator_whose_name_is_no_text_can_work_too(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "caf\udce9")
    job_id = call("enqueue", "render", database=store_url).stdout.strip()
    assert "caf" in answer("show", job_id, database=store_url)["data"]["events"][0]["actor"]


def test_the_beginning_of_an_id_names_a_job_to_be_changed_where_it_is_the_only_one(store_url: str) -> None:
    for job_id in ("film-1a", "film-2a", "film-2b"):
        assert call("enqueue", "render", "--job-id", job_id, database=store_url).exit_code == 0
    assert answer("cancel", "film-1", database=store_url)["data"]["jobs"][0]["job_id"] == "film-1a"
    assert call("retry", "film-1", database=store_url).exit_code == 0
    refused = call("cancel", "film-2", "film-1", database=store_url)
    assert refused.exit_code == 3
    assert "film-2 may mean several jobs; none was chosen" in refused.stderr
    assert "film-2a" in refused.stderr
    assert "film-2b" in refused.stderr
    statuses = [answer("show", name, database=store_url)["data"]["status"] for name in ("film-1a", "film-2a")]
    assert statuses == ["cancelled", "queued"]


def test_the_id_of_a_job_that_begins_like_another_one_means_that_job(store_url: str) -> None:
    for job_id in ("film", "film-2"):
        call("enqueue", "render", "--job-id", job_id, database=store_url)
    assert answer("cancel", "film", database=store_url)["data"]["jobs"][0]["job_id"] == "film"


def test_a_worker_that_took_jobs_ahead_is_not_busier_than_it_has_slots() -> None:
    executor = Executor("host", "boot", 1, 1)
    row = WorkerRow("w1", "running", executor, [], [], 2, "process", 10.0, NOW, NOW, None, {})
    assert Workers([row], {"w1": 9}, NOW).busy_slots(row) == 2
