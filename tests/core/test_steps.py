"""The ways through the transition table that a job's own service may take."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from jobctl.core.steps import steps
from jobctl.errors import IllegalTransition
from jobctl.model.status import TRANSITIONS, Status


@pytest.mark.parametrize(("old", "new"), list(product(Status, Status)))
def test_every_step_is_one_of_the_table(old: Status, new: Status) -> None:
    try:
        way = steps("a", old, new)
    except IllegalTransition:
        return
    stations = [old, *(step.to for step in way)]
    assert stations[-1] is new
    for (before, after), step in zip(pairwise(stations), way, strict=True):
        assert step.cause in TRANSITIONS[before, after]


@pytest.mark.parametrize(
    ("old", "new", "way"),
    [
        ("queued", "queued", []),
        ("queued", "processing", ["processing"]),
        ("queued", "completed", ["processing", "completed"]),
        ("queued", "failed", ["failed"]),
        ("processing", "queued", ["queued"]),
        ("failed", "queued", ["queued"]),
    ],
)
def test_the_way(old: str, new: str, way: list[str]) -> None:
    assert [step.to.value for step in steps("a", Status(old), Status(new))] == way


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("completed", "processing"),
        ("completed", "failed"),
        ("completed", "expired"),
        ("failed", "completed"),
        ("expired", "queued"),
        ("failed", "processing"),
    ],
)
def test_what_a_service_may_not(old: str, new: str) -> None:
    with pytest.raises(IllegalTransition):
        steps("a", Status(old), Status(new))


def test_a_failure_that_nobody_saw_may_turn_out_to_have_been_a_success() -> None:
    (step,) = steps("a", Status.FAILED, Status.COMPLETED, error_code="interrupted")
    assert step.to is Status.COMPLETED
