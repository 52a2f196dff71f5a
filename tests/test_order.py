"""The order of the tests: nothing is left out, and each worker begins with an area of its own."""

from __future__ import annotations

import pytest

from order import LONGEST, dealt, shares

NAMES = [f"tests/{area}/test_it.py::test_{number}" for area in ("a", "z") for number in range(50)]
NAMES[30:30] = [f"{area}test_it.py::test_{number}" for area in LONGEST for number in range(4)]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7])
def test_each_worker_begins_with_its_areas_and_every_test_is_run_once(workers: int) -> None:
    order = dealt(NAMES, workers)
    assert sorted(order) == list(range(len(NAMES)))
    begin = 0
    for worker, share in enumerate(shares(len(NAMES), workers)):
        its = [NAMES[place] for place in order[begin : begin + share]]
        areas = LONGEST[worker::workers]
        assert [name.startswith(areas) for name in its] == [
            number < 4 * len(areas) for number in range(share)
        ]
        begin += share


def test_an_area_of_more_tests_than_a_share_loses_none() -> None:
    names = [f"{LONGEST[0]}test_it.py::test_{number}" for number in range(9)] + ["tests/a.py::test"]
    assert sorted(dealt(names, 3)) == list(range(10))


def test_the_areas_are_there(pytestconfig: pytest.Config) -> None:
    assert all((pytestconfig.rootpath / area).is_dir() for area in LONGEST)


def test_shares_are_those_of_the_scheduler() -> None:
    assert (shares(10, 3), shares(5902, 4)) == ([3, 3, 4], [1475, 1475, 1476, 1476])
