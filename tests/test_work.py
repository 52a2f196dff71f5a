"""What decorators and ``jobctl.toml`` may say of tasks, schedules and workers."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from jobctl.errors import ConfigurationError
from jobctl.sizes import format_size, parse_size
from jobctl.work import TaskSpec, task_spec, work_from_tables


def test_a_decorator_says_how_a_task_is_run() -> None:
    spec = task_spec("render", timeout="20m", retries=3, memory="4G", backoff="5s", queue="films")
    assert spec == TaskSpec(
        name="render", timeout_s=1200.0, retries=3, memory=4 << 30, backoff_s=5.0, queue="films"
    )


def test_what_the_file_says_goes_before_the_decorator() -> None:
    work = work_from_tables({"tasks": {"render": {"timeout": "5m"}}}, "jobctl.toml")
    assert work.spec_of(task_spec("render", timeout="20m", retries=7)).timeout_s == 300.0
    assert work.spec_of(task_spec("render", retries=7)).retries == 7
    assert work.spec_of(task_spec("other", timeout="20m")).timeout_s == 1200.0


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"worker": {"modles": []}}, "did you mean modules?"),
        ({"worker": {"modules": "films"}}, "modules must be a list of text"),
        ({"worker": {"lease": "0s"}}, "lease must be a duration above 0"),
        ({"tasks": {"render": {"timeout": 20}}}, "timeout must be a duration above 0"),
        ({"tasks": {"render": {"retries": -1}}}, "retries must be a whole number, 0 or more"),
        ({"tasks": {"render": {"command": "rm -rf"}}}, "command must be a list of text"),
        ({"tasks": {"render": {"command": "rm -rf"}}}, 'command = ["python", "render.py", "{job_id}"]'),
        ({"tasks": {"render": 3}}, "write [tasks.render]"),
        ({"tasks": {"render": {"command": ["x", "{jobid}"]}}}, "unknown place {jobid}"),
        ({"schedule": {"a": {"task": "t", "cron": "every day"}}}, "cron 'every day' cannot be read"),
        ({"schedule": {"a": {"task": "t", "cron": "0 3 * * *", "timezone": "Mars"}}}, "timezone must be"),
        ({"schedule": {"a": {"cron": "0 3 * * *"}}}, "task must be text"),
        (
            {"schedule": {"a": {"task": "t", "cron": "0 3 * * *", "payload": {"day": date(2026, 1, 1)}}}},
            "payload cannot be written as JSON: Object of type date",
        ),
        (
            {"schedule": {"a": {"task": "t", "cron": "0 3 * * *", "payload": float("nan")}}},
            "payload cannot be written as JSON: Out of range float",
        ),
        (
            {"schedule": {"a": {"task": "t", "cron": "0 3 * * *", "queue": "q" * 501}}},
            "queue must be at most 500 bytes long",
        ),
        ({"schedule": {"a" * 251: {"task": "t", "cron": "0 3 * * *"}}}, "is no name"),
        ({"worker": {"queues": ["a\0b"]}}, "queues must be at most 500 bytes long, without NUL"),
        ({"tasks": {"render": {"queue": "a\0b"}}}, "queue must be at most 500 bytes long, without NUL"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_word_on_what_would(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        work_from_tables(tables, "jobctl.toml")
    assert said in f"{refused.value.message} {refused.value.hint}"


def test_sizes_are_read_and_written_in_powers_of_1024() -> None:
    assert (parse_size("4G"), parse_size("500M"), parse_size("12")) == (4 << 30, 500 << 20, 12)
    assert (format_size(12), format_size(1536), format_size(4 << 30)) == ("12 B", "1.5 KiB", "4.0 GiB")
    with pytest.raises(ValueError, match="no size above 0"):
        parse_size("0G")
