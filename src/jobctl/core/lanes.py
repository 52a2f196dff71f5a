"""Counts of many owners side by side, so that whole rows of them are added at once. Pure.

Each owner has a number, and at this place of a row a lane of 64 bits: how many changes there were, and
below them a one. Rows are added as they are, lane by lane; the ones add up to how many rows an owner is
in, so that one without any change is told from one who was not there. There is room for 65,535 rows and
for 281 trillion changes.

A row in which many lanes are taken is one long number, and to add two is an addition. Any other lists the
numbers of those who are in it.
"""

from __future__ import annotations

import heapq
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

_NUMBER, _LANE = "I", "Q"
_WIDTH = 8
_ROWS = 16
"""So many bits of a lane count rows."""
_EMPTY = 4
"""One of so many lanes is taken at least where the empty ones are kept, too."""


class Row(NamedTuple):
    """Lanes of some owners; ``numbers``: whose they are, ``None``: of everybody, from number 0 on."""

    numbers: bytes | None
    lanes: bytes


def row_of(counts: Iterable[tuple[int, int]]) -> Row:
    """A row of owners' numbers, each with its changes."""
    numbers, lanes = array(_NUMBER), array(_LANE)
    for number, changes in counts:
        numbers.append(number)
        lanes.append(_lane(changes))
    width = max(numbers, default=-1) + 1
    if width > len(numbers) * _EMPTY:
        return Row(_stored(numbers), _stored(lanes))
    every = array(_LANE, bytes(width * _WIDTH))
    for number, lane in zip(numbers, lanes, strict=True):
        every[number] = lane
    return Row(None, _stored(every))


class Lanes:
    """The sum of rows."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._whole = 0
        # A list, which is quicker to add to than an array.
        self._single: list[int] = []
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Add a row. Raises ``ValueError`` where it is none."""
        lanes = _loaded(_LANE, row.lanes)
        if row.numbers is None:
            self._whole += int.from_bytes(row.lanes, "little")
            return
        numbers, mine = _loaded(_NUMBER, row.numbers), self._single
        if len(numbers) != len(lanes):
            raise ValueError(f"{len(numbers)} owners do not have {len(lanes)} lanes")
        mine.extend(repeat(0, max(numbers, default=-1) + 1 - len(mine)))
        for number, lane in zip(numbers, lanes, strict=True):
            mine[number] += lane

    def summed(self) -> Sums:
        """How many changes each owner has."""
        total = self._whole + int.from_bytes(_stored(array(_LANE, self._single)), "little")
        width = -(-total.bit_length() // (8 * _WIDTH))
        return Sums(_loaded(_LANE, total.to_bytes(width * _WIDTH, "little")))


@dataclass(frozen=True, slots=True)
class Sums:
    """How many changes each owner has in all rows together."""

    _lanes: array[int]

    def __len__(self) -> int:
        """How many owners there are."""
        return len(self._lanes) - self._lanes.count(0)

    def get(self, number: int) -> int | None:
        """How many changes an owner has; ``None`` where there is no such owner."""
        lane = self._lanes[number] if number < len(self._lanes) else 0
        return lane >> _ROWS if lane else None

    def least_of(self, most: int) -> int:
        """How many changes the last of the ``most`` owners with the most has; 0 where there are fewer."""
        first = heapq.nlargest(most, self._lanes)
        return first[-1] >> _ROWS if 0 < most == len(first) else 0

    def with_at_least(self, changes: int) -> list[int]:
        """The numbers of the owners with so many changes or more."""
        least = max(1, changes << _ROWS)
        return [number for number, lane in enumerate(self._lanes) if lane >= least]


def _lane(changes: int) -> int:
    return changes << _ROWS | 1


def _stored(lanes: array[int]) -> bytes:
    if sys.byteorder == "big":
        lanes = lanes[:]
        lanes.byteswap()
    return lanes.tobytes()


def _loaded(form: str, stored: bytes) -> array[int]:
    lanes = array(form, stored)
    if sys.byteorder == "big":
        lanes.byteswap()
    return lanes
