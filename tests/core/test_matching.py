"""Renders and jobs: one to one by the strongest proof, or told and left alone."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.matching import JobClue, Match, match_renders
from jobctl.model.renders import Proof, Render, RenderState

NOON = datetime(2025, 11, 4, 12, tzinfo=UTC)
JOB = "0b9e6f6e-8a53-4d8f-9a43-0e4f5b1d7c11"
OTHER = "1c8f7a5b-9b64-4e9a-8b54-1f5a6c2e8d22"


def render(remote_id: str, at_s: int = 0, **changes: object) -> Render:
    return Render(remote_id, RenderState.READY, created_at=NOON + timedelta(seconds=at_s), **changes)  # type: ignore[arg-type]


def clue(job_id: str = JOB, at_s: int = 0, **changes: object) -> JobClue:
    return JobClue(job_id, created_at=NOON + timedelta(seconds=at_s), **changes)  # type: ignore[arg-type]


def test_a_log_that_names_both_is_certain_whatever_the_times_say() -> None:
    found = match_renders([render("a", 9_000), render("b", 10)], [clue(remote_ids=frozenset({"a"}))])
    assert found.matches == [Match("a", JOB, Proof.LOG)]


def test_a_name_or_tag_that_holds_the_jobs_id_is_next() -> None:
    found = match_renders(
        [render("a", 9_000, name=f"presentation {JOB}"), render("b", 9_000, tags=(OTHER,))],
        [clue(), clue(OTHER)],
    )
    assert [(match.remote_id, match.proof) for match in found.matches] == [
        ("a", Proof.NAME),
        ("b", Proof.NAME),
    ]


def test_the_time_alone_decides_only_between_one_and_one() -> None:
    assert match_renders([render("a", 20)], [clue()]).matches == [Match("a", JOB, Proof.TIME)]
    crowded = match_renders([render("a", 20), render("b", 30)], [clue()])
    assert crowded.matches == []
    assert "2 renders fit job" in crowded.doubts[0].sentence
    shared = match_renders([render("a", 20)], [clue(), clue(OTHER)])
    assert shared.matches == []
    assert "fits 2 jobs" in shared.doubts[0].sentence


def test_what_was_made_before_the_job_or_long_after_is_not_its() -> None:
    assert match_renders([render("a", -60), render("b", 3_600)], [clue()]).matches == []


FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("never", [FIRST, LAST])
def test_a_record_at_an_end_of_the_calendar_has_no_render_by_its_time(never: datetime) -> None:
    """Programs that know no time write such ones."""
    assert match_renders([render("a", 20)], [JobClue(JOB, created_at=never)]).matches == []
    found = match_renders([render("a", 20)], [clue(ended_at=never)])
    assert bool(found.matches) is (never == LAST)


def test_of_two_renders_that_a_log_names_neither_is_taken_though_one_is_no_longer_listed() -> None:
    found = match_renders([render("a")], [clue(remote_ids=frozenset({"a", "b"}))])
    assert found.matches == []
    assert found.doubts[0].remote_ids == ("a", "b")


def test_what_a_stronger_proof_left_in_doubt_no_weaker_one_decides() -> None:
    found = match_renders(
        [render("a", 20), render("b", 5_000)], [clue(remote_ids=frozenset({"a", "b"})), clue(OTHER, 4_990)]
    )
    assert found.matches == []


def test_what_an_operator_decided_stays_and_leaves_no_doubt() -> None:
    decided = [Match("a", OTHER, Proof.OPERATOR)]
    found = match_renders([render("a", 20), render("b", 30)], [clue(), clue(OTHER)], decided=decided)
    assert found == ([*decided, Match("b", JOB, Proof.TIME)], [])


def test_what_had_ended_before_a_render_was_made_is_not_its_job() -> None:
    ended = clue(ended_at=NOON + timedelta(seconds=30))
    assert match_renders([render("a", 60)], [ended]).matches == []
    assert match_renders([render("a", 20)], [ended]).matches == [Match("a", JOB, Proof.TIME)]


renders = st.lists(
    st.builds(
        lambda number, at, named: render(f"r{number}", at, name=named),
        st.integers(0, 6),
        st.integers(-200, 400),
        st.sampled_from([None, JOB, OTHER]),
    ),
    max_size=6,
    unique_by=lambda each: each.remote_id,
)
clues = st.lists(
    st.builds(
        lambda number, at, ids: clue(f"job-number-{number}", at, remote_ids=ids),
        st.integers(0, 5),
        st.integers(-200, 400),
        st.frozensets(st.sampled_from([f"r{number}" for number in range(7)]), max_size=2),
    ),
    max_size=5,
    unique_by=lambda each: each.job_id,
)


@given(renders, clues, st.integers())
def test_nothing_is_given_twice_and_order_is_irrelevant(
    some: list[Render], jobs: list[JobClue], seed: int
) -> None:
    found = match_renders(some, jobs)
    assert len({match.remote_id for match in found.matches}) == len(found.matches)
    assert len({match.job_id for match in found.matches}) == len(found.matches)
    shuffled_some, shuffled_jobs = some[:], jobs[:]
    random.Random(seed).shuffle(shuffled_some)
    random.Random(seed).shuffle(shuffled_jobs)
    assert match_renders(shuffled_some, shuffled_jobs) == found
