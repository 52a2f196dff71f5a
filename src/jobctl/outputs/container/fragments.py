"""The fragments of an ISO base media file, and what its closing indexes say of them (14496-12, 8.8)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container.boxes import Box, Extent, children_of, entries_of, numbers_in, only_child
from jobctl.outputs.container.reader import Fault, Reader
from jobctl.outputs.container.tracks import Track

_LARGEST_FRAGMENT_INDEX = 8 << 20
_MOST_SAMPLES = 400_000
_MOST_SAMPLES_IN_ALL = 20_000_000
_MOST_RUNS = 1_000_000


class _Header(NamedTuple):
    """The header of a track fragment: whose samples, counted from where, how large where nothing says it."""

    track: int
    base: int
    default_size: int


class _Run(NamedTuple):
    """A run of samples: of which track, where it begins, and how large each of them is."""

    track: int
    start: int
    sizes: array[int]


def tracks_of(
    reader: Reader, boxes: Iterable[Box], tracks: Iterable[Track], default_sizes: Mapping[int, int]
) -> list[Track]:
    """What all fragments say of the samples of each track, every run of them as one chunk.

    ``tracks`` are those of the index, ``default_sizes`` what it says of their samples in fragments.
    """
    known = {track.number: track for track in tracks}
    found: dict[int, Track] = {}
    for box, following in pairwise([*boxes, None]):
        if box is None or box.type != b"moof":
            continue
        samples = 0
        for run in _runs_of(reader, box, default_sizes):
            if run.track not in found:
                origin = known.get(run.track, Track(run.track))
                found[run.track] = Track(origin.number, origin.handler, origin.codec)
            _append(found[run.track], run)
            samples += len(run.sizes)
        if not samples and following is not None and _has_media(following):
            reason = f"the fragment at byte {box.offset:,} names no sample of its data"
            raise Fault(Verdict.CORRUPT, Tier.TABLES, reason)
    return list(found.values())


def _has_media(box: Box) -> bool:
    return box.type == b"mdat" and box.end > box.content


def check_sequence(reader: Reader, boxes: Sequence[Box]) -> None:
    """No fragment is missing, and that none is missing at the end is told by an index."""
    moofs = [box for box in boxes if box.type == b"moof"]
    if not moofs:
        raise Fault(Verdict.PARTIAL, Tier.TABLES, "it is fragmented and holds no fragment")
    _expect_in_sequence([_number_of(reader, moof) for moof in moofs])
    is_closed = _is_closed(reader, boxes, moofs)
    if boxes[-1].type == b"moof":
        raise Fault(Verdict.PARTIAL, Tier.TABLES, "its last fragment has no data")
    if not is_closed:
        reason = "fragmented, without an index of all fragments (mfra, sidx): its end cannot be told"
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, reason)


def _append(track: Track, run: _Run) -> None:
    if not 0 <= run.start < 1 << 63:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "a fragment's samples lie outside the file")
    track.offsets.append(run.start)
    track.runs.append((len(track.offsets), len(run.sizes)))
    track.sizes.extend(run.sizes)
    track.count += len(run.sizes)
    if len(track.runs) > _MOST_RUNS or track.count > _MOST_SAMPLES_IN_ALL:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "its fragments hold more samples than are looked at")


def _expect_in_sequence(numbers: Sequence[int]) -> None:
    """Fragments count up (14496-12, 8.8.5): a jump is a fragment that is gone, a step back one too many."""
    for before, number in pairwise(numbers):
        if number != before + 1 and any(numbers):
            raise Fault(Verdict.CORRUPT, Tier.TABLES, f"fragment {number:,} follows fragment {before:,}")


def _is_closed(reader: Reader, boxes: Sequence[Box], moofs: Sequence[Box]) -> bool:
    """Whether an index tells that the last fragment is the last; what it says of them must be there.

    An mfra stands behind all of them (14496-12, 8.8.10). A sidx (8.16.3) before the first may
    speak of all; one before each speaks only of its own, and goes on wherever the file was cut.
    """
    ends = {box.end for box in boxes}
    starts = {moof.offset for moof in moofs}
    is_closed = False
    for box in boxes:
        if box.type == b"mfra":
            listed = set(_listed_moofs(reader, box))
            if listed - starts:
                reason = f"its index names a fragment at byte {min(listed - starts):,}, where none is"
                raise Fault(Verdict.CORRUPT, Tier.TABLES, reason)
            is_closed = is_closed or box.offset > moofs[-1].offset
        elif box.type == b"sidx":
            parts = list(_sidx_ends(reader, box))
            if not ends.issuperset(parts):
                raise Fault(Verdict.CORRUPT, Tier.TABLES, "its index (sidx) does not fit its fragments")
            is_of_all = box.offset < moofs[0].offset and len(parts) > 1 and parts[-1] > moofs[-1].offset
            is_closed = is_closed or is_of_all
    return is_closed


def _listed_moofs(reader: Reader, mfra: Box) -> Iterator[int]:
    content = _content(reader, mfra, "its closing index")
    for start, end in children_of(content, 0, len(content), "mfra").get(b"tfra", ()):
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


def _content(reader: Reader, box: Box, what: str) -> bytes:
    length = box.end - box.content
    if length > _LARGEST_FRAGMENT_INDEX:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, f"{what} is larger than 8 MiB")
    return reader.at(box.content, length)


def _number_of(reader: Reader, moof: Box) -> int:
    """A fragment's number (14496-12, 8.8.5)."""
    content = _content(reader, moof, "the index of a fragment")
    start, _ = only_child(children_of(content, 0, len(content), "moof"), b"mfhd", "moof")
    return int.from_bytes(content[start + 4 : start + 8])


def _runs_of(reader: Reader, moof: Box, default_sizes: Mapping[int, int]) -> Iterator[_Run]:
    """The runs of samples of one fragment (14496-12, 8.8.6 to 8.8.8)."""
    content = _content(reader, moof, "the index of a fragment")
    for place in children_of(content, 0, len(content), "moof").get(b"traf", ()):
        inner = children_of(content, *place, "traf")
        header = _header_of(content, only_child(inner, b"tfhd", "traf"), moof, default_sizes)
        position = header.base
        for each in inner.get(b"trun", ()):
            run = _run(content, each, header, position)
            yield run
            position = run.start + sum(run.sizes)


def _header_of(content: bytes, place: Extent, moof: Box, default_sizes: Mapping[int, int]) -> _Header:
    start, end = place
    flags, position = int.from_bytes(content[start + 1 : start + 4]), start + 8
    track, base = int.from_bytes(content[start + 4 : start + 8]), moof.offset
    if flags & 0x000001:
        base = int.from_bytes(content[position : position + 8])
        position += 8
    position += 4 * bool(flags & 0x000002) + 4 * bool(flags & 0x000008)
    default_size = default_sizes.get(track, 0)
    if flags & 0x000010:
        default_size = int.from_bytes(content[position : position + 4])
    if position > end:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "a fragment's header does not fit")
    return _Header(track, base, default_size)


def _run(content: bytes, place: Extent, header: _Header, position: int) -> _Run:
    start, end = place
    flags = int.from_bytes(content[start + 1 : start + 4])
    count, first = int.from_bytes(content[start + 4 : start + 8]), start + 8
    if flags & 0x000001:
        position = header.base + int.from_bytes(content[first : first + 4], signed=True)
        first += 4
    first += 4 * bool(flags & 0x000004)
    fields = [bool(flags & mask) for mask in (0x000100, 0x000200, 0x000400, 0x000800)]
    width = sum(fields)
    if first + 4 * width * count > end or count > _MOST_SAMPLES:
        raise Fault(
            Verdict.CORRUPT, Tier.TABLES, f"a fragment claims {count:,} samples and has no room for them"
        )
    if not fields[1]:
        return _Run(header.track, position, array("I", [header.default_size]) * count)
    entries = numbers_in(content[first : first + 4 * width * count], "I")
    return _Run(header.track, position, entries[int(fields[0]) :: width])
