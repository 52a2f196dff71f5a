"""The fragments of an ISO base media file, and what its closing indexes say of them (14496-12, 8.8)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container.boxes import (
    Box,
    Extent,
    children_of,
    entries_of,
    expect_apart,
    expect_inside,
    numbers_in,
    only_child,
)
from jobctl.outputs.container.payload import Codec, expect_sound
from jobctl.outputs.container.reader import Fault, Reader

_LARGEST_FRAGMENT_INDEX = 8 << 20
_MOST_SAMPLES = 400_000


def check_fragments(reader: Reader, boxes: list[Box], data: list[Extent]) -> None:
    """The fragments follow on each other, and their samples lie in the media data."""
    moofs = [box for box in boxes if box.type == b"moof"]
    if not moofs:
        raise Fault(Verdict.PARTIAL, Tier.TABLES, "it is fragmented and holds no fragment")
    extents: list[Extent] = []
    sequence: list[int] = []
    for moof in moofs:
        number, runs = _fragment(reader, moof)
        sequence.append(number)
        extents.extend(runs)
    for start, end in extents:
        expect_inside(data, start, end)
    expect_apart(extents)
    _expect_in_sequence(sequence)
    _check_closing_indexes(reader, boxes, {moof.offset for moof in moofs})
    if boxes[-1].type == b"moof":
        raise Fault(Verdict.PARTIAL, Tier.TABLES, "its last fragment has no data")
    if not any(box.type in {b"mfra", b"sidx"} for box in boxes):
        reason = "fragmented, without a closing index (mfra) or sidx: whether it was finished cannot be told"
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, reason)


def _expect_in_sequence(numbers: list[int]) -> None:
    """Fragments count up (14496-12, 8.8.5): a jump is a fragment that is gone, a step back one too many."""
    for before, number in pairwise(numbers):
        if number != before + 1 and any(numbers):
            raise Fault(Verdict.CORRUPT, Tier.TABLES, f"fragment {number:,} follows fragment {before:,}")


def _check_closing_indexes(reader: Reader, boxes: list[Box], moofs: set[int]) -> None:
    """What mfra and sidx say of the fragments must be there (14496-12, 8.8.10 and 8.16.3)."""
    ends = {box.end for box in boxes}
    for box in boxes:
        if box.type == b"mfra":
            listed = set(_listed_moofs(reader, box))
            if listed - moofs:
                reason = f"its index names a fragment at byte {min(listed - moofs):,}, where none is"
                raise Fault(Verdict.CORRUPT, Tier.TABLES, reason)
        elif box.type == b"sidx" and not ends.issuperset(_sidx_ends(reader, box)):
            raise Fault(Verdict.CORRUPT, Tier.TABLES, "its index (sidx) does not fit its fragments")


def _listed_moofs(reader: Reader, mfra: Box) -> Iterator[int]:
    length = mfra.end - mfra.content
    if length > _LARGEST_FRAGMENT_INDEX:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "its closing index is larger than 8 MiB")
    content = reader.at(mfra.content, length)
    for start, end in children_of(content, 0, length, "mfra").get(b"tfra", ()):
        wide = content[start : start + 1] == b"\1"
        sizes = int.from_bytes(content[start + 8 : start + 12])
        numbers = sum((sizes >> shift & 3) + 1 for shift in (0, 2, 4))
        width = (16 if wide else 8) + numbers
        _, raw = entries_of(content, (start, end), "tfra", head=12, width=width)
        field = slice(8, 16) if wide else slice(4, 8)
        for position in range(0, len(raw), width):
            yield int.from_bytes(raw[position : position + width][field])


def _sidx_ends(reader: Reader, sidx: Box) -> Iterator[int]:
    """Where each part that an index refers to ends."""
    content = reader.at(sidx.content, min(sidx.end - sidx.content, _LARGEST_FRAGMENT_INDEX))
    wide = content[:1] == b"\1"
    offset_at = 20 if wide else 16
    first = int.from_bytes(content[offset_at : offset_at + (8 if wide else 4)])
    table = offset_at + (8 if wide else 4)
    count = int.from_bytes(content[table + 2 : table + 4])
    position = sidx.end + first
    if table + 4 + 12 * count > len(content):
        raise Fault(Verdict.CORRUPT, Tier.TABLES, f"sidx claims {count:,} entries and has no room for them")
    for entry in range(table + 4, table + 4 + 12 * count, 12):
        position += int.from_bytes(content[entry : entry + 4]) & 0x7FFFFFFF
        yield position


def _fragment(reader: Reader, moof: Box) -> tuple[int, list[Extent]]:
    """One fragment's number, and the byte ranges its track runs claim (14496-12, 8.8.5 to 8.8.8)."""
    length = moof.end - moof.content
    if length > _LARGEST_FRAGMENT_INDEX:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "the index of a fragment is larger than 8 MiB")
    content = reader.at(moof.content, length)
    runs: list[Extent] = []
    children = children_of(content, 0, length, "moof")
    header = only_child(children, b"mfhd", "moof")[0]
    for place in children.get(b"traf", ()):
        inner = children_of(content, *place, "traf")
        base, default_size = _fragment_header(content, only_child(inner, b"tfhd", "traf"), moof)
        position = base
        for run in inner.get(b"trun", ()):
            start, size = _run_extent(content, run, base, position, default_size)
            runs.append((start, start + size))
            position = start + size
    return int.from_bytes(content[header + 4 : header + 8]), runs


def _fragment_header(content: bytes, place: Extent, moof: Box) -> tuple[int, int]:
    start, end = place
    flags, position = int.from_bytes(content[start + 1 : start + 4]), start + 8
    base = moof.offset
    if flags & 0x000001:
        base = int.from_bytes(content[position : position + 8])
        position += 8
    position += 4 * bool(flags & 0x000002) + 4 * bool(flags & 0x000008)
    default_size = int.from_bytes(content[position : position + 4]) if flags & 0x000010 else 0
    if position > end:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "a fragment's header does not fit")
    return base, default_size


def _run_extent(
    content: bytes, place: Extent, base: int, position: int, default_size: int
) -> tuple[int, int]:
    start, end = place
    flags = int.from_bytes(content[start + 1 : start + 4])
    count, first = int.from_bytes(content[start + 4 : start + 8]), start + 8
    if flags & 0x000001:
        position = base + int.from_bytes(content[first : first + 4], signed=True)
        first += 4
    first += 4 * bool(flags & 0x000004)
    fields = [bool(flags & mask) for mask in (0x000100, 0x000200, 0x000400, 0x000800)]
    width = sum(fields)
    if first + 4 * width * count > end or count > _MOST_SAMPLES:
        raise Fault(
            Verdict.CORRUPT, Tier.TABLES, f"a fragment claims {count:,} samples and has no room for them"
        )
    if not fields[1]:
        return position, count * default_size
    entries = numbers_in(content[first : first + 4 * width * count], "I")
    return position, sum(entries[int(fields[0]) :: width])


def check_payload(reader: Reader, data: list[Extent]) -> None:
    """Samples are told apart by tier 2; here only data that was never written is found."""
    codec = Codec("fragment")
    for start, end in data:
        for position in range(start, end, _LARGEST_FRAGMENT_INDEX):
            part = reader.at(position, min(_LARGEST_FRAGMENT_INDEX, end - position))
            expect_sound(part, codec, 0, position)
