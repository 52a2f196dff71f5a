"""Which jobs ask for the same, and which of them counts."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jobctl.core.duplicates import Part
from jobctl.core.requests import AskedJob, SameBy, judge_requests, request_keys


def job(job_id: str, created_at: str = "2026-01-01", *, status: str = "completed", **facts: Any) -> AskedJob:
    facts = {"kind": "presentation", "owner": "ada", "has_video": False, **facts}
    return AskedJob(job_id, status=status, created_at=created_at, **facts)


def kept(*jobs: AskedJob) -> tuple[str, str]:
    first = judge_requests(jobs, SameBy.PAYLOAD)[0]
    assert first.part is Part.KEEPER
    return first.job.job_id, first.reason


def test_a_completed_job_with_its_video_counts_before_an_older_one() -> None:
    served = "completed, and its whole video is there"
    old, new = job("a", "2026-01-01"), job("b", "2026-01-02", has_video=True)
    assert kept(old, new) == ("b", served)
    assert kept(job("a", status="failed", has_video=True), new) == ("b", served)


def test_then_the_oldest_counts_then_the_id() -> None:
    old, new, undated = job("z", "2026-01-01"), job("a", "2026-01-02"), job("0", "")
    assert kept(new, undated, old) == ("z", "none is completed with a whole video; it is the oldest")
    twin = job("y", "2026-01-01")
    assert kept(new, old, twin)[0] == "y"
    assert kept(new, old, twin)[1].endswith("among the oldest its id comes first")


def test_the_others_are_told_by_what_they_are_the_same_and_that_they_stay() -> None:
    first, second = job("a"), job("b", "2026-01-02", kind="avatar")
    [_, told] = judge_requests([second, first], SameBy.IDEMPOTENCY_KEY)
    assert told.part is Part.COPY
    assert told.reason == ("the same idempotency key as job a, the same owner, as another kind (avatar)")


def test_jobs_whose_owner_is_not_recorded_are_not_called_one_owners() -> None:
    [_, told] = judge_requests([job("a", owner=None), job("b", owner=None)], SameBy.PAYLOAD)
    assert "no owner recorded for either" in told.reason


def test_a_request_is_the_same_whatever_the_order_of_its_keys_and_the_form_of_its_numbers() -> None:
    first = request_keys("ada", None, {"title": "x", "slides": [{"n": 1, "s": 0.5}]})
    second = request_keys("ada", None, {"slides": [{"s": 0.5, "n": 1.0}], "title": "x"})
    assert first == second
    assert first != request_keys("ada", None, {"title": "x", "slides": [{"n": 2, "s": 0.5}]})


def test_the_same_request_of_another_owner_is_another_request() -> None:
    payload = {"user": "u1", "slides": [1]}
    of_ada, of_bob, of_nobody = (request_keys(owner, "k", payload) for owner in ("ada", "bob", None))
    for same_by in SameBy:
        assert len({of_ada[same_by], of_bob[same_by], of_nobody[same_by]}) == 3


def test_user_and_slides_are_enough_where_both_are_there() -> None:
    first = request_keys("ada", None, {"user": "u1", "slides": [1], "at": "monday"})
    second = request_keys("ada", None, {"user": "u1", "slides": [1], "at": "tuesday"})
    assert first[SameBy.SLIDES] == second[SameBy.SLIDES]
    assert first[SameBy.PAYLOAD] != second[SameBy.PAYLOAD]
    for partial in ({"user": "u1"}, {"slides": [1]}, {"user": "u1", "slides": []}, ["user", "slides"]):
        assert SameBy.SLIDES not in request_keys("ada", None, partial)


def test_a_request_of_which_nothing_is_known_is_the_same_as_none() -> None:
    for payload in (None, {}, [], ""):
        assert request_keys("ada", None, payload) == {}
        assert request_keys("ada", "", payload) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_a_request_is_the_same_after_it_was_stored(payload: Any) -> None:
    stored = json.loads(json.dumps(payload, sort_keys=True, indent=1))
    assert request_keys("ada", None, payload) == request_keys("ada", None, stored)
