"""Which bytes a Range header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.byte_ranges import MOST_RANGES, Span, Unsatisfiable, spans_of


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-99", [(0, 100)]),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=500-", [(500, 1000)]),
        ("bytes=-1", [(999, 1000)]),
        ("bytes=-5000", [(0, 1000)]),
        ("bytes=900-99999999999999999999999", [(900, 1000)]),
        ("Bytes = 0-9 , 20-29,", [(0, 10), (20, 30)]),
        ("bytes=20-29,0-9", [(20, 30), (0, 10)]),
        ("bytes=0-9,10-19", [(0, 10), (10, 20)]),
        ("bytes=0-99,50-149", [(0, 150)]),
        ("bytes=0-0,2000-", [(0, 1)]),
    ],
)
def test_ranges_are_the_bytes_they_name(header: str, spans: list[tuple[int, int]]) -> None:
    assert spans_of(header, 1000) == [Span(*each) for each in spans]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=9-0",
        "bytes=a-b",
        "bytes=0-9;x",
        "lines=0-9",
        "bytes=0-9,x",
    ],
)
def test_what_is_no_list_of_byte_ranges_is_ignored(header: str) -> None:
    assert spans_of(header, 1000) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000,5000-", "bytes=-0"])
def test_bytes_that_the_file_has_not_are_refused(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        spans_of(header, 1000)


def test_an_empty_file_has_no_ranges() -> None:
    with pytest.raises(Unsatisfiable):
        spans_of("bytes=0-", 0)


def test_a_flood_of_ranges_is_refused() -> None:
    with pytest.raises(Unsatisfiable):
        spans_of("bytes=" + ",".join(f"{start}-{start}" for start in range(0, 4 * MOST_RANGES, 2)), 1000)


@given(st.text(alphabet="bytes=0123456789-, ", max_size=60), st.integers(0, 500))
def test_spans_lie_within_the_file_and_do_not_overlap(header: str, size: int) -> None:
    try:
        spans = spans_of(f"bytes={header}", size) or []
    except Unsatisfiable:
        return
    assert all(0 <= span.start < span.end <= size for span in spans)
    covered = [position for span in spans for position in range(*span)]
    assert len(covered) == len(set(covered))
