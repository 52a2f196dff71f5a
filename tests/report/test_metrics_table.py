"""Metrics as rows."""

from __future__ import annotations

from collections import Counter

from jobctl.report.metrics_table import failure_items


def test_failures_beyond_the_most_frequent_are_told_as_one() -> None:
    failures = Counter({"timeout": 3, "killed": 2, "": 2, "died": 1})
    assert failure_items(failures, 2) == [
        {"error_code": "timeout", "count": 3},
        {"error_code": "", "count": 2},
        {"error_code": None, "others": 2, "count": 3},
    ]
    assert sum(item["count"] for item in failure_items(failures, 1)) == failures.total()
    assert len(failure_items(failures, 4)) == 4
