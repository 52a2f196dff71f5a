"""Moments are written one way, however many are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

from hypothesis import example, given
from hypothesis import strategies as st

from jobctl.model.timestamps import every_microsecond, format_timestamp


@given(st.datetimes(max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))
@example(datetime(2026, 12, 31, 23, 59, 59, 999_998, UTC))
def test_every_microsecond_is_written_as_each_is_alone(moment: datetime) -> None:
    alone = [format_timestamp(moment + timedelta(microseconds=number)) for number in range(5)]
    assert list(islice(every_microsecond(moment), 5)) == alone
