"""How a worker ends: after its grace, a lease later where the store is away, and at once if asked again."""

from __future__ import annotations

from jobctl.runner.leaving import Leaving


def leaving() -> Leaving:
    return Leaving(grace_s=30.0, lease_s=10.0)


def test_what_runs_has_the_grace_and_an_absent_store_a_lease_more() -> None:
    end = leaving()
    assert not end.has_begun
    assert not end.is_grace_over(1e9)
    assert not end.is_late(1e9)
    assert end.begin(100.0)
    assert [end.is_grace_over(now) for now in (129.0, 130.0, 131.0)] == [False, True, False]
    assert [end.is_late(now) for now in (139.0, 140.0)] == [False, True]


def test_it_begins_once() -> None:
    end = leaving()
    assert end.begin(100.0)
    assert not end.begin(120.0)
    assert end.stops_at == 130.0


def test_the_second_signal_leaves_no_time_whichever_way_it_comes() -> None:
    for signals in ([1, 1], [2]):
        end = leaving()
        end.begin(100.0)
        assert [end.is_asked_again(count, 101.0) for count in signals][-1]
        assert end.is_late(101.0)


def test_the_first_signal_to_one_that_ends_by_itself_is_no_second_one() -> None:
    end = leaving()
    end.begin(100.0)
    assert not end.is_asked_again(1, 101.0)
    assert not end.is_late(101.0)
