"""Two writers change the same record, each knowing what it was before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.threeway import Conflict, is_same, merged, merged_fields, with_unknown

scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.text("ab", max_size=1))
values = st.recursive(
    scalars,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3), st.dictionaries(st.text("xy", max_size=1), parts, max_size=2)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "found"),
    [
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 3}, {"a": 2, "b": 3}),
        ({"a": 1}, {}, {"a": 1, "b": 2}, {"b": 2}),
        ({"a": {"x": 1}}, {"a": {"x": 1, "y": 2}}, {"a": {"x": 5}}, {"a": {"x": 5, "y": 2}}),
        ([1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 3]),
        ([1, 2], [2], [1, 2, 4], [2, 4]),
        ([1], [1, 1], [1, 2], [1, 2]),
        (None, ["a"], ["b"], ["b", "a"]),
        (1, 2, 2, 2),
    ],
)
def test_what_both_changed_is_put_together(base: Any, mine: Any, theirs: Any, found: Any) -> None:
    assert merged(base, mine, theirs) == found


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "where"),
    [
        ({"a": 1}, {"a": 2}, {"a": 3}, "a"),
        ({"a": {"x": 1}}, {"a": {"x": 2}}, {"a": {"x": 3}}, "a.x"),
        ({"a": 1}, {}, {"a": 3}, "a"),
        ({"a": 0}, {"a": False}, {"a": 1}, "a"),
    ],
)
def test_what_both_changed_to_something_else_is_told(base: Any, mine: Any, theirs: Any, where: str) -> None:
    with pytest.raises(Conflict) as told:
        merged_fields(base, mine, theirs)
    assert str(told.value) == where


@given(base=values, mine=values)
def test_who_is_alone_gets_what_he_wrote(base: Any, mine: Any) -> None:
    assert is_same(merged(base, mine, base), mine)
    assert is_same(merged(base, base, mine), mine)
    assert is_same(merged(base, mine, mine), mine)


@given(base=st.lists(scalars), mine=st.lists(scalars), theirs=st.lists(scalars))
def test_nothing_that_either_added_is_lost(base: list[Any], mine: list[Any], theirs: list[Any]) -> None:
    found = merged(base, mine, theirs)
    for each in [*mine, *theirs]:
        if not any(is_same(each, old) for old in base):
            assert any(is_same(each, one) for one in found)


@pytest.mark.parametrize(
    ("written", "known", "mine", "found"),
    [
        ({"w": 1, "new": 2}, {"w": 1}, {"w": 5}, {"w": 5, "new": 2}),
        ({"w": 1}, {"w": 1, "default": 0}, {"w": 5, "default": 0}, {"w": 5, "default": 0}),
        ({"w": 1, "x": 1}, {"w": 1, "x": 1}, {"w": 1}, {"w": 1}),
        ({"at": {"w": 1, "new": 2}}, {"at": {"w": 1}}, {"at": {"w": 3}}, {"at": {"w": 3, "new": 2}}),
        ([{"w": 1, "new": 1}], [{"w": 1}], [{"w": 1}, {"w": 2}], [{"w": 1, "new": 1}, {"w": 2}]),
        ([{"w": 1, "new": 1}], [{"w": 1}], [{"w": 7}], [{"w": 7, "new": 1}]),
        ([{"w": 1, "new": 1}, {"w": 2, "new": 2}], [{"w": 1}, {"w": 2}], [{"w": 2}], [{"w": 2, "new": 2}]),
        ([{"w": 1, "new": 1}], [{"w": 1}], [], []),
        ({"w": 1, "new": 2}, {"w": 1}, "other", "other"),
        ([1, "left out"], [1], [1, 2], [1, 2]),
    ],
)
def test_what_another_program_wrote_and_this_one_does_not_know_is_taken_along(
    written: Any, known: Any, mine: Any, found: Any
) -> None:
    assert with_unknown(written, known, mine) == found


@given(written=values, mine=values)
def test_where_all_is_known_mine_is_what_counts(written: Any, mine: Any) -> None:
    assert is_same(with_unknown(written, written, mine), mine)
