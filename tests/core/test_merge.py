"""A merge join loses nothing, invents nothing, and keeps the order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.merge import align

streams = st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3))).map(sorted), max_size=5)


@given(streams)
def test_each_key_comes_once_with_all_its_rows(lists: list[list[tuple[str, int]]]) -> None:
    aligned = list(align([iter(rows) for rows in lists]))
    keys = [key for key, _ in aligned]
    assert keys == sorted({key for rows in lists for key, _ in rows})
    for number, rows in enumerate(lists):
        assert [row for _, groups in aligned for row in groups[number]] == rows
    for key, groups in aligned:
        assert all(row[0] == key for group in groups for row in group)
