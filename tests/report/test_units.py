"""Numbers and moments for people."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from jobctl.core.reporting.periods import Period, Zone
from jobctl.model.amounts import counted
from jobctl.report.story_page import Times
from jobctl.report.units import age_of, local_time, size_shown

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


@pytest.mark.parametrize(
    ("zone", "moment", "shown"),
    [
        ("America/Los_Angeles", datetime.min.replace(tzinfo=UTC), "1-01-01 00:00:00"),
        ("Pacific/Kiritimati", datetime.max.replace(tzinfo=UTC), "9999-12-31 23:59:59"),
        ("Asia/Kolkata", NOW, "2026-11-23 17:30:00"),
    ],
)
def test_a_moment_that_a_wall_clock_has_no_date_for_is_shown_in_utc(
    monkeypatch: pytest.MonkeyPatch, zone: str, moment: datetime, shown: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        assert local_time(moment) == shown
        day = Period("a day", NOW, NOW + timedelta(days=1))
        assert Times(Zone(), day).at(moment.isoformat()).endswith(shown)
    time.tzset()
