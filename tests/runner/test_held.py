"""What a worker holds: no end is lost before the store has it, and whose a job is the store says."""

from __future__ import annotations

from typing import cast

import pytest

from jobctl.core.settling import NotBegun, Returned
from jobctl.model.attempts import AttemptId, Claim, Lease, ProgressReport, Turn
from jobctl.model.status import Cause, Status
from jobctl.runner.counters import Counters
from jobctl.runner.crew import Crew
from jobctl.runner.held import Held
from jobctl.runner.options import Voice
from jobctl.work import TaskSpec
from runner.test_running import Steps

A, B = AttemptId("a", 1), AttemptId("b", 1)
FILM = {"film": TaskSpec(name="film")}


class Stage:
    """What a worker holds, and what came of it."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.said: list[str] = []
        self.steps = Steps()
        self.held = Held(2, self.counters, Voice(self.said.append, self.said.append))
        claims = [Claim(*of, 0, 3, "film", None, 0.0) for of in (A, B)]
        self.held.begin(claims, FILM, cast("Crew", self.steps), 0.0)

    @property
    def unwritten(self) -> list[AttemptId]:
        return [each.id for each in self.held.unwritten]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def lease(of: AttemptId, *, is_cancelled: bool = False) -> Lease:
    return Lease(*of, "w1", is_cancelled)


def test_what_ends_while_other_ends_are_written_is_kept(stage: Stage) -> None:
    stage.held.finish(A, Returned("1"), 1.0)
    written = stage.held.unwritten[:]
    stage.held.finish(B, Returned("2"), 1.0)
    stage.held.note_written(written, Turn(frozenset({A}), []))
    assert stage.unwritten == [B]
    assert not stage.held.is_empty
    assert stage.counters.completed == 1


def test_how_a_long_job_ended_is_written_at_once(stage: Stage) -> None:
    assert stage.held.write_at == float("inf"), "there is nothing to write"
    stage.held.finish(A, Returned("1"), 60.0)
    assert stage.held.write_at <= 60.0


def test_ends_of_short_jobs_are_gathered_as_long_as_more_are_to_come(stage: Stage) -> None:
    stage.held.finish(A, Returned("1"), 0.001)
    assert 0.001 < stage.held.write_at < 0.02
    gathered_until = stage.held.write_at
    stage.held.begin([Claim("c", 1, 0, 3, "film", None, 0.0)], FILM, cast("Crew", stage.steps), 0.002)
    stage.held.finish(B, Returned("2"), 0.003)
    assert stage.held.write_at == gathered_until, "the first does not wait longer for others"
    stage.held.finish(AttemptId("c", 1), Returned("3"), 0.004)
    assert stage.held.write_at <= 0.004, "nothing runs that could end"


def test_what_a_cut_off_attempt_came_to_is_not_written(stage: Stage) -> None:
    stage.held.agree_with([lease(B)], 1.0)
    assert stage.steps.told == ["SIGKILL a"]
    stage.held.finish(A, Returned("1"), 2.0)
    assert (stage.unwritten, stage.counters.fenced) == ([], 1)
    stage.held.agree_with([lease(B)], 3.0)
    assert stage.steps.told == ["SIGKILL a"], "it is told once"


def test_what_is_asked_to_be_cancelled_is_asked_to_stop(stage: Stage) -> None:
    stage.held.agree_with([lease(A), lease(B, is_cancelled=True)], 1.0)
    assert stage.steps.told == ["ask b"]


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_job_whose_claim_was_never_answered_is_handed_back_or_cancelled(
    stage: Stage, *, is_cancelled: bool
) -> None:
    stage.held.finish(A, NotBegun("its crew ended"), 1.0)
    unheard = lease(AttemptId("c", 4), is_cancelled=is_cancelled)
    stage.held.agree_with([lease(A), lease(B), unheard], 1.0)
    assert stage.unwritten == [A, ("c", 4)], "what is still to be written is known"
    back = stage.held.unwritten[-1]
    assert back.to is (Status.CANCELLED if is_cancelled else Status.QUEUED)
    assert back.cause is (Cause.OPERATOR if is_cancelled else Cause.HAND_BACK)


def test_an_end_that_is_found_written_is_not_written_again(stage: Stage) -> None:
    stage.held.finish(A, Returned("1"), 1.0)
    stage.held.finish(B, Returned("2"), 1.0)
    stage.held.note_found_written([lease(B)])
    assert (stage.unwritten, stage.counters.completed, stage.counters.fenced) == ([B], 1, 0)


def test_a_worker_that_was_given_up_stops_everything_and_writes_nothing(stage: Stage) -> None:
    stage.held.finish(A, Returned("1"), 1.0)
    stage.held.let_go()
    assert (stage.unwritten, stage.steps.told) == ([], ["SIGKILL b"])


def test_progress_of_an_attempt_that_ended_is_not_told_any_more(stage: Stage) -> None:
    stage.held.progress[A] = ProgressReport(*A, 50.0, None)
    stage.held.finish(A, Returned("1"), 1.0)
    assert stage.held.progress == {}
