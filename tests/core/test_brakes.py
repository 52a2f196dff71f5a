"""Brakes: how much one run may take away before a person has to say so."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.brakes import Limits, Stock, Tally, by_category, why_held
from jobctl.model.plan import Held

POOL = ("leftover", "root-1")
counts = st.integers(0, 200_000)


def held(files: int, of: int, *, past: list[int] | None = None, limits: Limits | None = None) -> Held | None:
    tally = Tally(files=files)
    return why_held(POOL, tally, Stock(jobs=0, files=of), past or [], limits or Limits(), in_all=tally)


@pytest.mark.parametrize(
    ("files", "of", "reason"),
    [
        (20, 100, None),
        (20, 20, None),
        (21, 100, "21 of 100 files, more than one in ten"),
        (21, 210, None),
        (21, 209, "21 of 209 files, more than one in ten"),
        (1_000, 100_000, None),
        (1_001, 100_000, "1,001 items in one run, more than 1,000"),
    ],
)
def test_above_twenty_one_in_ten_or_a_thousand_is_held(files: int, of: int, reason: str | None) -> None:
    found = held(files, of)
    assert (found.reason if found else None) == reason


@pytest.mark.parametrize(
    ("files", "past", "is_held"),
    [
        (30, [10, 10, 10, 10, 10], False),
        (31, [10, 10, 10, 10, 10], True),
        (31, [10, 10, 10, 10], False),
        (31, [1, 10, 10, 10, 5_000], True),
        (31, [1, 1, 11, 900, 900], False),
        (20, [1, 1, 1, 1, 1], False),
    ],
)
def test_three_times_the_median_of_five_like_runs_is_held(files: int, past: list[int], is_held: bool) -> None:
    assert (held(files, 100_000, past=past) is not None) is is_held


@given(files=counts, of=counts, past=st.lists(counts, max_size=8))
def test_twenty_items_or_fewer_are_never_held_and_what_is_held_has_cause(
    files: int, of: int, past: list[int]
) -> None:
    found = held(files, of, past=past)
    is_much = 10 * files > of or files > 1_000
    is_unusual = len(past) >= 5 and files > 3 * median(past)
    assert (found is not None) == (files > 20 and (is_much or is_unusual))


@given(files=counts, of=counts, more=counts)
def test_whoever_takes_more_of_the_same_is_held_as_well(files: int, of: int, more: int) -> None:
    if held(files, of):
        assert held(files + more, of)


@given(files=counts, of=counts, allowed=counts, other=counts)
def test_an_override_lets_pass_its_class_up_to_its_number(
    files: int, of: int, allowed: int, other: int
) -> None:
    without = held(files, of)
    with_it = held(files, of, limits=Limits(None, {"leftover": allowed}))
    assert with_it == (None if allowed >= files else without)
    assert held(files, of, limits=Limits(None, {"orphan-video": other})) == without


@given(files=counts, of=counts)
def test_what_a_brake_asks_for_is_enough_to_let_it_pass(files: int, of: int) -> None:
    found = held(files, of)
    if found is not None:
        assert held(files, of, limits=Limits(None, {found.category: found.allow})) is None


@given(jobs=counts, files=counts, of_jobs=counts, of_files=counts)
def test_jobs_and_files_are_each_held_against_their_own_kind(
    jobs: int, files: int, of_jobs: int, of_files: int
) -> None:
    tally = Tally(jobs, files)
    found = why_held(POOL, tally, Stock(of_jobs, of_files), [], Limits(), in_all=tally)
    by_share = any(n > 20 and 10 * n > of for n, of in ((jobs, of_jobs), (files, of_files)))
    assert (found is not None) == (by_share or max(jobs, files) > 1_000)


@given(size=counts, limit=counts, files=st.integers(1, 20))
def test_bytes_are_held_however_few_files_they_are(size: int, limit: int, files: int) -> None:
    tally = Tally(files=files, bytes=size)
    found = why_held(POOL, tally, Stock(0, 1_000_000), [], Limits(max_bytes=limit), in_all=tally)
    assert (found is not None) == (size > limit)


def test_what_a_run_takes_of_a_class_counts_below_all_roots_and_a_job_with_its_file_once() -> None:
    """A service's record names no root, and its file lies below one."""
    tallies = {
        ("expire", ""): Tally(jobs=3),
        ("expire", "root-1"): Tally(jobs=1, files=4, bytes=40),
        ("leftover", "root-1"): Tally(files=7, bytes=70),
        ("leftover", "root-2"): Tally(files=2, bytes=2),
    }
    assert by_category(tallies) == {"expire": Tally(4, 4, 40), "leftover": Tally(0, 9, 72)}
    assert [each.items for each in by_category(tallies).values()] == [4, 9]
