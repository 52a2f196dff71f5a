"""Boxes of ISO base media files, what stands in them, and the byte ranges they speak of."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container.reader import Fault, Reader

_MOST_CHILDREN = 4_096

Extent = tuple[int, int]
"""Where some bytes begin and end."""

Children = dict[bytes, list[Extent]]
"""The boxes inside another: where the content of each stands, by type."""


class Box(NamedTuple):
    """A box: where it stands, where its content begins, where it ends."""

    type: bytes
    offset: int
    content: int
    end: int


def top_level_boxes(reader: Reader) -> Iterator[Box]:
    """The boxes of a file one after the other, until the end or until something that is none."""
    position = 0
    while position + 8 <= reader.size:
        box = box_at(reader.at(position, 16), position, reader.size)
        if box is None:
            return
        yield box
        position = box.end


def box_at(head: bytes, position: int, limit: int) -> Box | None:
    """The box whose header is ``head``; ``None`` where it cannot be one. It may end behind ``limit``."""
    length, kind = int.from_bytes(head[:4]), head[4:8]
    content = position + 8
    if length == 1:
        if len(head) < 16:
            return None
        length, content = int.from_bytes(head[8:16]), position + 16
    elif length == 0:
        length = limit - position
    if length < content - position or kind == b"\0\0\0\0":
        return None
    return Box(kind, position, content, position + length)


def children_of(content: bytes, start: int, end: int, parent: str) -> Children:
    """The boxes directly inside a range: type to content ranges."""
    found: Children = {}
    position, count = start, 0
    while position + 8 <= end:
        box = box_at(content[position : position + 16], position, end)
        count += 1
        if box is None or box.end > end or count > _MOST_CHILDREN:
            # QuickTime ends user data with four zero bytes; only a real overrun is a fault.
            raise Fault(Verdict.CORRUPT, Tier.TABLES, f"inside {parent} a box does not fit")
        found.setdefault(box.type, []).append((box.content, box.end))
        position = box.end
    return found


def only_child(children: Children, kind: bytes, parent: str) -> Extent:
    """The first box of a kind that its parent must have."""
    places = children.get(kind)
    if not places:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, f"{parent} has no {kind.decode()}")
    return places[0]


def entries_of(content: bytes, place: Extent, name: str, *, head: int, width: int) -> tuple[int, bytes]:
    """The entry count of a full-box table, and its entries. ``head`` bytes stand before the count."""
    start, end = place
    count = int.from_bytes(content[start + head : start + head + 4])
    first = start + head + 4
    if first + count * width > end:
        fits = max(0, end - first) // width
        raise Fault(
            Verdict.CORRUPT, Tier.TABLES, f"{name} claims {count:,} entries and has room for {fits:,}"
        )
    return count, content[first : first + count * width]


def numbers_in(raw: bytes, code: str) -> array[int]:
    """Big-endian numbers, as wide as the array's ``code`` says."""
    numbers = array(code, raw)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def expect_apart(extents: Iterable[Extent]) -> None:
    """No two chunks may share bytes: then at least one of them is not what was written there.

    ``extents`` come in the order of the file.
    """
    for (_, end), (start, _) in pairwise(extents):
        if start < end:
            raise Fault(Verdict.CORRUPT, Tier.TABLES, f"two chunks share the bytes at {start:,}")


def expect_inside(data: list[Extent], start: int, end: int) -> None:
    """Samples must lie in the media data, whose boxes ``data`` names in the order of the file."""
    index = bisect_right(data, (start, sys.maxsize)) - 1
    if index < 0 or end > data[index][1]:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, f"samples at byte {start:,} lie outside the media data")
