"""Rows of counts side by side add up to what the counts do one by one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.lanes import Lanes, Row, row_of

COUNTS = st.dictionaries(st.integers(0, 60), st.integers(0, 2**40))


def test_a_row_lists_numbers_where_few_of_them_are_taken() -> None:
    assert row_of([(7, 5), (0, 7)]).numbers is None
    assert row_of([(8, 5), (0, 7)]).numbers is not None
    assert row_of([]) == Row(None, b"")


def test_the_lanes_are_little_endian() -> None:
    assert row_of([(1, 5), (0, 7)]).lanes.hex() == "0100070000000000" + "0100050000000000"
    assert row_of([(4, 5)]) == Row(bytes.fromhex("04000000"), bytes.fromhex("0100050000000000"))


@given(st.lists(COUNTS, max_size=6))
def test_rows_add_up(rows: list[dict[int, int]]) -> None:
    summed = Lanes(row_of(row.items()) for row in rows).summed()
    expected = Counter[int]()
    for row in rows:
        for number, changes in row.items():
            expected[number] += changes
    assert len(summed) == len(expected)
    assert {number: summed.get(number) for number in range(70) if summed.get(number) is not None} == expected


@given(COUNTS, st.integers(1, 50))
def test_those_with_the_most_are_found(counts: dict[int, int], most: int) -> None:
    summed = Lanes([row_of(counts.items())]).summed()
    ordered = sorted(counts.values(), reverse=True)
    least = ordered[most - 1] if most <= len(ordered) else 0
    assert summed.least_of(most) == least
    assert summed.with_at_least(least) == sorted(number for number, each in counts.items() if each >= least)


@pytest.mark.parametrize("row", [Row(None, b"123"), Row(b"1234", b""), Row(b"123", b"12345678")])
def test_what_is_no_row_is_told(row: Row) -> None:
    with pytest.raises(ValueError, match=r"."):
        Lanes([row])
