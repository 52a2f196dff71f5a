"""Names, moments and statuses: forms that survive every round trip."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.errors import ExitCode, IllegalTransition, most_severe
from jobctl.model.names import from_stored, is_utf8, to_shown, to_stored
from jobctl.model.status import ENDED, OPEN_ENDED_FAILURES, TRANSITIONS, Cause, Status, check_transition
from jobctl.model.timestamps import TIMESTAMP_LENGTH, format_timestamp, from_epoch_ns, parse_timestamp

names = st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name).map(os.fsdecode)
moments = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))


@given(names)
def test_any_file_name_survives_its_stored_form(name: str) -> None:
    stored = to_stored(name)
    assert from_stored(stored) == name
    stored.encode("utf-8")
    assert is_utf8(name) == (stored.replace("\\\\", "\\") == name)


@pytest.mark.parametrize("text", ["\\", "a\\b", "\\x4", "\\x41", "\\n"])
def test_what_is_no_stored_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a stored path"):
        from_stored(text)


@given(st.text() | names)
def test_nothing_shown_can_move_the_cursor(text: str) -> None:
    shown = to_shown(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert not any(char in shown for char in "\u202e\u2066\u200b\u2028\ufeff")


@given(moments)
def test_moments_are_27_characters_and_sort_as_time(moment: datetime) -> None:
    text = format_timestamp(moment)
    assert len(text) == TIMESTAMP_LENGTH
    assert parse_timestamp(text) == moment


@given(moments, moments)
def test_text_order_is_time_order(one: datetime, other: datetime) -> None:
    assert (format_timestamp(one) < format_timestamp(other)) == (one < other)


def test_naive_moments_are_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        format_timestamp(datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="no UTC offset"):
        parse_timestamp("2026-01-01T00:00:00")
    assert parse_timestamp("2026-01-01T02:00:00+02:00") == datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_file_time_is_a_moment_or_refused(nanoseconds: int) -> None:
    assert from_epoch_ns(nanoseconds).tzinfo is UTC


@given(
    st.sampled_from(Status),
    st.sampled_from(Status),
    st.sampled_from(Cause),
    st.sampled_from([None, "interrupted", "x"]),
)
def test_only_the_table_lets_a_status_change(
    old: Status, new: Status, cause: Cause, code: str | None
) -> None:
    allowed = cause in TRANSITIONS.get((old, new), ())
    if (old, new) == (Status.FAILED, Status.COMPLETED):
        allowed = allowed and code in OPEN_ENDED_FAILURES
    try:
        check_transition("j", old, new, cause, code)
    except IllegalTransition as refused:
        assert not allowed
        assert "left as it was" in refused.message
    else:
        assert allowed


def test_nothing_leaves_expired_and_completed_only_expires() -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] is Status.EXPIRED]
    assert {new for old, new in TRANSITIONS if old is Status.COMPLETED} == {Status.EXPIRED}
    assert {Status.EXPIRED} < ENDED


def test_the_gravest_exit_code_wins() -> None:
    assert most_severe([]) is ExitCode.CLEAN
    assert most_severe([ExitCode.FINDINGS, ExitCode.ROOT, ExitCode.INCOMPLETE]) is ExitCode.ROOT
    assert most_severe(ExitCode) is ExitCode.INTERNAL
