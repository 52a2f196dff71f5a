"""How many jobs a worker takes at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.pace import Pace


def simulate(seconds: list[float], slots: int) -> Pace:
    """Let jobs of these durations run on some slots, each slot taking the next one when it is free."""
    pace, free_at, ends = Pace(), [0.0] * slots, list[float]()
    pace.note_start(0.0)
    for duration in seconds:
        slot = free_at.index(min(free_at))
        free_at[slot] += duration
        ends.append(free_at[slot])
    left = len(ends)
    for end in sorted(ends):
        left -= 1
        pace.note_end(end, min(slots, left))
    return pace


@given(st.lists(st.floats(0.2, 30.0), min_size=1, max_size=60), st.integers(1, 8))
def test_long_jobs_are_never_taken_ahead(seconds: list[float], slots: int) -> None:
    """Whoever takes one ahead keeps it from a worker that could run it now."""
    assert simulate(seconds, slots).ahead <= slots


def test_long_jobs_that_end_together_are_still_long() -> None:
    pace = Pace()
    pace.note_start(0.0)
    for number in range(4):
        pace.note_end(3.0 + number / 1000, 3 - number)
    assert pace.ahead == 0


def test_short_jobs_are_taken_in_batches() -> None:
    assert simulate([0.0005] * 500, 2).ahead > 100


def test_none_is_taken_until_half_of_the_batch_is_done() -> None:
    pace = Pace(ahead=100)
    assert (pace.wanted(2, 102), pace.wanted(2, 80), pace.wanted(2, 50), pace.wanted(2, 1)) == (0, 0, 52, 101)


def test_jobs_that_wait_behind_a_long_one_are_given_back() -> None:
    pace = Pace(ahead=50)
    pace.note_start(0.0)
    assert not pace.is_stuck(0.3, 2, 52)
    assert pace.is_stuck(1.0, 2, 52)
    assert (pace.ahead, pace.is_stuck(1.1, 2, 52)) == (0, False)
