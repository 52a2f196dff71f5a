"""Schedules are read by cron and systemd as they are meant."""

from __future__ import annotations

import shlex
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.schedule import TASKS, Setting, crontab, units, why_no_period, without_block
from jobctl.durations import format_duration, parse_duration

WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)


def setting(*program: str, **changes: object) -> Setting:
    fields = {
        "program": program or ("/opt/jobctl",),
        "user": "video",
        "writable": ["/srv/out"],
        "homes_visible": False,
        "shares_tmp": False,
        "uses_network": False,
    }
    return Setting(**{**fields, **changes})  # type: ignore[arg-type]


@given(WORDS)
def test_cron_gives_the_program_the_very_words(word: str) -> None:
    line = crontab(TASKS[:1], setting("/opt/jobctl", word), names_user=True).split("\n")[1]
    *_, command = line.split(" ", 6)
    # cron(8): an unescaped % ends the command, \% is a %.
    assert "%" not in command.replace("\\%", "")
    assert shlex.split(command.replace("\\%", "%"))[1] == word


@given(WORDS)
def test_systemd_gives_the_program_the_very_words(word: str) -> None:
    service = units(TASKS[:1], setting("/opt/jobctl", word))[0].text
    line = next(line for line in service.split("\n") if line.startswith("ExecStart="))
    # systemd.syntax(7): words and quotes are a shell's, but for the % of specifiers and the $ of variables.
    assert shlex.split(line.removeprefix("ExecStart="))[1].replace("%%", "%").replace("$$", "$") == word


def test_every_task_has_a_service_and_a_timer() -> None:
    names = [file.path for file in units(TASKS, setting())]
    assert names == [
        f"jobctl-{task}.{kind}"
        for task in ("recover", "expire", "cleanup", "purge")
        for kind in ("service", "timer")
    ]


def test_only_what_is_needed_may_be_written_to() -> None:
    service = units(TASKS[:1], setting(writable=["/srv/out", "/srv/my out"]))[0].text
    assert "ProtectSystem=strict\n" in service
    assert 'ReadWritePaths=/srv/out\nReadWritePaths="/srv/my out"\n' in service
    assert "RestrictAddressFamilies=AF_UNIX\n" in service
    assert "AF_INET" in units(TASKS[:1], setting(uses_network=True))[0].text


def test_what_was_written_before_is_replaced_and_the_rest_stays() -> None:
    ours = crontab(TASKS, setting(), names_user=False)
    others = "MAILTO=ops\n1 2 * * * backup\n"
    assert without_block(others + ours + "3 4 * * * other\n") == others + "3 4 * * * other\n"
    assert without_block(others) == others


@pytest.mark.parametrize(
    ("period", "works"),
    [
        *((period, True) for period in ("1m", "5m", "1h", "6h", "1d")),
        *((period, False) for period in ("7m", "5h", "2d", "90s", "90m")),
    ],
)
def test_only_periods_that_both_can_express_are_taken(period: str, *, works: bool) -> None:
    assert (why_no_period(parse_duration(period)) is None) == works


@given(st.integers(1, 36_000).map(lambda hours: timedelta(hours=hours)))
def test_durations_of_whole_hours_are_read_back_as_written(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["", "5", "-5m", "5 m", "1e3s", "nan", "5y", "999999999w", "5m-"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration|years"):
        parse_duration(text)
