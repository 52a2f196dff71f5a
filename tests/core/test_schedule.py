"""Schedules are read by cron and systemd as they are meant."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobctl.core.schedule import (
    END_MARK,
    TASKS,
    Setting,
    Task,
    crontab,
    units,
    why_no_path,
    why_no_period,
    why_no_units,
    why_not_crontab,
    without_block,
)
from jobctl.core.worker_unit import worker_unit
from jobctl.durations import parse_duration

PERIODS = ("1m", "5m", "30m", "1h", "6h", "12h", "1d")
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)
NASTY = ["a b", "50%", r"a\%b", r"a\\%%", "%", "\\", r"\\", "it's", '"q"', "$HOME", "`id`", ";", "é", "'\\'"]

SETTING = Setting(
    program="/opt/jobctl",
    user="video",
    writable=["/srv/out"],
    writes_homes=False,
    shares_tmp=False,
    uses_network=False,
)


def as_isc_cron_reads(command: str) -> str:
    r"""crontab(5): a % ends the command, \% is a %."""
    kept, escaped = "", False
    for letter in command:
        if letter == "%" and not escaped:
            break
        kept = kept[:-1] + letter if escaped and letter == "%" else kept + letter
        escaped = letter == "\\" and not escaped
    return kept


def as_older_cron_reads(command: str) -> str:
    r"""The same, but \\ is one backslash, too: so did the first of them, and FreeBSD's."""
    kept, escaped = "", False
    for letter in command:
        if letter == "%" and not escaped:
            break
        kept = kept[:-1] + letter if escaped and letter in "%\\" else kept + letter
        escaped = letter == "\\" and not escaped
    return kept


def as_small_cron_reads(command: str) -> str:
    """One that knows no %, such as busybox's."""
    return command


CRONS = pytest.mark.parametrize("read", [as_isc_cron_reads, as_older_cron_reads, as_small_cron_reads])


def command_of(line: str, *, has_user: bool = True) -> str:
    """What is left of a crontab's line without the five fields of its time, and the user."""
    return line.split(" ", 6 if has_user else 5)[-1]


@CRONS
@given(WORDS)
@example("a\\%\\")
def test_every_cron_gives_the_program_the_very_words(read: Callable[[str], str], word: str) -> None:
    setting = replace(SETTING, options=("--config", word))
    if why_not_crontab(setting) is None:
        line = crontab(TASKS[:1], setting).split("\n")[1]
        assert shlex.split(read(command_of(line)))[4:6] == ["--config", word]


@CRONS
def test_the_shell_gives_the_program_the_very_words(read: Callable[[str], str]) -> None:
    setting = replace(SETTING, program="/usr/bin/printf", options=tuple(NASTY))
    command = command_of(crontab([Task("x", ("%s\\n",), TASKS[0].when, "")], setting).split("\n")[1])
    said = subprocess.run(["/bin/sh", "-c", read(command)], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[2:-2] == NASTY


@given(WORDS)
@example("$HOME")
@example("a\\%\\")
@example('it\'s; "50%"')
def test_systemd_gives_the_program_the_very_words(word: str) -> None:
    setting = replace(SETTING, options=("--config", word))
    if why_no_units(setting) is None:
        command = value_of("ExecStart", units(TASKS[:1], setting)[0].text)
        # systemd.service(5): % begins a specifier; $ a variable, unless a colon comes first.
        assert command.startswith(":") or "$" not in command
        assert shlex.split(command)[5].replace("%%", "%") == word


def value_of(key: str, text: str) -> str:
    """The one value of a key in a unit."""
    (line,) = [line for line in text.split("\n") if line.startswith(f"{key}=")]
    return line.removeprefix(f"{key}=")


def test_every_task_has_a_service_and_a_timer() -> None:
    assert [file.path for file in units(TASKS, SETTING)] == [
        f"jobctl-{task}.{kind}"
        for task in ("recover", "expire", "cleanup", "purge", "backup")
        for kind in ("service", "timer")
    ]


def test_options_follow_the_command() -> None:
    setting = replace(SETTING, options=("--database", "/srv/jobs.db"))
    line = crontab([TASKS[3]], setting).split("\n")[1]
    assert line == (
        "17 4 * * * video /opt/jobctl quarantine purge --yes --quiet --database /srv/jobs.db --jitter 1800s"
    )
    own = crontab([TASKS[3]], replace(setting, user=None)).split("\n")[1]
    assert own.startswith("17 4 * * * /opt/jobctl quarantine purge ")


def test_only_what_is_needed_may_be_written_to() -> None:
    service = units(TASKS[:1], replace(SETTING, writable=["/srv/out", "/srv/my 100% out"]))[0].text
    assert "ProtectSystem=strict\nProtectHome=read-only\n" in service
    assert 'ReadWritePaths=/srv/out\nReadWritePaths="/srv/my 100%% out"\nPrivateTmp=yes\n' in service
    assert "RestrictAddressFamilies=AF_UNIX\n" in service
    assert "network-online" not in service
    with_server = units(TASKS[:1], replace(SETTING, uses_network=True))[0].text
    assert "After=network-online.target\n" in with_server
    assert "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n" in with_server


def test_temporary_files_can_be_made_where_the_place_for_them_is_shared() -> None:
    service = units(TASKS[:1], replace(SETTING, shares_tmp=True))[0].text
    assert "ReadWritePaths=/tmp\nReadWritePaths=/var/tmp\nPrivateTmp=no\n" in service


def test_a_users_own_manager_gets_no_setting_that_it_cannot_carry_out() -> None:
    service = units(TASKS[:1], replace(SETTING, user=None, uses_network=True))[0].text
    assert not any(word in service for word in ("User=", "Protect", "Private", "ReadWrite", "network-online"))
    assert "NoNewPrivileges=yes\n" in service
    assert "SystemCallFilter=@system-service\n" in service


def test_a_failed_run_shows_as_failed() -> None:
    assert "SuccessExitStatus" not in units(TASKS, SETTING)[0].text


def test_an_environment_file_is_named_as_it_is() -> None:
    service = units(TASKS[:1], replace(SETTING, environment_file="/etc/my 5% file"))[0].text
    assert value_of("EnvironmentFile", service) == "/etc/my 5%% file"


@pytest.mark.parametrize(
    "setting",
    [
        replace(SETTING, program="/opt/a\nb/jobctl"),
        replace(SETTING, options=("--database", "a\rb")),
        replace(SETTING, options=("--database", "\udcff")),
        replace(SETTING, user="root /bin/sh"),
        replace(SETTING, user=""),
    ],
)
def test_what_would_break_out_of_its_line_is_refused(setting: Setting) -> None:
    assert why_not_crontab(setting) is not None
    assert why_no_units(setting) is not None


@pytest.mark.parametrize(
    "setting",
    [
        replace(SETTING, program="/opt/o'brien/jobctl"),
        replace(SETTING, program="/opt/back\\slash/jobctl"),
        replace(SETTING, writable=["/srv/a\nExecStart=/bin/sh"]),
        replace(SETTING, environment_file="/etc/*.env"),
        replace(SETTING, environment_file="/etc/env\\"),
        replace(SETTING, environment_file="/etc/env "),
    ],
)
def test_what_systemd_cannot_be_told_is_refused(setting: Setting) -> None:
    assert why_no_units(setting) is not None


def test_cron_cannot_read_an_environment_file() -> None:
    assert "cron reads no file" in str(why_not_crontab(replace(SETTING, environment_file="/etc/env")))


def test_what_was_written_before_is_replaced_and_the_rest_stays() -> None:
    ours = crontab(TASKS, SETTING)
    others = "MAILTO=ops\n1 2 * * * backup\n"
    assert without_block(others + ours + "3 4 * * * other\n") == others + "3 4 * * * other\n"
    assert without_block(others) == others
    assert without_block(ours + others + ours) == others
    assert without_block("") == ""


@pytest.mark.parametrize("rest", ["1 2 * * * backup\n", crontab(TASKS, SETTING)])
def test_a_block_without_an_end_takes_nothing_with_it(rest: str) -> None:
    with pytest.raises(ValueError, match="no end"):
        without_block(crontab(TASKS, SETTING).replace(END_MARK, "") + rest)


@pytest.mark.parametrize(
    ("period", "works"),
    [
        *((period, True) for period in PERIODS),
        *((period, False) for period in ("0s", "7m", "5h", "2d", "90s", "90m")),
    ],
)
def test_only_periods_that_both_can_express_are_taken(period: str, *, works: bool) -> None:
    assert (why_no_period(parse_duration(period)) is None) == works


@pytest.fixture(scope="module")
def analyze() -> str:
    """The program that reads units as systemd does."""
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("this machine has no systemd-analyze")
    return found


@pytest.mark.parametrize(
    "changes", [{}, {"user": None}, {"uses_network": True, "environment_file": "/etc/e f"}]
)
def test_systemd_finds_nothing_amiss(analyze: str, tmp_path: Path, changes: dict[str, object]) -> None:
    program = tmp_path / "o ne $x 5%" / "jobctl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    setting = Setting(
        **{
            **{name: getattr(SETTING, name) for name in Setting.__slots__},
            "program": str(program),
            "user": "root",
            "options": tuple(NASTY),
            "writable": ["/srv/out", "/srv/my 100% \"out'"],
            **changes,
        }
    )
    assert why_no_units(setting) is None
    worker = worker_unit(setting, directory=str(program.parent), grace_s=30.0)
    for file in [*units(TASKS, setting), worker]:
        (tmp_path / file.path).write_text(file.text)
    paths = [str(tmp_path / f"jobctl-{task.name}.timer") for task in TASKS] + [str(tmp_path / worker.path)]
    said = subprocess.run([analyze, "verify", *paths], capture_output=True, text=True, check=False)
    assert (said.returncode, [line for line in said.stderr.splitlines() if "jobctl" in line]) == (0, [])


def test_systemd_runs_each_period_as_often_as_it_is_meant(analyze: str) -> None:
    for period in PERIODS:
        task = TASKS[0]._replace(when=TASKS[0].when._replace(every=parse_duration(period)))
        calendar = value_of("OnCalendar", units([task], SETTING)[1].text)
        command = [analyze, "calendar", "--base-time=2026-01-31 12:00:00 UTC", "--iterations=3", calendar]
        said = subprocess.run(
            command, capture_output=True, text=True, check=True, env={"TZ": "UTC", "LC_ALL": "C"}
        )
        moments = re.findall(r"(?:elapse|#[0-9]+): \w+ (\S+ \S+) UTC", said.stdout)
        first, second, third = map(datetime.fromisoformat, moments)
        assert second - first == third - second == task.when.every


def test_a_worker_is_a_service_that_is_watched_and_ends_its_attempts_itself() -> None:
    text = worker_unit(SETTING, directory="/srv/100%", grace_s=89.5).text
    lines = set(text.splitlines())
    assert {"Type=notify", "Restart=always", "KillMode=mixed", "OOMPolicy=continue", "User=video"} <= lines
    assert {"WorkingDirectory=/srv/100%%", "ExecStart=/opt/jobctl worker", "TimeoutStopSec=120s"} <= lines
    assert "WantedBy=multi-user.target" in lines
    assert (
        "WantedBy=default.target" in worker_unit(replace(SETTING, user=None), directory="/", grace_s=1).text
    )


@pytest.mark.parametrize(("path", "said"), [("/srv ", "ends with a space"), ("/s\nrv", "cannot")])
def test_a_place_that_a_unit_cannot_hold_is_told(path: str, said: str) -> None:
    assert said in (why_no_path(path) or "")
