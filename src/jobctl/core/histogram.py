"""Histograms of durations: buckets whose bounds grow by a fixed ratio, and quantiles read off them. Pure.

Four buckets to each doubling, so a quantile is off by less than a fifth, whatever its size. Two
histograms are added by adding their counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_PER_DOUBLING = 4
_SHORTEST_S = 0.001
_LAST = 160
"""The bucket of everything longer than about 17 years."""


def bucket_of(seconds: float) -> int:
    """The bucket a duration falls into; 0 for everything up to a millisecond."""
    if not seconds > _SHORTEST_S:
        return 0
    return min(_LAST, math.floor(_PER_DOUBLING * math.log2(seconds / _SHORTEST_S)) + 1)


def bounds_of(bucket: int) -> tuple[float, float]:
    """The shortest and the longest duration of a bucket, in seconds."""
    if bucket <= 0:
        return 0.0, _SHORTEST_S
    return tuple(_SHORTEST_S * 2 ** ((bucket - step) / _PER_DOUBLING) for step in (1, 0))  # type: ignore[return-value]


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """The duration, in seconds, that ``share`` (0 to 1) of those counted do not exceed; ``None`` without any.

    Within the bucket it falls into, durations are taken to be spread evenly.
    """
    total = sum(counts.values())
    wanted, seen = share * total, 0
    for bucket in sorted(bucket for bucket, count in counts.items() if count > 0):
        if seen + counts[bucket] >= wanted:
            low, high = bounds_of(bucket)
            return low + (high - low) * max(0.0, wanted - seen) / counts[bucket]
        seen += counts[bucket]
    return None


@dataclass(slots=True)
class Histogram:
    """How many durations fell into each bucket, and the sum of all in seconds."""

    counts: Counter[int] = field(default_factory=Counter)
    total_s: float = 0.0

    def add(self, bucket: int, count: int, total_s: float) -> None:
        """Count so many durations of one bucket; ``total_s`` is their sum."""
        self.counts[bucket] += count
        self.total_s += total_s

    def merge(self, other: Histogram) -> None:
        """Count what another histogram counted."""
        self.counts.update(other.counts)
        self.total_s += other.total_s

    @property
    def count(self) -> int:
        """How many durations there are."""
        return self.counts.total()

    def quantile(self, share: float) -> float | None:
        """See ``quantile`` above."""
        return quantile(self.counts, share)
