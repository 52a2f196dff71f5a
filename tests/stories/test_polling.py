"""The checker of the stories tells what it is there to tell."""

from __future__ import annotations

import pytest

from stories.polling import Heard, setbacks


def told(status: str, asked_at: float, answered_at: float, progress: float | None = None) -> Heard:
    return Heard("a", asked_at, answered_at, 200, status, progress)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("completed",), ("processing",)),
        (("completed",), ("failed",)),
        (("failed",), ("processing",)),
        (("processing",), ("queued",)),
        (("processing", 60.0), ("processing", 40.0)),
    ],
)
def test_a_status_that_goes_back_is_told(first: tuple[str, float], second: tuple[str, float]) -> None:
    before, after = told(first[0], 0.0, 1.0, *first[1:]), told(second[0], 2.0, 3.0, *second[1:])
    assert len(setbacks([before, after])) == 1
    assert setbacks([told(second[0], 0.0, 1.0, *second[1:]), told(first[0], 2.0, 3.0, *first[1:])]) == []


def test_of_answers_that_were_given_at_once_none_is_the_later_one() -> None:
    assert setbacks([told("completed", 0.0, 2.0), told("processing", 1.0, 3.0)]) == []


def test_it_is_what_anybody_knew_before_that_counts() -> None:
    heard = [
        told("processing", 0.0, 9.0),
        told("completed", 1.0, 2.0),
        told("processing", 1.5, 8.0),
        told("processing", 3.0, 4.0),
    ]
    assert len(setbacks(heard)) == 1


def test_what_was_not_answered_says_nothing() -> None:
    assert setbacks([told("completed", 0.0, 1.0), Heard("a", 2.0, 3.0, 503)]) == []
