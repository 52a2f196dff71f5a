"""How long a disk lasts: told from what was seen, and not told where that says too little."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from jobctl.core.outlook import outlook_of
from jobctl.model.standing import Reading

START = datetime(2026, 11, 1, tzinfo=UTC)
GIB = 1 << 30


def seen(free: Callable[[float], float], *, days: float = 4.0, every_h: float = 6.0) -> list[Reading]:
    """Readings of a disk of 1 TiB; ``free`` tells the GiB that are free by the day."""
    count = int(days * 24 / every_h) + 1
    return [
        Reading(START + timedelta(hours=n * every_h), 1024 * GIB, int(free(n * every_h / 24) * GIB))
        for n in range(count)
    ]


def test_a_steady_pace_tells_the_days() -> None:
    outlook = outlook_of(seen(lambda day: 100 - 10 * day))
    assert outlook.days == pytest.approx(6)
    assert (outlook.is_at_least, outlook.said) == (False, "full in about 6.0 days at the pace seen")


def test_one_large_cleanup_does_not_decide() -> None:
    outlook = outlook_of(seen(lambda day: 100 - 10 * day + (8 if day > 3.9 else 0)))
    assert outlook.days == pytest.approx(6.8, abs=0.7)


def test_no_further_than_a_few_times_what_was_seen() -> None:
    outlook = outlook_of(seen(lambda day: 1000 - day))
    assert (outlook.days, outlook.is_at_least) == (20, True)
    assert outlook.said == "lasts longer than 20 days"


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ([], "unknown: 0 readings so far, scans add more"),
        (seen(lambda day: 100 - day)[:3], "unknown: 3 readings so far, scans add more"),
        (seen(lambda day: 100 - day, days=0.9, every_h=1), "unknown: seen for 21 h only"),
        (seen(lambda day: 100 + 5 * (-1) ** int(4 * day)), "unknown: the room goes up and down"),
        (seen(lambda day: 100 + day), "not filling within 4 d"),
        (seen(lambda _: 100), "not filling within 4 d"),
    ],
)
def test_unknown_stays_unknown(readings: list[Reading], said: str) -> None:
    outlook = outlook_of(readings)
    assert (outlook.days, outlook.said) == (None, said)


def test_what_was_seen_before_a_disk_was_enlarged_tells_nothing() -> None:
    before = seen(lambda day: 100 - 10 * day)
    after = Reading(before[-1].at + timedelta(hours=6), 2048 * GIB, 1024 * GIB)
    assert outlook_of([*before, after]).days is None


@given(some.lists(some.integers(0, 10**13), max_size=200))
def test_whatever_was_seen_there_is_an_answer(free: list[int]) -> None:
    outlook = outlook_of([Reading(START + timedelta(hours=n), 10**13, each) for n, each in enumerate(free)])
    assert outlook.said
    assert outlook.days is None or outlook.days >= 0
