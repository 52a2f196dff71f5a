"""What becomes of a job once an attempt of it has ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.backoff import delay_after
from jobctl.core.pace import Pace
from jobctl.core.settling import (
    Died,
    Ending,
    Lost,
    NotBegun,
    Raised,
    Returned,
    Stop,
    after_death,
    settle,
)
from jobctl.core.vigil import Vigil
from jobctl.model.attempts import Claim, Lease, Peer
from jobctl.model.job import Executor, Job
from jobctl.model.status import TRANSITIONS, Cause, Status
from jobctl.work import TaskSpec

SPEC = TaskSpec(name="render", timeout_s=60.0, memory=1 << 30, backoff_s=10.0)
RAISED = Raised("ValueError: no", "error", "Traceback …", is_final=False)
KILLED = Died("SIGKILL", 0, 100 << 20, was_oom=False)


def claim(attempt: int = 1, most: int = 3, spared: int = 0) -> Claim:
    return Claim("j1", attempt, spared, most, "render", None, 0.0)


def test_what_returned_is_completed_with_its_result() -> None:
    ended = settle(claim(), Returned('{"a":1}'), spec=SPEC)
    assert (ended.to, ended.cause, ended.result) == (Status.COMPLETED, Cause.EXECUTOR, '{"a":1}')


def test_a_failure_is_tried_again_after_a_pause_until_its_attempts_are_used_up() -> None:
    again = settle(claim(attempt=2), RAISED, spec=SPEC, luck=1.0)
    assert (again.to, again.cause, again.delay_s) == (Status.QUEUED, Cause.RETRY, 20.0)
    assert (again.error, again.detail) == ("ValueError: no", {"traceback": "Traceback …"})
    last = settle(claim(attempt=3), RAISED, spec=SPEC)
    assert (last.to, last.delay_s) == (Status.FAILED, None)


def test_a_final_failure_is_not_tried_again() -> None:
    assert settle(claim(), RAISED._replace(is_final=True), spec=SPEC).to is Status.FAILED


@pytest.mark.parametrize(
    ("died", "said", "code"),
    [
        (KILLED, "killed by SIGKILL, peak 100 MiB", "killed"),
        (
            KILLED._replace(was_oom=True),
            "killed by SIGKILL, peak 100 MiB, likely out of memory",
            "out-of-memory",
        ),
        (
            KILLED._replace(peak_bytes=1 << 30),
            "killed by SIGKILL, peak 1.0 GiB, likely out of memory",
            "out-of-memory",
        ),
        (Died(None, 3, 1, was_oom=False), "its process ended without a result, with exit code 3", "died"),
    ],
)
def test_how_a_process_died_is_told(died: Died, said: str, code: str) -> None:
    ended = settle(claim(), died, spec=SPEC)
    assert (ended.error, ended.error_code) == (said, code)


def test_what_was_lost_with_others_costs_the_first_time_nothing_and_an_attempt_from_then_on() -> None:
    lost = Lost("was killed")
    first = settle(claim(attempt=1, most=1), lost, spec=SPEC)
    assert (first.to, first.cause, first.is_spared) == (Status.QUEUED, Cause.HAND_BACK, True)
    last = settle(claim(attempt=2, most=1, spared=1), lost, spec=SPEC)
    assert (last.to, last.error_code) == (Status.FAILED, "killed")
    assert last.error == "the process that ran it and others was killed"
    assert settle(claim(), lost, spec=SPEC, has_published=True).to is Status.COMPLETED


def test_attempts_that_were_handed_back_make_no_pause_longer_and_use_up_no_try() -> None:
    after_deploys = settle(claim(attempt=21, most=2, spared=20), RAISED, spec=SPEC, luck=1.0)
    assert after_deploys.delay_s == settle(claim(attempt=1, most=2), RAISED, spec=SPEC, luck=1.0).delay_s
    assert settle(claim(attempt=22, most=2, spared=20), RAISED, spec=SPEC).to is Status.FAILED


def test_what_could_not_begin_is_handed_back_for_a_while() -> None:
    ended = settle(claim(), NotBegun("no process could be made for it", 5.0), spec=SPEC)
    assert (ended.to, ended.delay_s, ended.is_spared) == (Status.QUEUED, 5.0, True)


def test_only_sigkill_is_taken_for_the_kernels_want_of_memory() -> None:
    crashed = settle(claim(), Died("SIGSEGV", 0, 1 << 20, was_oom=True), spec=SPEC)
    assert (crashed.error, crashed.error_code) == ("killed by SIGSEGV, peak 1.0 MiB", "killed")


def test_what_died_after_it_published_its_video_is_not_rendered_again() -> None:
    assert settle(claim(), KILLED, spec=SPEC, has_published=True).to is Status.COMPLETED


def test_a_time_limit_is_told_as_such() -> None:
    ended = settle(claim(), KILLED, spec=SPEC, stop=Stop.TIMEOUT)
    assert (ended.to, ended.error_code) == (Status.QUEUED, "timeout")
    assert ended.error == "it ran longer than its limit of 1 min"


@pytest.mark.parametrize("ending", [Returned(None), RAISED, KILLED])
def test_what_was_cancelled_and_published_nothing_is_cancelled(ending: Ending) -> None:
    assert settle(claim(), ending, spec=SPEC, stop=Stop.CANCEL).to is Status.CANCELLED


def test_what_was_cancelled_before_it_began_never_begins() -> None:
    ended = settle(claim(), NotBegun("it was asked to stop before it began"), spec=SPEC, stop=Stop.CANCEL)
    assert (ended.to, ended.error) == (Status.CANCELLED, "cancelled before it began")


def test_what_finished_before_it_could_be_cancelled_is_completed() -> None:
    assert (
        settle(claim(), Returned(None), spec=SPEC, stop=Stop.CANCEL, has_published=True).to
        is Status.COMPLETED
    )


@pytest.mark.parametrize("ending", [RAISED, KILLED, Lost("…"), NotBegun("…")])
def test_what_a_restart_cuts_off_goes_back_and_costs_no_attempt(ending: Ending) -> None:
    ended = settle(claim(attempt=3), ending, spec=SPEC, stop=Stop.DRAIN)
    assert (ended.to, ended.cause, ended.is_spared) == (Status.QUEUED, Cause.HAND_BACK, True)


def test_a_job_whose_worker_died_is_tried_again_at_once_and_later_with_pauses() -> None:
    def pause(attempt: int, spared: int = 0) -> float | None:
        job = Job(job_id="j1", attempt=attempt, spared=spared, max_attempts=3)
        lease = Lease("j1", attempt, "w", is_cancelled=False)
        return after_death(job, lease, has_video=False, luck=1.0).delay_s

    assert (pause(1), pause(2), pause(9, spared=7)) == (0.0, 10.0, 10.0)


def test_a_job_that_killed_its_workers_once_too_often_has_failed() -> None:
    ended = after_death(
        Job(job_id="j1", attempt=5, spared=2, max_attempts=3),
        Lease("j1", 5, "w", is_cancelled=False),
        has_video=False,
        luck=0,
    )
    assert (ended.to, ended.error_code) == (Status.FAILED, "lease-lapsed")
    assert ended.error == "worker w died or was cut off in attempt 3 of 3"


def test_a_video_that_was_published_completes_the_job_of_a_dead_worker() -> None:
    job, lease = Job(job_id="j1"), Lease("j1", 1, "w", is_cancelled=True)
    assert after_death(job, lease, has_video=True, luck=0).to is Status.COMPLETED


endings = st.one_of(
    st.just(Returned(None)),
    st.builds(Raised, st.text(), st.text(), st.text(), is_final=st.booleans()),
    st.builds(
        Died, st.sampled_from(["SIGKILL", None]), st.integers(0, 255), st.integers(0, 1 << 40), st.booleans()
    ),
    st.builds(Lost, st.text()),
    st.builds(NotBegun, st.text()),
)


@given(
    ending=endings,
    attempt=st.integers(1, 9),
    most=st.integers(1, 9),
    stop=st.sampled_from([None, *Stop]),
    has_published=st.booleans(),
    luck=st.floats(0, 1),
)
def test_every_settlement_obeys_the_transition_table(
    ending: Ending, attempt: int, most: int, stop: Stop | None, has_published: bool, luck: float
) -> None:
    ended = settle(claim(attempt, most), ending, spec=SPEC, stop=stop, has_published=has_published, luck=luck)
    assert ended.cause in TRANSITIONS[Status.PROCESSING, ended.to]
    if ended.cause is Cause.RETRY:
        assert attempt < most
    if ended.to is Status.COMPLETED:
        assert ended.error is None


@given(attempt=st.integers(1, 10**6), base_s=st.floats(0.1, 1e3), luck=st.floats(0, 1))
def test_pauses_grow_and_stay_within_their_bounds(attempt: int, base_s: float, luck: float) -> None:
    delay = delay_after(attempt, base_s=base_s, most_s=3600.0, luck=luck)
    assert 0.5 * min(base_s, 3600.0) <= delay <= 3600.0
    assert delay_after(attempt + 1, base_s=base_s, most_s=3600.0, luck=luck) >= delay


def peer(beat: int, worker: str = "w") -> Peer:
    return Peer(worker, Executor("h", "b", 1, 1), 10.0, beat)


def test_a_worker_is_silent_once_its_beat_stood_still_for_a_lease() -> None:
    vigil = Vigil(longest_gap_s=5)
    assert vigil.observe([peer(1)], 0) == []
    assert vigil.observe([peer(2)], 4) == []
    assert vigil.observe([peer(2)], 8) == []
    assert vigil.observe([peer(2)], 13) == []
    assert vigil.observe([peer(2)], 14) == [peer(2)]


def test_an_observer_that_was_away_itself_begins_anew() -> None:
    vigil = Vigil(longest_gap_s=5)
    vigil.observe([peer(1)], 0)
    assert vigil.observe([peer(1)], 100) == []
    assert vigil.observe([peer(1)], 104) == []


def test_long_jobs_are_taken_one_a_slot_and_short_ones_in_batches() -> None:
    pace = Pace()
    assert pace.wanted(4, 0) == 4
    assert pace.wanted(4, 4) == 0
    pace.note_start(0.0)
    for number in range(2_000):
        pace.note_end(number * 0.0001, 4)
    assert pace.wanted(4, 4) >= 100
    assert pace.is_stuck(10.0, 4, 50)
    assert pace.wanted(4, 4) == 0
