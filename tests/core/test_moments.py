"""Moments are read as people mean them, by the clock on their wall."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.cli.moments import parse_span
from jobctl.core.moments import EXAMPLES, parse_moment
from jobctl.errors import UsageError

BERLIN = ZoneInfo("Europe/Berlin")
# A Wednesday, half past twelve in Berlin.
NOW = datetime(2026, 11, 25, 11, 30, 15, tzinfo=UTC)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "America/Havana"]).map(
    ZoneInfo
)
NOWS = st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", "2026-11-25T11:30:15"),
        ("2h", "2026-11-25T09:30:15"),
        ("90 minutes ago", "2026-11-25T10:00:15"),
        ("3d ago", "2026-11-22T11:30:15"),
        ("1d12h", "2026-11-23T23:30:15"),
        ("1 day 12 hours", "2026-11-23T23:30:15"),
        ("1.5h", "2026-11-25T10:00:15"),
        ("2 Weeks  Ago", "2026-11-11T11:30:15"),
        ("today", "2026-11-24T23:00:00"),
        ("today 09:30", "2026-11-25T08:30:00"),
        ("today 18:00", "2026-11-25T17:00:00"),
        ("yesterday", "2026-11-23T23:00:00"),
        ("yesterday 10:00", "2026-11-24T09:00:00"),
        ("10:00", "2026-11-25T09:00:00"),
        ("10:00:30", "2026-11-25T09:00:30"),
        ("18:00", "2026-11-24T17:00:00"),
        ("wednesday", "2026-11-24T23:00:00"),
        ("monday", "2026-11-22T23:00:00"),
        ("Mon 9:05", "2026-11-23T08:05:00"),
        ("thursday", "2026-11-18T23:00:00"),
        ("wed 18:00", "2026-11-18T17:00:00"),
        ("2026-11-23", "2026-11-22T23:00:00"),
        ("2026-11-23 10:00", "2026-11-23T09:00:00"),
        ("2026-11-23T10:00Z", "2026-11-23T10:00:00"),
        ("2026-11-23t10:00:30.5+05:45", "2026-11-23T04:15:30.500000"),
        ("2027-01-31T12:00", "2027-01-31T11:00:00"),
    ],
)
def test_a_moment_is_what_people_mean(text: str, meant: str) -> None:
    assert parse_moment(text, NOW, BERLIN) == datetime.fromisoformat(meant).replace(tzinfo=UTC)


NO_MOMENTS = [
    *(
        "",
        " ",
        "soon",
        "ago",
        "2",
        "2 fortnights",
        "2h later",
        "-2h",
        "25:00",
        "10:60",
        "10",
        "yesterday at 10",
    ),
    *("2026-13-01", "2026-02-30", "mo", "mondays", "\uff12h", "\u0661\u0660:\u0660\u0660", "999999999w"),
    *(
        "0001-01-01T00:00+14:00",
        "today yesterday",
        "2h\x1b[31m",
        "today 10:00Z",
        "9" * 1_000_000,
        "1h" * 500_000,
    ),
]


@pytest.mark.parametrize("text", NO_MOMENTS, ids=lambda text: text[:20])
def test_what_names_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is neither an age nor a time") as refused:
        parse_moment(text, NOW, BERLIN)
    assert len(str(refused.value)) < 200


def test_every_form_the_message_shows_is_read() -> None:
    forms = EXAMPLES.replace(" or ", ", ").replace("'", "").split(", ")
    assert all(parse_moment(form, NOW, BERLIN) <= NOW for form in forms)


def test_a_time_the_clock_skipped_is_counted_on() -> None:
    after = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
    assert parse_moment("02:30", after, BERLIN) == parse_moment("03:30", after, BERLIN)
    # A day that begins at one o'clock, as in Havana.
    havana = ZoneInfo("America/Havana")
    assert parse_moment("2026-03-08", after, havana) == datetime(2026, 3, 8, 5, tzinfo=UTC)


def test_of_a_time_the_clock_showed_twice_the_first_is_meant() -> None:
    after = datetime(2026, 10, 25, 12, 0, tzinfo=UTC)
    assert parse_moment("02:30", after, BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_day_ago_is_24_hours_though_yesterday_had_25() -> None:
    noon = datetime(2026, 10, 25, 11, 0, tzinfo=UTC)
    assert parse_moment("1d", noon, BERLIN) == noon - timedelta(hours=24)
    assert parse_moment("yesterday 12:00", noon, BERLIN) == noon - timedelta(hours=25)


def test_without_a_zone_the_machine_s_own_is_taken() -> None:
    local = datetime(2026, 11, 23, 10).astimezone()
    assert parse_moment("2026-11-23 10:00", NOW) == local


@given(NOWS, ZONES, st.integers(0, 10_000), st.sampled_from("smhdw"))
def test_an_age_is_real_time_whatever_the_zone(now: datetime, zone: ZoneInfo, number: int, unit: str) -> None:
    lengths = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
    assert parse_moment(f"{number}{unit}", now, zone) == now - timedelta(seconds=number * lengths[unit])


@given(NOWS, ZONES, st.times())
def test_a_time_of_day_is_the_last_one_there_has_been(now: datetime, zone: ZoneInfo, clock: time) -> None:
    found = parse_moment(f"{clock:%H:%M}", now, zone)
    assert found <= now
    # No more than a day, and the hour by which clocks change.
    assert now - found <= timedelta(hours=25)


@given(NOWS, ZONES, st.sampled_from(["monday", "tue", "sunday"]))
def test_a_weekday_is_the_last_one_there_has_been(now: datetime, zone: ZoneInfo, day: str) -> None:
    found = parse_moment(day, now, zone)
    assert f"{found.astimezone(zone):%A}".lower().startswith(day)
    assert timedelta(0) <= now - found <= timedelta(days=7, hours=1)


@given(NOWS, ZONES)
def test_a_moment_written_out_is_read_back(now: datetime, zone: ZoneInfo) -> None:
    assert parse_moment(now.astimezone(zone).isoformat(), now, zone) == now
    assert parse_moment(now.isoformat().replace("+00:00", "Z"), now, zone) == now


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        assert parse_moment(text, NOW, BERLIN).tzinfo is UTC
    except ValueError as refused:
        assert "is neither an age nor a time" in str(refused)


def test_a_span_in_which_nothing_lies_is_refused() -> None:
    assert parse_span("2h", None, NOW) == (NOW - timedelta(hours=2), None)
    with pytest.raises(UsageError, match="nothing lies between --since '1h' and --until '2h'"):
        parse_span("1h", "2h", NOW)
    with pytest.raises(UsageError, match="--until 'soon' is neither") as refused:
        parse_span(None, "soon", NOW)
    assert "--until 2h, '3d ago'" in refused.value.hint
