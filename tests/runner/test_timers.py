"""When a worker tries again what failed."""

from __future__ import annotations

import pytest

from jobctl.runner.timers import Backoff


@pytest.mark.parametrize(
    ("luck", "pauses"), [(1.0, [0.1, 0.2, 0.4, 0.5, 0.5]), (0.0, [0.05, 0.1, 0.2, 0.25, 0.25])]
)
def test_pauses_grow_up_to_the_longest_and_are_cut_by_chance(luck: float, pauses: list[float]) -> None:
    backoff = Backoff(0.1, 0.5)
    for pause in pauses:
        backoff.fail(10.0, luck=luck)
        assert not backoff.is_due(10.0)
        assert backoff.at == pytest.approx(10.0 + pause)
    backoff.succeed()
    assert backoff.is_due(10.0)
