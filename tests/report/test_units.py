"""Numbers and moments for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobctl.model.amounts import counted
from jobctl.report.units import age_of, size_shown

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (None, ""),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (13_841_203, "13.2 MiB"),
        (150 * 1024**2, "150 MiB"),
        (5 * 1024**6, "5120 PiB"),
    ],
)
def test_sizes_are_shown_in_the_unit_that_reads_best(size: int | None, shown: str) -> None:
    assert size_shown(size) == shown


def test_an_age_counts_back_from_now() -> None:
    assert age_of(NOW - timedelta(hours=5), NOW) == "5 h"
    assert age_of(None, NOW) == ""


def test_a_noun_follows_its_number() -> None:
    assert counted(1, "file") == "1 file"
    assert counted(1_204, "file") == "1,204 files"
    assert counted(2, "is", "are") == "2 are"
