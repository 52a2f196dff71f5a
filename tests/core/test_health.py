"""Judgements of health: where a boundary lies, and the words."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta

import pytest

from jobctl.core.health.clocks import judge_skew
from jobctl.core.health.databases import (
    Setting,
    TableRows,
    Transaction,
    Wal,
    judge_bloat,
    judge_hosts,
    judge_settings,
    judge_statistics,
    judge_transactions,
    judge_wal,
)
from jobctl.core.health.work import (
    LastSuccess,
    judge_backup,
    judge_schedule,
)
from jobctl.core.health.workers import (
    Expected,
    Known,
    Serving,
    Waiting,
    judge_declared,
    judge_workers,
    lack_of,
)
from jobctl.model.commands import shell_word
from jobctl.model.health import Diagnosis, Health

MIB = 1 << 20


def health(found: Diagnosis) -> str:
    return found.health.value


@pytest.mark.parametrize(
    ("ahead_s", "expected"),
    [(5, "ok"), (-5, "ok"), (5.1, "warn"), (-300, "warn"), (-301, "fail"), (7200, "fail")],
)
def test_clocks(ahead_s: float, expected: str) -> None:
    assert health(judge_skew("a", "b", ahead_s)) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(64 * MIB - 1, "ok"), (64 * MIB, "warn"), (1024 * MIB, "fail")]
)
def test_a_log_is_judged_by_its_size(size: int, expected: str) -> None:
    assert health(judge_wal(Wal(size, 9, 9), [], "mend")) == expected
    assert health(judge_wal(Wal(size, 9, 3), ["pid 1 (a)"], "mend")) == expected


@pytest.mark.parametrize(("age_s", "expected"), [(899, "ok"), (900, "warn"), (3600, "fail")])
def test_transactions(age_s: float, expected: str) -> None:
    assert health(judge_transactions([Transaction(7, "", "idle", age_s)], {7: "end it"})) == expected


@pytest.mark.parametrize(
    ("live", "dead", "expected"),
    [
        (0, 9_999, "ok"),
        (0, 10_000, "warn"),
        (1_000_000, 200_000, "ok"),
        (1_000_000, 200_001, "warn"),
        (99_999, 100_000, "fail"),
        (100_000, 100_000, "warn"),
    ],
)
def test_bloat(live: int, dead: int, expected: str) -> None:
    tables = [TableRows("job", live, dead, 60.0, is_analyzed=True)]
    assert health(judge_bloat(tables, {"job": "mend"})) == expected


def test_small_tables_need_no_statistics() -> None:
    for live, expected in ((999, "ok"), (1_000, "warn")):
        tables = [TableRows("job", live, 0, None, is_analyzed=False)]
        assert health(judge_statistics(tables, {"job": "mend"})) == expected


@pytest.mark.parametrize(("ago_s", "expected"), [(3_599, "fail"), (3_601, "warn")])
def test_a_host_that_was_here_within_the_hour_is_here_now(ago_s: float, expected: str) -> None:
    assert health(judge_hosts({"a": 0.0, "b": ago_s}, "a")) == expected
    assert judge_hosts({"a": 0.0}, "a").health is Health.OK


def test_of_settings_only_those_that_are_off_are_told_each_with_its_command() -> None:
    settings = [
        Setting("fsync", "off", "configuration file"),
        Setting("full_page_writes", "on", "default"),
        Setting("synchronous_commit", "local", "default"),
    ]
    found = judge_settings(settings, {"fsync": "turn it on"})
    assert (found.health, found.command, found.fix) == (Health.FAIL, "turn it on", "set fsync = on")
    assert judge_settings(settings[1:], {}).said == "full_page_writes on, synchronous_commit local"


@pytest.mark.parametrize(
    ("every", "ago", "expected"),
    [
        (timedelta(minutes=5), timedelta(minutes=60), "ok"),
        (timedelta(minutes=5), timedelta(minutes=61), "warn"),
        (timedelta(days=1), timedelta(days=3), "ok"),
        (timedelta(days=1), timedelta(days=3, seconds=1), "warn"),
    ],
)
def test_a_command_is_late_after_three_periods(every: timedelta, ago: timedelta, expected: str) -> None:
    ran = [LastSuccess("expire", every, ago.total_seconds())]
    assert health(judge_schedule(ran, installed_s=0.0)) == expected


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        ((), "nothing runs recover, expire and cleanup by itself"),
        (("recover",), "nothing runs expire and cleanup by itself; recover 5 s ago"),
        (("recover", "cleanup"), "nothing runs expire by itself; recover 5 s ago, cleanup 5 s ago"),
    ],
)
def test_that_a_command_ran_once_does_not_say_that_anything_runs_it(
    ran: tuple[str, ...], expected: str
) -> None:
    successes = [LastSuccess(command, timedelta(hours=1), 5.0) for command in ran]
    found = judge_schedule(successes, installed_s=None)
    assert (found.health, found.said) == (Health.WARN, expected)
    assert found.command == "jobctl schedule --install --yes"
    assert health(judge_schedule(successes, installed_s=60.0)) == "ok"


def test_a_schedule_of_which_nothing_ever_ran_is_none() -> None:
    assert health(judge_schedule([], installed_s=timedelta(days=2).total_seconds())) == "ok"
    found = judge_schedule([], installed_s=timedelta(days=4).total_seconds())
    assert (found.health, found.said) == (
        Health.WARN,
        "a schedule was installed 4 d ago, and none of its commands has run",
    )


@pytest.mark.parametrize(("days", "expected"), [(1.9, "ok"), (2, "warn"), (8, "fail"), (None, "warn")])
def test_backups(days: float | None, expected: str) -> None:
    assert health(judge_backup(None if days is None else days * 86_400)) == expected


def test_why_nobody_takes_a_job() -> None:
    serving = [Serving(["default"], ["render"]), Serving(["bulk"], ["scan"])]
    assert lack_of("default", "render", serving) == ""
    assert lack_of("video", "render", serving) == "no worker serves the queue video"
    assert lack_of("default", "dance", serving) == "no worker knows the task dance"
    said = "no worker of the queue default knows the task scan, only those of bulk"
    assert lack_of("default", "scan", serving) == said


def test_workers_that_declare_a_task_differently_are_told() -> None:
    old, new = {"queue": "default", "retries": 2}, {"queue": "default", "retries": 5, "timeout_s": 9.0}
    alike = [Serving(["q"], ["render"], name, {"render": old}) for name in ("w1", "w2")]
    assert judge_declared(alike).said == "1 task known, declared alike by all workers"
    found = judge_declared([*alike, Serving(["q"], ["render"], "w3", {"render": new})])
    assert (found.health, found.fix.count("[tasks.render]")) == (Health.WARN, 1)
    both = "queue default, 2 retries (worker w1) and queue default, 5 retries (worker w3)"
    assert both in found.said


def test_a_module_that_a_worker_goes_without_is_told() -> None:
    found = judge_declared([Serving(["q"], [], "w1", {}, ["films does not import: SyntaxError: x"])])
    assert found.health is Health.WARN
    assert "worker w1 goes without a module: films does not import: SyntaxError: x" in found.said


@pytest.mark.parametrize("name", ["it's", "a\x1b[31m\n\\", "\u202efdp", "caf\udce9 1"])
def test_a_name_that_is_told_is_the_same_name_to_bash(name: str) -> None:
    printed = subprocess.run(
        ["bash", "-c", f"printf %s {shell_word(name)}"],
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    assert os.fsdecode(printed.stdout) == name
    assert shell_word(name).isprintable()


DAY_S = 86_400.0
NOBODY: list[Serving] = []
SOMEBODY = [Serving(["default"], ["render"])]


def test_where_nothing_waits_and_nothing_is_to_come_no_worker_is_missed() -> None:
    assert health(judge_workers([], NOBODY, Known(DAY_S), Expected())) == "ok"


def test_jobs_that_wait_without_a_worker_name_the_one_command_that_serves_all_their_queues() -> None:
    waiting = [Waiting("default", "render", 2, 40.0), Waiting("slow ones", "cut", 1, 600.0)]
    found = judge_workers(waiting, NOBODY, Known(3_600.0), Expected())
    assert found.health is Health.FAIL
    assert found.said == (
        "1 job (cut) has been due for 10 min, and no worker serves the queue slow ones; "
        "2 jobs (render) have been due for 40 s, and no worker serves the queue default; "
        "the last worker was seen 1 h ago"
    )
    assert found.command == "jobctl worker --tasks MODULE --queue default --queue 'slow ones'"


def test_of_a_queue_that_was_counted_no_further_more_may_wait() -> None:
    found = judge_workers([Waiting("q", "cut", 20_000, 1.0, is_at_least=True)], NOBODY, Known(), Expected())
    assert found.said.startswith("at least 20,000 jobs (cut) have been due for 1 s")


def test_jobs_for_later_need_a_worker_too() -> None:
    found = judge_workers([], NOBODY, Known(), Expected(3, 7_200.0, ["video"]))
    assert found.said == "3 jobs are queued for later, the first in 2 h, and no worker runs"
    assert (health(found), found.command) == ("warn", "jobctl worker --tasks MODULE --queue video")
    assert health(judge_workers([], SOMEBODY, Known(), Expected(3, 7_200.0, ["video"]))) == "ok"


def test_a_schedule_needs_a_worker_that_enqueues_its_jobs() -> None:
    known = Known(3_600.0, has_tasks=True)
    found = judge_workers([], NOBODY, known, Expected(schedules=["nightly", "hourly"]))
    assert found.said == (
        "schedules nightly, hourly enqueue jobs, and no worker runs; the last worker was seen 1 h ago"
    )
    assert (health(found), found.command) == ("warn", "jobctl worker")
    assert health(judge_workers([], SOMEBODY, known, Expected(schedules=["nightly"]))) == "ok"
