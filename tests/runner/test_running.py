"""How an attempt that has to end is ended, step by step."""

from __future__ import annotations

import signal
from typing import cast

import pytest

from jobctl.core.settling import Stop
from jobctl.model.attempts import AttemptId, Claim
from jobctl.runner.crew import Crew
from jobctl.runner.running import Running
from jobctl.work import TaskSpec


class Steps:
    """A crew that notes what it is told, and whose attempt never ends."""

    is_over = False

    def __init__(self) -> None:
        self.told: list[str] = []

    def ask_to_stop(self, of: AttemptId) -> None:
        self.told.append(f"ask {of.job_id}")

    def signal(self, of: AttemptId, number: int) -> None:
        self.told.append(f"{signal.Signals(number).name} {of.job_id}")


@pytest.mark.parametrize(
    ("stop", "cancel_grace_s", "gone_after_s"),
    [(Stop.DRAIN, 600.0, 2.0), (Stop.DRAIN, 0.5, 1.0), (Stop.CANCEL, 600.0, 1_200.0)],
)
def test_a_worker_whose_grace_is_over_waits_for_no_task_longer_than_two_seconds(
    stop: Stop, cancel_grace_s: float, gone_after_s: float
) -> None:
    steps = Steps()
    spec = TaskSpec(name="film", cancel_grace_s=cancel_grace_s)
    running = Running(Claim("j", 1, 0, 1, "film", None, 0.0), spec, cast("Crew", steps), since=0.0)
    running.ask_to_stop(stop, 100.0)
    while "SIGKILL j" not in steps.told:
        now = running.deadline
        running.press(now)
    assert steps.told == ["ask j", "SIGTERM j", "SIGKILL j"]
    assert now == 100.0 + gone_after_s
