"""Quantiles of durations from counts in buckets."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.histogram import bounds_of, bucket_of, quantile

durations = st.floats(min_value=0.0, max_value=1e8, allow_nan=False)


@given(durations)
def test_a_duration_lies_within_the_bounds_of_its_bucket(seconds: float) -> None:
    low, high = bounds_of(bucket_of(seconds))
    assert low * (1 - 1e-9) <= seconds <= high * (1 + 1e-9)


@given(st.lists(durations, min_size=1, max_size=200), st.floats(min_value=0.0, max_value=1.0))
def test_a_quantile_is_off_by_less_than_one_bucket(values: list[float], share: float) -> None:
    found = quantile(Counter(map(bucket_of, values)), share)
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    low, high = bounds_of(bucket_of(exact))
    assert found is not None
    assert low * 0.99 <= found <= high * 1.01


def test_where_nothing_was_counted_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({3: 0}, 0.5) is None


def test_no_duration_is_too_odd_to_be_counted() -> None:
    assert [bucket_of(odd) for odd in (-1.0, 0.0, math.nan)] == [0, 0, 0]
    assert bucket_of(1e30) == bucket_of(1e20)
