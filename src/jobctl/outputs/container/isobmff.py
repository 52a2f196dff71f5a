"""ISO base media files (mp4, mov; fragmented too), after ISO/IEC 14496-12.

1a reads the headers of the top-level boxes, 1b the sample tables, 1c the samples; ``fragments``
does the same for those of which the index knows only the beginning.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from heapq import merge
from operator import mul
from typing import NamedTuple

from jobctl.model.amounts import counted
from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container import fragments
from jobctl.outputs.container.boxes import (
    Box,
    Children,
    Extent,
    box_at,
    children_of,
    entries_of,
    expect_apart,
    numbers_in,
    only_child,
    top_level_boxes,
)
from jobctl.outputs.container.edits import check_edits
from jobctl.outputs.container.payload import Codec
from jobctl.outputs.container.reader import Fault, Reader, Sound
from jobctl.outputs.container.tracks import Track, check_samples, extents_of

FIRST_BOXES = frozenset(
    {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"sidx", b"uuid"}
)
_KNOWN = FIRST_BOXES | {b"mfra", b"emsg", b"prft", b"meta", b"udta", b"ssix", b"meco", b"pdin", b"imda"}
_PADDING = frozenset({b"free", b"skip", b"wide"})
_MOST_BOXES = 400_000
_LARGEST_INDEX = 64 << 20
_OPAQUE = frozenset(
    # PCM and pictures that are not coded; what is encrypted.
    {b"sowt", b"twos", b"lpcm", b"raw ", b"in24", b"in32", b"fl32", b"fl64", b"NONE", b"ipcm", b"fpcm"}
    | {b"encv", b"enca", b"drmi", b"drms"}
)
_NAL_CONFIGURATION = {b"avcC": (4, 0x03), b"hvcC": (21, 0x03)}  # where lengthSizeMinusOne stands
_VISUAL_ENTRY = 86  # bytes of a VisualSampleEntry before its boxes


def judge(reader: Reader, depth: Tier) -> Sound:
    """Check a file down to ``depth``; a fault is raised."""
    boxes, warnings = _top_level(reader)
    if depth < Tier.TABLES:
        return Sound(warnings)
    data = [(box.content, box.end) for box in boxes if box.type == b"mdat"]
    index = _read_index(reader, next(box for box in boxes if box.type == b"moov"))
    tracks = [*index.tracks]
    if not any(track.is_video for track in tracks):
        raise Fault(Verdict.NOT_MEDIA, Tier.TABLES, "it holds no video track")
    if index.is_fragmented:
        tracks += fragments.tracks_of(reader, boxes, tracks, index.default_sizes)
    expect_apart(merge(*(extents_of(track, data) for track in tracks)))
    if not any(track.is_video and track.has_bytes for track in tracks):
        raise Fault(Verdict.PARTIAL, Tier.TABLES, "its video track holds no samples")
    if index.is_fragmented:
        fragments.check_sequence(reader, boxes)
    if not any(track.codec.is_opaque for track in tracks):
        _check_holes(reader, data)
    if depth >= Tier.PAYLOAD:
        for track in tracks:
            check_samples(reader, track)
    return Sound(warnings, index.duration_s)


class Index(NamedTuple):
    """What moov says: its tracks, whether fragments follow, and how long all of it is.

    ``default_sizes``: how large the samples of a track are in fragments that do not say it.
    """

    tracks: list[Track]
    is_fragmented: bool
    duration_s: float | None
    default_sizes: Mapping[int, int]


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
        warnings.append(f"{counted(reader.size - end, 'byte')} behind its last box")
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
    children = children_of(content, 0, len(content), "moov")
    if b"cmov" in children:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "its index is compressed; it was not unpacked")
    is_fragmented = b"mvex" in children
    tracks = [_track(content, *place, is_fragmented=is_fragmented) for place in children.get(b"trak", ())]
    # Of a fragmented file the header knows at most the beginning.
    header = () if is_fragmented else children.get(b"mvhd", ())[:1]
    duration_s = next((_duration(content, *place) for place in header), None)
    return Index(tracks, is_fragmented, duration_s, _default_sizes(content, children))


def _default_sizes(content: bytes, moov: Children) -> dict[int, int]:
    """What moov says that samples in fragments are like (14496-12, 8.8.3)."""
    found = {}
    for mvex in moov.get(b"mvex", ()):
        for start, _ in children_of(content, *mvex, "mvex").get(b"trex", ()):
            number, size = (int.from_bytes(content[at : at + 4]) for at in (start + 4, start + 16))
            found[number] = size
    return found


def _duration(content: bytes, start: int, end: int) -> float | None:
    """How long a movie header says that all of it is (14496-12, 8.2.2); ``None`` where it says nothing."""
    width = 8 if content[start : start + 1] == b"\1" else 4
    scale_at = start + 4 + 2 * width
    scale = int.from_bytes(content[scale_at : scale_at + 4])
    units = int.from_bytes(content[scale_at + 4 : scale_at + 4 + width])
    is_told = scale_at + 4 + width <= end and scale and 0 < units < (1 << 8 * width) - 1
    return units / scale if is_told else None


def _track(content: bytes, start: int, end: int, *, is_fragmented: bool) -> Track:
    trak = children_of(content, start, end, "trak")
    mdia = children_of(content, *only_child(trak, b"mdia", "trak"), "mdia")
    handler = only_child(mdia, b"hdlr", "mdia")
    track = Track(_track_number(content, trak), content[handler[0] + 8 : handler[0] + 12])
    minf = children_of(content, *only_child(mdia, b"minf", "mdia"), "minf")
    table = children_of(content, *only_child(minf, b"stbl", "minf"), "stbl")
    track.codec = _codec(content, *only_child(table, b"stsd", "stbl"), track.handler)
    _read_sizes(content, table, track)
    _read_chunks(content, table, track)
    media_end = _check_times(content, only_child(mdia, b"mdhd", "mdia"), table, track)
    if track.is_video and not is_fragmented:
        check_edits(content, trak, media_end)
    return track


def _track_number(content: bytes, trak: Children) -> int:
    """What fragments call a track (14496-12, 8.3.2); 0 is none."""
    for start, _ in trak.get(b"tkhd", ()):
        at = start + (20 if content[start : start + 1] == b"\1" else 12)
        return int.from_bytes(content[at : at + 4])
    return 0


def _codec(content: bytes, start: int, end: int, handler: bytes) -> Codec:
    entry = box_at(content[start + 8 : start + 24], start + 8, end)
    if entry is None or entry.end > end:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "a sample description does not fit")
    name = entry.type.decode("latin-1")
    if handler != b"vide" or entry.type in _OPAQUE:
        return Codec(name, is_opaque=entry.type in _OPAQUE, is_video=handler == b"vide")
    first = entry.offset + _VISUAL_ENTRY
    for kind, (byte, mask) in _NAL_CONFIGURATION.items():
        at = content.find(kind, first, entry.end)
        if at >= 0 and at + 4 + byte < entry.end:
            return Codec(name, nal_length=(content[at + 4 + byte] & mask) + 1, is_video=True)
    return Codec(name, is_video=True)


def _read_sizes(content: bytes, table: Children, track: Track) -> None:
    if b"stsz" in table:
        start, end = table[b"stsz"][0]
        track.uniform_size = int.from_bytes(content[start + 4 : start + 8])
        if track.uniform_size:
            track.count = int.from_bytes(content[start + 8 : start + 12])
            return
        track.count, raw = entries_of(content, (start, end), "stsz", head=8, width=4)
        track.sizes = numbers_in(raw, "I")
    elif b"stz2" in table:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "its sample sizes are packed (stz2)")
    else:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "stbl has no stsz")


def _read_chunks(content: bytes, table: Children, track: Track) -> None:
    if b"co64" in table:
        _, raw = entries_of(content, table[b"co64"][0], "co64", head=4, width=8)
        track.offsets = numbers_in(raw, "Q")
    else:
        _, raw = entries_of(content, only_child(table, b"stco", "stbl"), "stco", head=4, width=4)
        track.offsets = numbers_in(raw, "I")
    _, raw = entries_of(content, only_child(table, b"stsc", "stbl"), "stsc", head=4, width=12)
    entries = numbers_in(raw, "I")
    track.runs = list(zip(entries[0::3], entries[1::3], strict=True))


def _check_times(content: bytes, mdhd: Extent, table: Children, track: Track) -> int:
    """The time tables must speak of just the samples there are (14496-12, 8.4.2, 8.6.1 and 8.6.2).

    Returns by when all of them have begun, in units of the media.
    """
    start = mdhd[0]
    scale_at = start + (20 if content[start : start + 1] == b"\1" else 12)
    if not int.from_bytes(content[scale_at : scale_at + 4]):
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "a track has no time scale")
    if track.count:
        only_child(table, b"stts", "stbl")
    counts, durations = _timed(content, table, "stts", track)
    _, delays = _timed(content, table, "ctts", track)
    if track.is_video and track.count > 1 and not any(durations):
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "all of its frames are shown for no time")
    for place in table.get(b"stss", ()):
        _, raw = entries_of(content, place, "stss", head=4, width=4)
        if max(numbers_in(raw, "I"), default=0) > track.count:
            raise Fault(Verdict.CORRUPT, Tier.TABLES, "stss names samples that do not exist")
    units: int = sum(map(mul, counts, durations))
    return units + max(delays, default=0)


def _timed(content: bytes, table: Children, name: str, track: Track) -> tuple[array[int], array[int]]:
    """A table of times: how many samples each entry is of, and what it says of them."""
    entries = array("I")
    for place in table.get(name.encode(), ()):
        _, raw = entries_of(content, place, name, head=4, width=8)
        entries = numbers_in(raw, "I")
        timed = sum(entries[0::2])
        if timed != track.count:
            reason = f"{name} times {timed:,} samples, there are {track.count:,}"
            raise Fault(Verdict.CORRUPT, Tier.TABLES, reason)
    return entries[0::2], entries[1::2]


def _check_holes(reader: Reader, data: list[Extent]) -> None:
    for start, end in data:
        hole = reader.hole_between(start, min(end, reader.size))
        if hole is not None:
            raise Fault(
                Verdict.CORRUPT, Tier.TABLES, f"from byte {hole:,} its data was never written (a hole)"
            )
