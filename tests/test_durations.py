"""Durations are read as people write them, and written so that they are read back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.durations import (
    age_said,
    age_shown,
    format_duration,
    parse_duration,
    spoken_duration,
    took_said,
    took_shown,
)

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
READ = {**SECONDS, "ms": 0.001, "min": 60, "y": 365 * 86_400}


def seconds_of(words: str) -> float:
    """What a person takes ``1 d 12 h`` for."""
    parts = words.split(" ")
    return sum(float(count) * READ[unit] for count, unit in zip(parts[::2], parts[1::2], strict=True))


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


@pytest.mark.parametrize(
    ("seconds", "said", "shown"),
    [
        (-3, "0 s", "0 s"),
        (0.9, "0 s", "0 s"),
        (88, "88 s", "88 s"),
        (119.9, "119 s", "119 s"),
        (200, "3 min", "3 min"),
        (3_601, "1 h", "60 min"),
        (7_140, "1 h 59 min", "119 min"),
        (7_500, "2 h 5 min", "2 h"),
        (172_799, "1 d 23 h", "47 h"),
        (3 * 86_400 + 59, "3 d", "3 d"),
        (800 * 86_400, "800 d", "2 y"),
    ],
)
def test_a_sentence_says_an_age_in_two_units_and_a_column_shows_it_in_one(
    seconds: float, said: str, shown: str
) -> None:
    assert (age_said(seconds), age_shown(seconds)) == (said, shown)


@given(st.floats(0, 3_650 * 86_400))
def test_a_column_shows_what_a_sentence_says_cut_to_its_unit(seconds: float) -> None:
    said, shown = age_said(seconds), age_shown(seconds)
    assert seconds_of(shown) <= seconds_of(said) <= seconds
    assert seconds_of(said) - seconds_of(shown) < READ[shown.split(" ")[1]]


@pytest.mark.parametrize(
    ("seconds", "said", "shown"),
    [
        (-0.2, "0 ms", "0 ms"),
        (0.04, "40 ms", "40 ms"),
        (0.9996, "1.0 s", "1.0 s"),
        (9.94, "9.9 s", "9.9 s"),
        (9.96, "10 s", "10 s"),
        (12.4, "12 s", "12 s"),
        (200.2, "3 min 20 s", "3 min"),
    ],
)
def test_what_was_measured_is_told_to_a_part_of_a_second_where_it_was_short(
    seconds: float, said: str, shown: str
) -> None:
    assert (took_said(seconds), took_shown(seconds)) == (said, shown)
