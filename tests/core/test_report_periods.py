"""Periods of reports: days, weeks and months as a wall clock has them."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.reporting.periods import Bins, Grain, Period, Zone, period_between, period_named

BERLIN = Zone(ZoneInfo("Europe/Berlin"))
NOW = datetime(2026, 1, 15, 23, 30, tzinfo=UTC)  # already the 16th in Berlin


def named(text: str, grain: Grain | None = None, zone: Zone = BERLIN, now: datetime = NOW) -> Period:
    return period_named(text, grain, now, zone)


@pytest.mark.parametrize(
    ("text", "grain", "name"),
    [
        ("today", None, "2026-01-16"),
        ("yesterday", None, "2026-01-15"),
        ("Yesterday", Grain.DAY, "2026-01-15"),
        ("this", Grain.WEEK, "2026-W03"),
        ("last", Grain.WEEK, "2026-W02"),
        ("this", Grain.MONTH, "2026-01"),
        ("last", Grain.MONTH, "2025-12"),
        ("2026-02", None, "2026-02"),
        ("2026-W01", None, "2026-W01"),
        ("2026-w1", None, "2026-W01"),
        ("2025-11-04", Grain.MONTH, "2025-11"),
        ("2021-01-03", Grain.WEEK, "2020-W53"),
    ],
)
def test_a_word_names_a_period(text: str, grain: Grain | None, name: str) -> None:
    assert named(text, grain).name == name


@pytest.mark.parametrize(
    ("text", "grain"),
    [
        ("tomorrowish", None),
        ("2026-13", None),
        ("2026-02-30", None),
        ("2026-W54", None),
        ("", None),
        ("9999-12-31", None),
        ("0001-01-01", Grain.WEEK),
        ("2026-01", Grain.DAY),
        ("2026-W03", Grain.MONTH),
    ],
)
def test_what_names_no_such_period_is_refused(text: str, grain: Grain | None) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any sentence will do
        named(text, grain)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-03-30", 24), ("2026-10-25", 25)])
def test_a_day_has_as_many_hours_as_its_wall_clock(day: str, hours: int) -> None:
    period = named(day)
    assert period.until - period.since == timedelta(hours=hours)
    bins = Bins(period, BERLIN)
    assert bins.is_by_hour
    assert len(bins.bins) == hours
    labels = [each.label for each in bins.bins]
    assert labels.count("02:00") == {23: 0, 24: 1, 25: 2}[hours]


def test_a_midnight_that_does_not_exist_is_the_first_moment_of_its_day() -> None:
    """Clocks in Beirut went from 2022-03-26 23:59 to 2022-03-27 01:00."""
    beirut = Zone(ZoneInfo("Asia/Beirut"))
    period = named("2022-03-27", zone=beirut)
    assert f"{beirut.wall(period.since):%d %H:%M}" == "27 01:00"
    assert period.until - period.since == timedelta(hours=23)


@pytest.mark.parametrize("zone", [Zone(ZoneInfo("Pacific/Apia")), Zone()], ids=["named", "this machine's"])
def test_a_day_that_was_left_out_holds_nothing(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samoa went from 2011-12-29 to 2011-12-31."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Pacific/Apia")
        time.tzset()
        before, none, after = (named(f"2011-12-{day}", zone=zone) for day in (29, 30, 31))
    time.tzset()
    assert before.until - before.since == after.until - after.since == timedelta(days=1)
    assert before.until == none.since == none.until == after.since
    assert Bins(none, zone).bins == []


@given(st.dates(date(1990, 1, 1), date(2037, 12, 31)), st.sampled_from(list(Grain)))
def test_periods_follow_each_other_without_gap_and_hold_their_days(day: date, grain: Grain) -> None:
    period = named(day.isoformat(), grain)
    after = named(BERLIN.wall(period.until).date().isoformat(), grain)
    assert period.until == after.since
    assert period.holds(BERLIN.midnight(day))
    assert not period.holds(period.until)


@given(st.dates(date(1990, 1, 1), date(2037, 12, 31)), st.sampled_from(list(Grain)), st.floats(0, 0.999999))
def test_every_moment_of_a_period_lies_in_one_bin(day: date, grain: Grain, share: float) -> None:
    period = named(day.isoformat(), grain)
    bins = Bins(period, BERLIN)
    edges = [each.since for each in bins.bins] + [period.until]
    assert edges == sorted(set(edges))
    assert edges[0] == period.since
    moment = period.since + share * (period.until - period.since)
    number = bins.of(moment)
    assert edges[number] <= moment < edges[number + 1]


def test_a_chosen_period_ends_after_it_begins() -> None:
    assert (
        period_between(NOW, NOW + timedelta(hours=1), BERLIN).name == "2026-01-16 00:30 to 2026-01-16 01:30"
    )
    with pytest.raises(ValueError, match="before it begins"):
        period_between(NOW, NOW, BERLIN)


def test_years_are_divided_into_no_more_than_can_be_read() -> None:
    period = period_between(NOW - timedelta(days=9_000), NOW, BERLIN)
    assert len(Bins(period, BERLIN).bins) <= 372
