"""What two ways of adding a history up must agree on. Pure.

The kind, queue and owner of a record that was removed since, and how long a job waited that was put
off since, are known only to what was added up before; on all else both are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from jobctl.core.figures import Move
from jobctl.core.histogram import bucket_of
from jobctl.core.tally import Change, Grain, period_of


class Sum(NamedTuple):
    """One sum: changes of one sort, or durations of one bucket (``None``: of all) in a period."""

    grain: Grain
    period: str
    move: Move | None = None
    what: str = ""
    to_status: str = ""
    bucket: int | None = None

    def __str__(self) -> str:
        when = f"{self.grain.value} {self.period}" if self.period else "in all"
        if self.move is not None:
            steps = f"{self.move.from_status or 'nothing'} to {self.move.to_status or 'nothing'}"
            return f"{when}, changes from {steps}"
        return f"{when}, {self.what}s measured{f', bucket {self.bucket}' if self.bucket is not None else ''}"


class Discrepancy(NamedTuple):
    """A sum that is kept, and what it should be."""

    about: Sum
    kept: int
    found: int


def sums_of(change: Change) -> Iterator[Sum]:
    """What one change adds one to."""
    for grain in Grain:
        period = period_of(change.at, grain)
        yield Sum(grain, period, change.move)
        if change.wait_s is not None:
            yield Sum(grain, period, None, "wait")
        if change.run_s is not None:
            yield Sum(grain, period, None, "run", change.to_status, _kept(grain, bucket_of(change.run_s)))


def _kept(grain: Grain, bucket: int) -> int | None:
    # By the hour the buckets would be too many to hold; by the day they are compared.
    return None if grain is Grain.HOUR else bucket


def span_sum(grain: Grain, period: str, what: str, to_status: str, bucket: int) -> Sum:
    """What a kept row of durations is compared as."""
    if what == "wait":
        return Sum(grain, period, None, what)
    return Sum(grain, period, None, what, to_status, _kept(grain, bucket))


def discrepancies(kept: Counter[Sum], found: Counter[Sum]) -> Iterator[Discrepancy]:
    """The sums that differ, in their order."""
    for each in sorted(kept.keys() | found.keys(), key=str):
        if kept[each] != found[each]:
            yield Discrepancy(each, kept[each], found[each])
