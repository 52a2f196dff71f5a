"""What a client knows already, and what follows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobctl.core.preconditions import Conditions, Outcome, http_date, is_same_for_range, outcome_of

ETAG = '"abc"'
MODIFIED = datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)
SAME = http_date(MODIFIED)
BEFORE, AFTER = "Sat, 31 Jan 2026 11:59:59 GMT", "Sat, 31 Jan 2026 12:00:01 GMT"


@pytest.mark.parametrize(
    ("conditions", "outcome"),
    [
        ({}, Outcome.PROCEED),
        ({"if_none_match": '"abc"'}, Outcome.NOT_MODIFIED),
        ({"if_none_match": 'W/"abc"'}, Outcome.NOT_MODIFIED),
        ({"if_none_match": '"x", "abc"'}, Outcome.NOT_MODIFIED),
        ({"if_none_match": "*"}, Outcome.NOT_MODIFIED),
        ({"if_none_match": '"abcd"'}, Outcome.PROCEED),
        ({"if_none_match": "abc"}, Outcome.PROCEED),
        ({"if_none_match": '"x"', "if_modified_since": SAME}, Outcome.PROCEED),
        ({"if_modified_since": SAME}, Outcome.NOT_MODIFIED),
        ({"if_modified_since": AFTER}, Outcome.NOT_MODIFIED),
        ({"if_modified_since": BEFORE}, Outcome.PROCEED),
        ({"if_modified_since": "yesterday"}, Outcome.PROCEED),
        ({"if_match": '"abc"'}, Outcome.PROCEED),
        ({"if_match": "*"}, Outcome.PROCEED),
        ({"if_match": 'W/"abc"'}, Outcome.FAILED),
        ({"if_match": '"x"'}, Outcome.FAILED),
        ({"if_match": '"abc"', "if_none_match": '"abc"'}, Outcome.NOT_MODIFIED),
        ({"if_unmodified_since": SAME}, Outcome.PROCEED),
        ({"if_unmodified_since": BEFORE}, Outcome.FAILED),
        ({"if_match": '"abc"', "if_unmodified_since": BEFORE}, Outcome.PROCEED),
    ],
)
def test_conditions_are_weighed_in_the_order_of_the_standard(
    conditions: dict[str, str], outcome: Outcome
) -> None:
    assert outcome_of(Conditions(**conditions), ETAG, MODIFIED) is outcome


@pytest.mark.parametrize(
    ("if_range", "is_same"),
    [
        (None, True),
        ('"abc"', True),
        ('W/"abc"', False),
        ('"x"', False),
        (SAME, True),
        (BEFORE, False),
        (AFTER, False),
        ("never", False),
    ],
)
def test_a_range_is_answered_only_of_the_very_file(if_range: str | None, is_same: bool) -> None:
    assert is_same_for_range(if_range, ETAG, MODIFIED) is is_same
