"""Rows come back sorted, in partitions that cover every key, however many were spilled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.model.files import Seen
from jobctl.outputs.spool import Row, Spool

Partitions = list[tuple[str, str | None, list[Row]]]

KEYS = st.one_of(
    st.sampled_from(["", "a", "job-1"]),
    st.text(alphabet="0123456789abcdef", min_size=1, max_size=4),
    st.text(max_size=3),
)
ROWS = st.lists(st.tuples(KEYS, st.text(max_size=3), st.integers(-(2**63), 2**63 - 1)), max_size=200)


def spooled(rows: list[Any], run_size: int, directory: Path | None = None) -> Partitions:
    with Spool(run_size=run_size, directory=str(directory) if directory else None) as spool:
        for row in rows:
            spool.add(row)
        return list(spool.partitions())


def row(number: int) -> Row:
    return (f"{number * 7919 % 100_003:06d}", "r1", f"file-{number}", "video", 1, number, 10, 20, 30)


@given(rows=ROWS, run_size=st.integers(1, 40))
def test_the_partitions_laid_end_to_end_are_the_sorted_rows(rows: list[Row], run_size: int) -> None:
    partitions = spooled(rows, run_size)
    assert [each for _, _, part in partitions for each in part] == sorted(rows)


@given(rows=ROWS, run_size=st.integers(1, 40))
def test_the_partitions_cover_every_key_without_gap_or_overlap(rows: list[Row], run_size: int) -> None:
    partitions = spooled(rows, run_size)
    lows = [low for low, _, _ in partitions]
    highs = [high for _, high, _ in partitions]
    assert lows[0] == ""
    assert highs == [*lows[1:], None]
    assert lows == sorted(set(lows))
    for low, high, part in partitions:
        assert all(low <= each[0] and (high is None or each[0] < high) for each in part)


def test_without_rows_there_is_one_empty_partition_of_all_keys() -> None:
    assert spooled([], 10) == [("", None, [])]


def test_what_fits_in_memory_is_not_written_to_disk(tmp_path: Path) -> None:
    away = tmp_path / "no-such-directory"
    assert spooled([row(number) for number in range(9)], 10, away)[0][2] == sorted(map(row, range(9)))
    with pytest.raises(FileNotFoundError):
        spooled([row(number) for number in range(10)], 10, away)


def test_a_spilled_spool_leaves_no_name_behind(tmp_path: Path) -> None:
    with Spool(run_size=10, directory=str(tmp_path)) as spool:
        for number in range(100):
            spool.add(row(number))
        assert sum(len(part) for _, _, part in spool.partitions()) == 100
        assert os.listdir(tmp_path) == []


def test_partitions_are_about_one_run_long() -> None:
    partitions = spooled([row(number) for number in range(40_000)], 5_000)
    sizes = [len(part) for _, _, part in partitions]
    assert len(sizes) == 8
    assert max(sizes) < 2 * 5_000


def test_one_key_alone_may_exceed_a_partition() -> None:
    rows: list[Row] = [("", "r1", f"temp-{number}") for number in range(5_000)]
    rows += [(f"{number:04d}", "r1", "x") for number in range(5_000)]
    partitions = spooled(rows, 1_000)
    nameless = [part for low, _, part in partitions if low == ""]
    assert len(nameless[0]) >= 5_000
    assert [each for _, _, part in partitions for each in part] == sorted(rows)


def test_named_tuples_and_names_that_are_no_text_come_back_as_plain_tuples() -> None:
    seen = [
        Seen(f"job-{number}", "r1", "caf\udce9\n\x1b", "video", -1, 2**62, 5, -1, 0) for number in range(5)
    ]
    rows = [each for _, _, part in spooled(seen, 2) for each in part]
    assert rows == seen
    assert {type(each) for each in rows} == {tuple}
