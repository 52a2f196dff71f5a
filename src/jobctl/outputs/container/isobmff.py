"""ISO base media files (mp4, mov; fragmented too), after ISO/IEC 14496-12.

1a reads the headers of the top-level boxes, 1b the sample tables, 1c the samples.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple

from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container.payload import Codec, why_torn
from jobctl.outputs.container.reader import Fault, Reader, Sound

FIRST_BOXES = frozenset(
    {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"sidx", b"uuid"}
)
_KNOWN = FIRST_BOXES | {b"mfra", b"emsg", b"prft", b"meta", b"udta", b"ssix", b"meco", b"pdin", b"imda"}
_PADDING = frozenset({b"free", b"skip", b"wide"})
_MOST_BOXES = 400_000
_LARGEST_INDEX = 64 << 20
_LARGEST_FRAGMENT_INDEX = 8 << 20
_LARGEST_SAMPLE = 64 << 20
_MOST_CHILDREN = 4_096
_PCM = frozenset(
    {b"sowt", b"twos", b"lpcm", b"raw ", b"in24", b"in32", b"fl32", b"fl64", b"NONE", b"ipcm", b"fpcm"}
)
_NAL_CONFIGURATION = {b"avcC": (4, 0x03), b"hvcC": (21, 0x03)}  # where lengthSizeMinusOne stands
_VISUAL_ENTRY = 86  # bytes of a VisualSampleEntry before its boxes


class Box(NamedTuple):
    """A box: where it stands, where its content begins, where it ends."""

    type: bytes
    offset: int
    content: int
    end: int


@dataclass(slots=True)
class Track:
    """What the index says of one track."""

    handler: bytes = b""
    codec: Codec = field(default_factory=lambda: Codec("?"))
    sizes: Sequence[int] = ()
    uniform_size: int = 0
    count: int = 0
    offsets: Sequence[int] = ()
    runs: Sequence[tuple[int, int]] = ()
    """First chunk (from 1) and samples per chunk."""


def judge(reader: Reader, depth: Tier) -> Sound:
    """Check a file down to ``depth``; a fault is raised."""
    boxes, warnings = _top_level(reader)
    if depth < Tier.TABLES:
        return Sound(warnings)
    data = [(box.content, box.end) for box in boxes if box.type == b"mdat"]
    index = _read_index(reader, next(box for box in boxes if box.type == b"moov"))
    tracks, is_fragmented = index.tracks, index.is_fragmented
    if not any(track.handler == b"vide" for track in tracks):
        raise Fault(Verdict.NOT_MEDIA, Tier.TABLES, "it holds no video track")
    if is_fragmented:
        _check_fragments(reader, boxes, data)
    else:
        _check_tables(tracks, data)
    if not any(track.codec.is_pcm for track in tracks):
        _check_holes(reader, data)
    if depth >= Tier.PAYLOAD:
        if is_fragmented:
            _check_fragment_payload(reader, tracks, data)
        for track in tracks:
            _check_samples(reader, track)
    return Sound(warnings, index.duration_s)


class Index(NamedTuple):
    """What moov says: its tracks, whether fragments follow, and how long all of it is."""

    tracks: list[Track]
    is_fragmented: bool
    duration_s: float | None


def top_level_boxes(reader: Reader) -> Iterator[Box]:
    """The boxes of a file one after the other, until the end or until something that is none."""
    position = 0
    while position + 8 <= reader.size:
        box = _header(reader.at(position, 16), position, reader.size)
        if box is None:
            return
        yield box
        position = box.end


def _header(head: bytes, position: int, limit: int) -> Box | None:
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


def _top_level(reader: Reader) -> tuple[list[Box], list[str]]:
    boxes: list[Box] = []
    seen: set[bytes] = set()
    end, warnings = 0, []
    for box in top_level_boxes(reader):
        is_ours = box.type in _KNOWN
        if box.end > reader.size and is_ours and not (box.type in _PADDING and _is_complete(seen)):
            raise _cut(box, reader.size)
        if box.end > reader.size or (not is_ours and _is_complete(seen) and not box.type.isalnum()):
            break
        end = box.end
        seen.add(box.type)
        boxes.append(box)
        if len(boxes) > _MOST_BOXES:
            raise Fault(Verdict.UNSUPPORTED, Tier.BOXES, f"it has more than {_MOST_BOXES:,} boxes")
    if end < reader.size:
        if not _is_complete(seen):
            raise _incomplete(seen, end, reader.size)
        warnings.append(f"{reader.size - end:,} bytes behind its last box")
    if not _is_complete(seen):
        raise _incomplete(seen, end, reader.size)
    return boxes, warnings


def _is_complete(seen: set[bytes]) -> bool:
    return b"moov" in seen and (b"mdat" in seen or b"moof" in seen)


def _cut(box: Box, size: int) -> Fault:
    name = box.type.decode("ascii", "replace")
    reason = f"{name} claims {box.end - box.offset:,} bytes, the file ends {box.end - size:,} bytes earlier"
    return Fault(Verdict.PARTIAL, Tier.BOXES, reason)


def _incomplete(seen: set[bytes], end: int, size: int) -> Fault:
    if b"moov" not in seen:
        if end < size and size - end >= 8:
            return Fault(Verdict.CORRUPT, Tier.BOXES, f"moov is missing, and at byte {end:,} stands no box")
        reason = "moov is missing: its writer ended before the index was written"
        return Fault(Verdict.PARTIAL, Tier.BOXES, reason)
    return Fault(Verdict.PARTIAL, Tier.BOXES, "mdat is missing: it holds no media data")


# --- 1b: the index ---------------------------------------------------------------------------


def _read_index(reader: Reader, moov: Box) -> Index:
    if moov.end - moov.content > _LARGEST_INDEX:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "its index is larger than 64 MiB")
    content = reader.at(moov.content, moov.end - moov.content)
    children = _children(content, 0, len(content), "moov")
    if b"cmov" in children:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "its index is compressed; it was not unpacked")
    tracks = [_track(content, *place) for place in children.get(b"trak", ())]
    is_fragmented = b"mvex" in children
    # Of a fragmented file the header knows at most the beginning.
    header = () if is_fragmented else children.get(b"mvhd", ())[:1]
    return Index(tracks, is_fragmented, next((_duration(content, *place) for place in header), None))


def _duration(content: bytes, start: int, end: int) -> float | None:
    """How long a movie header says that all of it is (14496-12, 8.2.2); ``None`` where it says nothing."""
    width = 8 if content[start : start + 1] == b"\1" else 4
    scale_at = start + 4 + 2 * width
    scale = int.from_bytes(content[scale_at : scale_at + 4])
    units = int.from_bytes(content[scale_at + 4 : scale_at + 4 + width])
    is_told = scale_at + 4 + width <= end and scale and 0 < units < (1 << 8 * width) - 1
    return units / scale if is_told else None


def _children(content: bytes, start: int, end: int, parent: str) -> dict[bytes, list[tuple[int, int]]]:
    """The boxes directly inside a range: type to content ranges."""
    found: dict[bytes, list[tuple[int, int]]] = {}
    position, count = start, 0
    while position + 8 <= end:
        box = _header(content[position : position + 16], position, end)
        count += 1
        if box is None or box.end > end or count > _MOST_CHILDREN:
            # QuickTime ends user data with four zero bytes; only a real overrun is a fault.
            raise Fault(Verdict.CORRUPT, Tier.TABLES, f"inside {parent} a box does not fit")
        found.setdefault(box.type, []).append((box.content, box.end))
        position = box.end
    return found


def _track(content: bytes, start: int, end: int) -> Track:
    media = _only(_children(content, start, end, "trak"), b"mdia", "trak")
    mdia = _children(content, *media, "mdia")
    handler = _only(mdia, b"hdlr", "mdia")
    track = Track(handler=content[handler[0] + 8 : handler[0] + 12])
    minf = _children(content, *_only(mdia, b"minf", "mdia"), "minf")
    table = _children(content, *_only(minf, b"stbl", "minf"), "stbl")
    track.codec = _codec(content, *_only(table, b"stsd", "stbl"), track.handler)
    _read_sizes(content, table, track)
    _read_chunks(content, table, track)
    _check_times(content, _only(mdia, b"mdhd", "mdia"), table, track)
    return track


def _only(children: dict[bytes, list[tuple[int, int]]], kind: bytes, parent: str) -> tuple[int, int]:
    places = children.get(kind)
    if not places:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, f"{parent} has no {kind.decode()}")
    return places[0]


def _codec(content: bytes, start: int, end: int, handler: bytes) -> Codec:
    entry = _header(content[start + 8 : start + 24], start + 8, end)
    if entry is None or entry.end > end:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "a sample description does not fit")
    name = entry.type.decode("latin-1")
    if handler != b"vide":
        return Codec(name, is_pcm=entry.type in _PCM)
    first = entry.offset + _VISUAL_ENTRY
    for kind, (byte, mask) in _NAL_CONFIGURATION.items():
        at = content.find(kind, first, entry.end)
        if at >= 0 and at + 4 + byte < entry.end:
            return Codec(name, nal_length=(content[at + 4 + byte] & mask) + 1, is_video=True)
    return Codec(name, is_video=True)


def _table(content: bytes, place: tuple[int, int], name: str, *, head: int, width: int) -> tuple[int, bytes]:
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


def _numbers(raw: bytes, code: str) -> array[int]:
    numbers = array(code, raw)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _read_sizes(content: bytes, table: dict[bytes, list[tuple[int, int]]], track: Track) -> None:
    if b"stsz" in table:
        start, end = table[b"stsz"][0]
        track.uniform_size = int.from_bytes(content[start + 4 : start + 8])
        if track.uniform_size:
            track.count = int.from_bytes(content[start + 8 : start + 12])
            return
        track.count, raw = _table(content, (start, end), "stsz", head=8, width=4)
        track.sizes = _numbers(raw, "I")
    elif b"stz2" in table:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "its sample sizes are packed (stz2)")
    else:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "stbl has no stsz")


def _read_chunks(content: bytes, table: dict[bytes, list[tuple[int, int]]], track: Track) -> None:
    if b"co64" in table:
        _, raw = _table(content, table[b"co64"][0], "co64", head=4, width=8)
        track.offsets = _numbers(raw, "Q")
    else:
        _, raw = _table(content, _only(table, b"stco", "stbl"), "stco", head=4, width=4)
        track.offsets = _numbers(raw, "I")
    _, raw = _table(content, _only(table, b"stsc", "stbl"), "stsc", head=4, width=12)
    entries = _numbers(raw, "I")
    track.runs = list(zip(entries[0::3], entries[1::3], strict=True))


def _check_times(
    content: bytes, mdhd: tuple[int, int], table: dict[bytes, list[tuple[int, int]]], track: Track
) -> None:
    """The time tables must speak of just the samples there are (14496-12, 8.4.2, 8.6.1 and 8.6.2)."""
    start = mdhd[0]
    scale_at = start + (20 if content[start : start + 1] == b"\1" else 12)
    if not int.from_bytes(content[scale_at : scale_at + 4]):
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "a track has no time scale")
    for name in ("stts", "ctts"):
        for place in table.get(name.encode(), ()):
            _, raw = _table(content, place, name, head=4, width=8)
            timed = sum(_numbers(raw, "I")[0::2])
            if timed != track.count:
                reason = f"{name} times {timed:,} samples, there are {track.count:,}"
                raise Fault(Verdict.CORRUPT, Tier.TABLES, reason)
    for place in table.get(b"stss", ()):
        _, raw = _table(content, place, "stss", head=4, width=4)
        if max(_numbers(raw, "I"), default=0) > track.count:
            raise Fault(Verdict.CORRUPT, Tier.TABLES, "stss names samples that do not exist")


def _chunks(track: Track) -> Iterator[tuple[int, int, int]]:
    """Each chunk's offset, its first sample and how many it holds."""
    sample, total = 0, len(track.offsets)
    for number, (first, per_chunk) in enumerate(track.runs):
        last = track.runs[number + 1][0] if number + 1 < len(track.runs) else total + 1
        if not 0 < first < last <= total + 1 or (number == 0 and first != 1):
            raise Fault(Verdict.CORRUPT, Tier.TABLES, "stsc names chunks that do not exist")
        for chunk in range(first - 1, last - 1):
            yield track.offsets[chunk], sample, per_chunk
            sample += per_chunk
    if sample != track.count:
        raise Fault(
            Verdict.CORRUPT, Tier.TABLES, f"its chunks hold {sample:,} samples, its sizes {track.count:,}"
        )


def _check_tables(tracks: list[Track], data: list[tuple[int, int]]) -> None:
    extents: list[tuple[int, int]] = []
    for track in tracks:
        if track.handler == b"vide" and not track.count:
            raise Fault(Verdict.PARTIAL, Tier.TABLES, "its video track holds no samples")
        before = list(accumulate(track.sizes, initial=0)) if track.sizes else []
        for offset, sample, count in _chunks(track):
            length = (
                before[sample + count] - before[sample] if before and sample + count < len(before) else None
            )
            if length is None:
                if not track.uniform_size:
                    raise Fault(Verdict.CORRUPT, Tier.TABLES, "its chunks hold more samples than have a size")
                length = count * track.uniform_size if track.uniform_size > 1 or not track.codec.is_pcm else 0
            _expect_inside(data, offset, offset + length)
            extents.append((offset, offset + length))
    _expect_apart(extents)


def _expect_apart(extents: list[tuple[int, int]]) -> None:
    """No two chunks may share bytes: then at least one of them is not what was written there."""
    extents.sort()
    for (_, end), (start, _) in pairwise(extents):
        if start < end:
            raise Fault(Verdict.CORRUPT, Tier.TABLES, f"two chunks share the bytes at {start:,}")


def _expect_inside(data: list[tuple[int, int]], start: int, end: int) -> None:
    index = bisect_right(data, (start, sys.maxsize)) - 1
    if index < 0 or end > data[index][1]:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, f"samples at byte {start:,} lie outside the media data")


def _check_holes(reader: Reader, data: list[tuple[int, int]]) -> None:
    for start, end in data:
        hole = reader.hole_between(start, min(end, reader.size))
        if hole is not None:
            raise Fault(
                Verdict.CORRUPT, Tier.TABLES, f"from byte {hole:,} its data was never written (a hole)"
            )


# --- fragments -------------------------------------------------------------------------------


def _check_fragments(reader: Reader, boxes: list[Box], data: list[tuple[int, int]]) -> None:
    moofs = [box for box in boxes if box.type == b"moof"]
    if not moofs:
        raise Fault(Verdict.PARTIAL, Tier.TABLES, "it is fragmented and holds no fragment")
    extents: list[tuple[int, int]] = []
    sequence: list[int] = []
    for moof in moofs:
        number, runs = _fragment(reader, moof)
        sequence.append(number)
        extents.extend(runs)
    for start, end in extents:
        _expect_inside(data, start, end)
    _expect_apart(extents)
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
    for start, end in _children(content, 0, length, "mfra").get(b"tfra", ()):
        wide = content[start : start + 1] == b"\1"
        sizes = int.from_bytes(content[start + 8 : start + 12])
        numbers = sum((sizes >> shift & 3) + 1 for shift in (0, 2, 4))
        width = (16 if wide else 8) + numbers
        _, raw = _table(content, (start, end), "tfra", head=12, width=width)
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


def _fragment(reader: Reader, moof: Box) -> tuple[int, list[tuple[int, int]]]:
    """One fragment's number, and the byte ranges its track runs claim (14496-12, 8.8.5 to 8.8.8)."""
    length = moof.end - moof.content
    if length > _LARGEST_FRAGMENT_INDEX:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "the index of a fragment is larger than 8 MiB")
    content = reader.at(moof.content, length)
    runs: list[tuple[int, int]] = []
    children = _children(content, 0, length, "moof")
    header = _only(children, b"mfhd", "moof")[0]
    for place in children.get(b"traf", ()):
        inner = _children(content, *place, "traf")
        base, default_size = _fragment_header(content, _only(inner, b"tfhd", "traf"), moof)
        position = base
        for run in inner.get(b"trun", ()):
            start, size = _run_extent(content, run, base, position, default_size)
            runs.append((start, start + size))
            position = start + size
    return int.from_bytes(content[header + 4 : header + 8]), runs


def _fragment_header(content: bytes, place: tuple[int, int], moof: Box) -> tuple[int, int]:
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
    content: bytes, place: tuple[int, int], base: int, position: int, default_size: int
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
    if first + 4 * width * count > end or count > _MOST_BOXES:
        raise Fault(
            Verdict.CORRUPT, Tier.TABLES, f"a fragment claims {count:,} samples and has no room for them"
        )
    if not fields[1]:
        return position, count * default_size
    entries = _numbers(content[first : first + 4 * width * count], "I")
    return position, sum(entries[int(fields[0]) :: width])


# --- 1c: the samples -------------------------------------------------------------------------


def _check_samples(reader: Reader, track: Track) -> None:
    if track.codec.is_pcm or not track.sizes:
        return
    for offset, first, count in _chunks(track):
        position = offset
        for number in range(first, first + count):
            size = track.sizes[number]
            if size > _LARGEST_SAMPLE:
                raise Fault(Verdict.UNSUPPORTED, Tier.PAYLOAD, "a sample is larger than 64 MiB")
            _expect_sound(reader.at(position, size), track.codec, number, position)
            position += size


def _expect_sound(sample: bytes, codec: Codec, number: int, position: int) -> None:
    torn = why_torn(sample, codec)
    if torn:
        reason = f"sample {number:,} ({codec.name}) at byte {position:,} is damaged: {torn}"
        raise Fault(Verdict.CORRUPT, Tier.PAYLOAD, reason)


def _check_fragment_payload(reader: Reader, tracks: list[Track], data: list[tuple[int, int]]) -> None:
    """Fragments are told apart by tier 2; here only data that was never written is found."""
    if any(track.codec.is_pcm for track in tracks):
        return
    codec = Codec("fragment")
    for start, end in data:
        for position in range(start, end, _LARGEST_FRAGMENT_INDEX):
            part = reader.at(position, min(_LARGEST_FRAGMENT_INDEX, end - position))
            _expect_sound(part, codec, 0, position)
