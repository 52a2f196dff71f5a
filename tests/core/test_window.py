"""Windows: what was asked for, in the whole hours and days that the tally can answer for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.tally import Grain
from jobctl.core.window import By, Piece, Window, window_of

NOW = datetime(2026, 1, 31, 14, 37, 5, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def test_a_day_of_hours_is_told_unless_something_else_is_asked_for() -> None:
    window = window_of(By.HOUR, NOW, None, None)
    assert (window.since, window.until) == (at("2026-01-30T15:00"), at("2026-01-31T15:00"))
    assert len(list(window.periods(Grain.HOUR))) == 24
    assert window.is_running
    assert not window.is_wider


def test_an_hour_that_is_cut_is_told_whole_and_this_is_said() -> None:
    window = window_of(By.HOUR, NOW, at("2026-01-31T12:37"), at("2026-01-31T13:10"))
    assert (window.since, window.until) == (at("2026-01-31T12:00"), at("2026-01-31T14:00"))
    assert window.is_wider
    assert not window.is_running


def test_whole_hours_are_told_as_they_were_asked_for() -> None:
    window = window_of(By.KIND, NOW, at("2026-01-31T12:00"), at("2026-01-31T13:00"))
    assert (window.since, window.until) == (at("2026-01-31T12:00"), at("2026-01-31T13:00"))
    assert not window.is_wider


def test_owners_are_told_by_the_day() -> None:
    window = window_of(By.OWNER, NOW, at("2026-01-31T12:00"), None)
    assert (window.since, window.until) == (at("2026-01-31T00:00"), at("2026-02-01T00:00"))
    assert window.is_wider


def test_the_future_is_not_told() -> None:
    window = window_of(By.HOUR, NOW, at("2026-01-31T12:00"), at("2026-02-03T00:00"))
    assert window.until == at("2026-01-31T15:00")


def test_at_the_very_beginning_of_an_hour_it_is_that_hour_that_runs() -> None:
    window = window_of(By.HOUR, at("2026-01-31T14:00"), None, None)
    assert (window.since, window.until) == (at("2026-01-30T15:00"), at("2026-01-31T15:00"))


@pytest.mark.parametrize(
    ("by", "since", "until"),
    [
        (By.HOUR, "2026-01-31T13:00", "2026-01-31T12:00"),
        (By.HOUR, "2026-01-31T13:00", "2026-01-31T13:00"),
        (By.HOUR, "2026-01-31T15:00", None),
        (By.HOUR, "2001-01-31T15:00", None),
    ],
)
def test_an_empty_or_endless_window_is_refused(by: By, since: str, until: str | None) -> None:
    with pytest.raises(ValueError, match="nothing lies|more than"):
        window_of(by, NOW, at(since), at(until) if until else None)


def test_days_are_added_up_as_days_and_hours_only_beside_them() -> None:
    window = window_of(By.KIND, NOW, at("2026-01-28T22:30"), None)
    assert window.pieces() == [
        Piece(Grain.HOUR, "2026-01-28T22", "2026-01-29T00"),
        Piece(Grain.DAY, "2026-01-29", "2026-01-31"),
        Piece(Grain.HOUR, "2026-01-31T00", "2026-01-31T15"),
    ]


def test_whole_months_are_added_up_as_months() -> None:
    window = window_of(By.KIND, NOW, at("2025-10-31T23:00"), None)
    assert window.pieces() == [
        Piece(Grain.HOUR, "2025-10-31T23", "2025-11-01T00"),
        Piece(Grain.MONTH, "2025-11", "2026-01"),
        Piece(Grain.DAY, "2026-01-01", "2026-01-31"),
        Piece(Grain.HOUR, "2026-01-31T00", "2026-01-31T15"),
    ]
    assert [piece.grain for piece in window.pieces(Grain.DAY)] == [Grain.HOUR, Grain.DAY, Grain.HOUR]


@given(
    st.sampled_from(By),
    st.integers(0, 60 * 24 * 40),
    st.integers(1, 60 * 24 * 100),
)
def test_the_pieces_cover_every_moment_of_the_window_once(by: By, back: int, length: int) -> None:
    since = NOW - timedelta(minutes=back + length)
    window = window_of(by, NOW, since, since + timedelta(minutes=length))
    assert window.since <= since
    assert window.until >= min(since + timedelta(minutes=length), NOW)
    covered = sorted(hour for piece in window.pieces() for hour in hours_of(piece))
    assert covered == list(hours_between(window))


def hours_of(piece: Piece) -> list[datetime]:
    assert piece.until is not None
    rest = {Grain.HOUR: ":00+00:00", Grain.DAY: "T00:00+00:00", Grain.MONTH: "-01T00:00+00:00"}
    first, last = (datetime.fromisoformat(name + rest[piece.grain]) for name in (piece.since, piece.until))
    return [first + timedelta(hours=n) for n in range(int((last - first) / timedelta(hours=1)))]


def hours_between(window: Window) -> list[datetime]:
    count = int((window.until - window.since) / timedelta(hours=1))
    return [window.since + timedelta(hours=n) for n in range(count)]
