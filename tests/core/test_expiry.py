"""Expiry: from when the time of an ended job counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobctl.core.ages import Ages
from jobctl.core.expiry import judge_ended
from jobctl.model.plan import Kept
from jobctl.model.records import Ended
from jobctl.policy import Policy, Rule

NOW = datetime(2026, 1, 31, tzinfo=UTC)
MONTH = Policy(rule=Rule(retain={"completed": timedelta(days=30)}))


@pytest.mark.parametrize("latest", [None, "updated_at", "completed_at", "recovered_at"])
def test_an_ended_job_is_kept_from_the_latest_of_its_moments_on(latest: str | None) -> None:
    moments = dict.fromkeys(("updated_at", "completed_at", "recovered_at"), NOW - timedelta(days=40))
    if latest is not None:
        moments[latest] = NOW - timedelta(days=1)
    answer = judge_ended(Ended("job", "task", "completed", **moments), MONTH, Ages(NOW))
    assert isinstance(answer, Kept) == (latest is not None)
