"""The order in which the workers of pytest-xdist run the tests: the areas that take longest first.

By ``worksteal`` each worker begins with one stretch of the tests, and one that has run out of them takes from
the end of another's. So a long test that comes last keeps one worker busy while the others wait. And the
storms, crashes and stories, each of which starts a machine full of processes, are run by one worker each:
several at once would take the time from each other that they give their workers to answer in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice

LONGEST = ("tests/chaos/", "tests/crash/", "tests/stories/", "tests/runner/")
"""Areas, those that take longest first."""


def dealt(names: Iterable[str], workers: int) -> list[int]:
    """The places of the tests in the order to run them: at the beginning of each worker's its areas."""
    areas: dict[str, list[int]] = {area: [] for area in LONGEST}
    others: list[int] = []
    for place, name in enumerate(names):
        areas.get(next(filter(name.startswith, LONGEST), ""), others).append(place)
    begins = [list(chain.from_iterable(list(areas.values())[worker::workers])) for worker in range(workers)]
    count, rest, order = sum(map(len, begins)) + len(others), iter(others), list[int]()
    for begin, share in zip(begins, shares(count, workers), strict=True):
        order += begin + list(islice(rest, max(0, share - len(begin))))
    return [*order, *rest]


def shares(count: int, workers: int) -> Sequence[int]:
    """How many tests each worker is given at the beginning, as xdist's scheduler divides them."""
    found: list[int] = []
    for worker in range(workers):
        found.append((count - sum(found)) // (workers - worker))
    return found
