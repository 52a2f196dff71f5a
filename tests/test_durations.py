"""Durations are read as people write them, and written so that they are read back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.durations import format_duration, parse_duration, spoken_duration

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@given(st.integers(0, 5_000), st.sampled_from(sorted(SECONDS)))
def test_a_number_and_a_unit_are_their_product(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == timedelta(seconds=number * SECONDS[unit])


@given(st.integers(1, 36_000).map(lambda hours: timedelta(hours=hours)))
def test_durations_of_two_units_are_read_back_as_written(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.timedeltas(timedelta(0), timedelta(days=36_500)))
def test_what_was_written_is_written_again_alike_and_never_longer(duration: timedelta) -> None:
    written = format_duration(duration)
    assert format_duration(parse_duration(written)) == written
    assert parse_duration(written) <= duration


@given(st.text(max_size=12))
def test_any_text_is_a_duration_from_nothing_to_a_hundred_years_or_refused(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert timedelta(0) <= duration <= timedelta(days=36_500)


def test_parts_are_added() -> None:
    assert parse_duration("1d12h") == parse_duration("36h") == parse_duration("1.5d")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "-5m",
        "5 m",
        "1e3s",
        "nan",
        "inf",
        "nans",
        "5y",
        "999999999w",
        "5m-",
        "5m\n",
        "\u0665m",
        ".5m",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration|years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "spoken"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7_500, "2 h 5 min"),
        (3_605, "1 h 5 s"),
        (14 * 86_400, "14 d"),
    ],
)
def test_people_read_two_units_with_blanks(seconds: float, spoken: str) -> None:
    assert spoken_duration(timedelta(seconds=seconds)) == spoken
