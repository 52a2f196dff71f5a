"""What is judged of a store's standing, and in which order it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobctl.cli.table import command_in, options_of
from jobctl.core.health.places import Suspended, judge_absence
from jobctl.core.health.standing import (
    headline,
    judge_failures,
    judge_last_run,
    judge_root_room,
    judge_scan,
    judge_silent,
    worst_first,
)
from jobctl.model.backup import BackupKind, PutBack
from jobctl.model.health import Health, fail, ok, unknown, warn
from jobctl.model.runs import LastRun
from jobctl.model.standing import Changes, Outlook, Reading, RootRoom, ScanSeen, Silent, Trouble
from jobctl.model.status import Status

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = NOW - timedelta(hours=1)


def test_the_worst_is_said_first_and_alone() -> None:
    found = [Trouble("a", warn("a is slow")), Trouble("b", ok("b")), Trouble("c", fail("c is gone"))]
    assert headline(worst_first(found)) == "Broken: c is gone (and 1 more)."
    assert headline(worst_first(found[:1])) == "Works, but: a is slow."
    assert headline(worst_first([Trouble("d", unknown("no answer"))])) == "Not all could be told: no answer."
    assert headline(worst_first(found[1:2])) == "All is well."


def test_what_is_as_bad_stays_in_its_order() -> None:
    found = [Trouble(name, warn(name)) for name in "cab"]
    assert [each.subject for each in worst_first(found)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("failed", "completed", "health"),
    [(9, 0, Health.OK), (10, 10, Health.OK), (11, 10, Health.FAIL), (10, 0, Health.FAIL)],
)
def test_many_failures_are_a_failure_of_the_whole(failed: int, completed: int, health: Health) -> None:
    arrived = {Status.FAILED: failed, Status.COMPLETED: completed}
    assert judge_failures(Changes(HOUR, {}, arrived), NOW).health is health


@pytest.mark.parametrize("command", ["recover", "expire", "cleanup", "quarantine purge", "backup"])
def test_a_failed_run_is_looked_into_with_a_command_that_there_is(command: str) -> None:
    found = judge_last_run(run(2)._replace(command=command), NOW).command
    program, *words = found.split()
    named = command_in(words)
    assert (program, named) == ("jobctl", command)
    assert set(words) <= {*command.split(), *options_of(named)}


def test_silent_jobs_are_named_with_how_long() -> None:
    found = judge_silent(Silent(3, True, "j1", NOW - timedelta(hours=2)), NOW)
    assert (found.health, found.command) == (Health.WARN, "jobctl expire --dry-run")
    assert found.said == "at least 3 jobs with a stale heartbeat (the longest: j1 for 2 h)"
    assert judge_silent(Silent(), NOW).health is Health.OK


def run(exit_code: int, **fields: object) -> LastRun:
    values = {"error": None, "run_id": None, "counts": None, "succeeded_at": None, **fields}
    return LastRun("cleanup", "render-1", HOUR, HOUR, exit_code, **values)  # type: ignore[arg-type]


def test_a_command_that_ended_badly_is_told_with_what_looks_closer() -> None:
    found = judge_last_run(run(14, error="root /srv is away"), NOW)
    assert found.health is Health.FAIL
    assert found.said == (
        "cleanup on render-1 ended 1 h ago with exit code 14: root /srv is away (last success: never)"
    )
    assert found.command == "jobctl cleanup --dry-run"


def test_a_brake_is_a_warning_and_its_run_is_named() -> None:
    found = judge_last_run(run(13, run_id="R1", succeeded_at=NOW - timedelta(days=3)), NOW)
    assert (found.health, found.command) == (Health.WARN, "jobctl run show R1")
    assert found.said.endswith("a brake held part of the plan (last success: 3 d ago)")
    assert judge_last_run(run(0), NOW).health is Health.OK
    assert "not all was done" in judge_last_run(run(99), NOW).said


@pytest.mark.parametrize("code", [2, 5, 130, 143])
def test_what_somebody_at_a_terminal_brought_about_is_no_more_than_a_warning(code: int) -> None:
    assert judge_last_run(run(code, succeeded_at=NOW - timedelta(hours=2)), NOW).health is Health.WARN


def room(days: float | None, *, free: int = 50, is_at_least: bool = False) -> RootRoom:
    outlook = Outlook(days, is_at_least, f"full in {days}")
    return RootRoom("r1", "/srv", Reading(NOW, 100, free), 0, 0, outlook)


@pytest.mark.parametrize(
    ("seen", "health"),
    [
        (room(None), Health.OK),
        (room(30), Health.OK),
        (room(5, is_at_least=True), Health.OK),
        (room(6.9), Health.WARN),
        (room(0.5), Health.FAIL),
        (room(None, free=3), Health.WARN),
        (room(6.0, free=0), Health.FAIL),
        (RootRoom("r1", "/srv", None, 0, 0, Outlook(None, False, "unknown"), "no answer"), Health.UNKNOWN),
        (RootRoom("r1", "/srv", None, 0, 0, Outlook(None, False, "unknown"), "away", "mount"), Health.FAIL),
        (RootRoom("r1", "/srv", Reading(NOW, 0, 0), 0, 0, Outlook(None, False, "unknown")), Health.UNKNOWN),
    ],
)
def test_a_disk_that_is_full_soon_is_told_in_time(seen: RootRoom, health: Health) -> None:
    assert judge_root_room(seen).health is health


def test_findings_count_until_a_run_may_have_mended_them() -> None:
    seen = ScanSeen("r1", "/srv", HOUR, {"orphan-video": 2, "broken-video": 1, "leftover": 9})
    assert [each.said for each in judge_scan(seen)] == [
        "1 broken video below /srv",
        "2 orphaned videos below /srv",
    ]
    assert judge_scan(seen._replace(is_outdated=True)) == []


def suspended(**changes: Any) -> Suspended:
    back = PutBack("/srv/b.db", BackupKind.SQLITE, HOUR, None, was_sound=True)
    return Suspended({"r1": "/srv/a"}, HOUR, None, are_all=True, put_back=back)._replace(**changes)


def test_where_absence_is_not_trusted_it_is_told_since_when_why_and_what_ends_it() -> None:
    assert judge_absence([], NOW).health is Health.OK
    assert judge_absence([suspended()], NOW) == warn(
        "nothing has been called missing for 1 h, since 2026-11-23 11:00 UTC: the backup of 2026-11-23 11:00 "
        "UTC was put back (/srv/b.db); below /srv/a",
        "apply a complete recover, before any worker starts",
        "jobctl recover --yes",
    )


def test_one_root_of_several_is_recovered_alone_and_anothers_host_is_named() -> None:
    some = judge_absence([suspended(are_all=False, roots={"r1": "/a", "r2": "/b"}, put_back=None)], NOW)
    assert some.said.endswith("an older copy was put back; below /a, /b")
    assert some.command == "jobctl recover --root r1 --yes && jobctl recover --root r2 --yes"
    other = judge_absence([suspended(host="web-2")], NOW)
    assert (other.fix, other.command) == ("on web-2, apply a complete recover: jobctl recover --yes", "")


@pytest.mark.parametrize(
    ("command", "looks"),
    [
        ("recover", "jobctl recover --dry-run"),
        ("quarantine purge", "jobctl quarantine purge --dry-run"),
        ("duplicates", "jobctl duplicates --quarantine --dry-run"),
        ("backup", "jobctl backup"),
    ],
)
def test_what_looks_closer_is_a_command_that_takes_it(command: str, looks: str) -> None:
    assert judge_last_run(run(3)._replace(command=command), NOW).command == looks
