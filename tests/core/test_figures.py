"""Figures: what each change of a status counts as."""

from __future__ import annotations

import pytest

from jobctl.core.figures import Figure, Figures, Move, figures_of
from jobctl.model.status import TRANSITIONS
from jobctl.report.sparkline import sparkline


@pytest.mark.parametrize(
    ("move", "counted"),
    [
        (Move("created", "", "queued", ""), {Figure.CREATED}),
        (Move("created", "expired", "queued", ""), {Figure.CREATED}),
        (Move("imported", "", "completed", "import"), {Figure.IMPORTED}),
        (Move("recovered", "", "completed", "create"), {Figure.RECOVERED}),
        (Move("status", "queued", "processing", "claim"), {Figure.STARTED}),
        (Move("status", "processing", "completed", "executor"), {Figure.COMPLETED}),
        (Move("status", "processing", "completed", "rescue"), {Figure.COMPLETED, Figure.LOST}),
        (Move("status", "failed", "completed", "complete"), {Figure.RECOVERED}),
        (Move("status", "processing", "failed", "executor"), {Figure.FAILED}),
        (Move("status", "processing", "failed", "proof-of-death"), {Figure.FAILED, Figure.LOST}),
        (Move("status", "processing", "failed", "fail"), {Figure.FAILED, Figure.LOST}),
        (Move("status", "processing", "queued", "retry"), {Figure.RETRIED}),
        (Move("status", "failed", "queued", "operator"), {Figure.RETRIED}),
        (Move("status", "processing", "queued", "rescue"), {Figure.LOST}),
        (Move("status", "processing", "queued", "requeue"), {Figure.LOST}),
        (Move("status", "processing", "queued", "hand-back"), set()),
        (Move("status", "queued", "cancelled", "operator"), {Figure.CANCELLED}),
        (Move("status", "completed", "expired", "retention"), {Figure.EXPIRED}),
        (Move("undone", "completed", "failed", "revert"), set()),
        (Move("deleted", "completed", "", ""), set()),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, Move) else "+".join(sorted(value)) or "nothing",
)
def test_a_change_counts_as(move: Move, counted: set[Figure]) -> None:
    assert set(figures_of(move)) == counted


def test_every_transition_there_is_counts_as_something_or_is_a_hand_back() -> None:
    for (old, new), causes in TRANSITIONS.items():
        for cause in causes:
            assert figures_of(Move("status", old.value, new.value, cause.value)) or cause == "hand-back"


def test_the_success_rate_leaves_out_what_neither_succeeded_nor_failed() -> None:
    figures = Figures()
    assert figures.success_rate is None
    figures.add_moves(Move("status", "processing", "completed", "executor"), 3)
    figures.add_moves(Move("status", "processing", "failed", "executor", "timeout"), 1)
    figures.add_moves(Move("status", "queued", "cancelled", "operator"), 6)
    assert figures.success_rate == 0.75
    assert figures.failures == {"timeout": 1}


def test_a_sparkline_keeps_every_peak() -> None:
    assert sparkline([0, 1, 2, 4, 8], 10) == "▁▂▃▅█"
    assert sparkline([0] * 99 + [9], 10) == "▁▁▁▁▁▁▁▁▁█"
    assert sparkline([None, 1.0, None], 5) == " █ "
    assert sparkline([0, 0], 5) == "▁▁"
    assert sparkline([], 5) == ""
