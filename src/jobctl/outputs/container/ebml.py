"""Matroska and WebM, after RFC 8794 (EBML) and RFC 9559 (Matroska).

1a compares the segment with the file's size, 1b walks every element down to the blocks,
1c looks into the blocks.
"""

from __future__ import annotations

import math
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from jobctl.model.amounts import counted
from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container.payload import Codec, why_torn
from jobctl.outputs.container.reader import Fault, Reader, Sound

MAGIC = b"\x1a\x45\xdf\xa3"

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_TRACKS, _CUES, _SEEK_HEAD, _INFO = 0x1654AE6B, 0x1C53BB6B, 0x114D9B74, 0x1549A966
_TAGS, _CHAPTERS, _ATTACHMENTS, _VOID, _CRC = 0x1254C367, 0x1043A770, 0x1941A469, 0xEC, 0xBF
_LEVEL_1 = frozenset(
    {_CLUSTER, _TRACKS, _CUES, _SEEK_HEAD, _INFO, _TAGS, _CHAPTERS, _ATTACHMENTS, _VOID, _CRC}
)
_TRACK_ENTRY, _TRACK_NUMBER, _TRACK_TYPE, _CODEC_ID, _CODEC_PRIVATE = 0xAE, 0xD7, 0x83, 0x86, 0x63A2
_CONTENT_ENCODINGS = 0x6D80
_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0xE7, 0xA3, 0xA0, 0xA1
_IN_CLUSTER = frozenset(
    {
        _TIMESTAMP,
        _SIMPLE_BLOCK,
        _BLOCK_GROUP,
        0xA7,
        0xAB,
        0x5854,
        0xAF,
        _VOID,
        _CRC,
    }  # position, sizes, silence
)
_TIMESTAMP_SCALE, _DURATION, _USUAL_SCALE = 0x2AD7B1, 0x4489, 1_000_000
_CUE_POINT, _CUE_TRACK_POSITIONS, _CUE_CLUSTER_POSITION = 0xBB, 0xB7, 0xF1
_VIDEO_TRACK = 1
_LARGEST_TRACKS = 4 << 20
_LARGEST_BLOCK = 64 << 20
_MOST_ELEMENTS = 10_000_000
_LACING = 0x06


class Element(NamedTuple):
    """An element: its id, where its content begins and ends; ``end`` is ``None`` for unknown size."""

    id: int
    start: int
    content: int
    end: int | None


def judge(reader: Reader, depth: Tier) -> Sound:
    """Check a file down to ``depth``; a fault is raised."""
    header = _element(reader, 0)
    if header is None or header.end is None:
        raise Fault(Verdict.CORRUPT, Tier.BOXES, "its EBML header does not fit")
    segment = _element(reader, header.end)
    if segment is None:
        raise Fault(Verdict.PARTIAL, Tier.BOXES, "it ends behind its EBML header")
    if segment.id != _SEGMENT:
        raise Fault(Verdict.CORRUPT, Tier.BOXES, "no segment follows its EBML header")
    if segment.end is not None and segment.end > reader.size:
        missing = segment.end - reader.size
        claimed = segment.end - segment.content
        reason = f"its segment claims {claimed:,} bytes, the file ends {missing:,} bytes earlier"
        raise Fault(Verdict.PARTIAL, Tier.BOXES, reason)
    if depth < Tier.TABLES and segment.end is not None:
        return Sound(_trailing(reader, segment))
    walk = _Walk(reader, segment, depth)
    blocks = walk.blocks()
    if segment.end is None:
        reason = "its segment has no size: written live, or never finished; that cannot be told"
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, reason)
    if not blocks:
        raise Fault(Verdict.PARTIAL, Tier.TABLES, "it holds no video block")
    return Sound(_trailing(reader, segment), walk.duration_s)


def _trailing(reader: Reader, segment: Element) -> list[str]:
    rest = reader.size - (segment.end or reader.size)
    return [f"{counted(rest, 'byte')} behind its segment"] if rest else []


def _element(reader: Reader, position: int) -> Element | None:
    """The element whose header stands at ``position``; ``None`` at the end of the file."""
    reader.elements += 1
    if reader.elements > _MOST_ELEMENTS:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, f"it has more than {_MOST_ELEMENTS:,} elements")
    head = reader.at(position, 12)
    if not head:
        return None
    id_length = 9 - head[0].bit_length() if head[0] else 9
    if id_length > 4:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, f"at byte {position:,} stands no element")
    if len(head) <= id_length:
        raise _cut(position)
    first = head[id_length]
    length = 9 - first.bit_length() if first else 9
    if length > 8:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, f"the element at byte {position:,} has no size")
    if len(head) < id_length + length:
        raise _cut(position)
    identifier = int.from_bytes(head[:id_length])
    raw = int.from_bytes(head[id_length : id_length + length])
    mask = (1 << (7 * length)) - 1
    content = position + id_length + length
    end = None if raw & mask == mask else content + (raw & mask)
    return Element(identifier, position, content, end)


def _cut(position: int) -> Fault:
    return Fault(Verdict.PARTIAL, Tier.TABLES, f"it ends inside the element at byte {position:,}")


class _Walk:
    """One walk through the elements of a segment."""

    def __init__(self, reader: Reader, segment: Element, depth: Tier) -> None:
        self.reader = reader
        self.segment = segment
        self.depth = depth
        self.codecs: dict[int, Codec] = {}
        self.clusters = array("Q")
        """Where clusters begin, in order, counted from the segment's content, as cues count."""
        self.cues: list[Element] = []
        self.duration_s: float | None = None

    def blocks(self) -> int:
        """Walk down to the blocks; return how many belong to a video track."""
        limit = self.segment.end if self.segment.end is not None else self.reader.size
        position, blocks = self.segment.content, 0
        while position < limit:
            element = _element(self.reader, position)
            if element is None:
                break
            if element.id not in _LEVEL_1:
                raise Fault(
                    Verdict.CORRUPT, Tier.TABLES, f"at byte {position:,} stands no element of a segment"
                )
            if element.end is not None and element.end > limit:
                raise _cut(position)
            found, position = self._take(element, limit)
            blocks += found
        if not any(codec.is_video for codec in self.codecs.values()):
            verdict = Verdict.NOT_MEDIA if self.codecs else Verdict.PARTIAL
            raise Fault(verdict, Tier.TABLES, "it names no video track")
        self._check_cues()
        return blocks

    def _take(self, element: Element, limit: int) -> tuple[int, int]:
        """The video blocks of one element, and where it ends."""
        if element.id == _CLUSTER:
            self.clusters.append(element.start - self.segment.content)
            return _cluster(self.reader, element, limit, self.codecs, self.depth)
        if element.end is None:
            raise Fault(Verdict.CORRUPT, Tier.TABLES, f"the element at byte {element.start:,} has no size")
        if element.id == _TRACKS:
            self.codecs = _tracks(self.reader, element)
        elif element.id == _CUES:
            self.cues.append(element)
        elif element.id == _INFO:
            self.duration_s = _duration(self.reader, element)
        return 0, element.end

    def _check_cues(self) -> None:
        """Each cue must lead to a cluster (RFC 9559, 5.1.5): else clusters were lost or moved."""
        for cues in self.cues:
            for position in _cue_positions(self.reader, cues):
                index = bisect_left(self.clusters, position)
                is_known = index < len(self.clusters) and self.clusters[index] == position
                if not is_known:
                    reason = (
                        f"its cues name a cluster at byte {self.segment.content + position:,}, where none is"
                    )
                    raise Fault(Verdict.CORRUPT, Tier.TABLES, reason)


def _duration(reader: Reader, info: Element) -> float | None:
    """How long a segment says that it is (RFC 9559, 5.1.2); ``None`` where it says nothing that can be."""
    try:
        told = {
            field.id: _content(reader, field)[:9]
            for field in _inside(reader, info)
            if field.id in {_DURATION, _TIMESTAMP_SCALE}
        }
    except Fault:
        # No video is broken for what is told of it.
        return None
    raw, scale = told.get(_DURATION, b""), told.get(_TIMESTAMP_SCALE)
    form = {4: ">f", 8: ">d"}.get(len(raw))
    ticks: float = struct.unpack(form, raw)[0] if form else 0.0
    seconds = ticks * (_USUAL_SCALE if scale is None else int.from_bytes(scale)) / 1e9
    return seconds if 0 < seconds < math.inf else None


def _cue_positions(reader: Reader, cues: Element) -> Iterator[int]:
    for point in _inside(reader, cues):
        if point.id == _CUE_POINT:
            for place in _inside(reader, point):
                if place.id == _CUE_TRACK_POSITIONS:
                    yield from (
                        _integer(reader, field)
                        for field in _inside(reader, place)
                        if field.id == _CUE_CLUSTER_POSITION
                    )


def _cluster(
    reader: Reader, cluster: Element, limit: int, codecs: dict[int, Codec], depth: Tier
) -> tuple[int, int]:
    """Walk one cluster; return its number of video blocks and where it ends."""
    end = cluster.end if cluster.end is not None else limit
    blocks = 0
    position = cluster.content
    while position < end:
        element = _element(reader, position)
        if element is None or (cluster.end is None and element.id in _LEVEL_1 - {_VOID, _CRC}):
            break
        if element.id not in _IN_CLUSTER or element.end is None:
            raise Fault(Verdict.CORRUPT, Tier.TABLES, f"at byte {position:,} stands no element of a cluster")
        if element.end > end:
            raise _cut(position)
        for block in _blocks(reader, element):
            blocks += _judge_block(reader, block, codecs, depth)
        position = element.end
    return blocks, position


def _blocks(reader: Reader, element: Element) -> Iterator[Element]:
    if element.id == _SIMPLE_BLOCK:
        yield element
    elif element.id == _BLOCK_GROUP:
        for inner in _inside(reader, element):
            if inner.id == _BLOCK:
                yield inner


def _inside(reader: Reader, parent: Element) -> Iterator[Element]:
    position, end = parent.content, parent.end or parent.content
    while position < end:
        element = _element(reader, position)
        if element is None or element.end is None or element.end > end:
            raise Fault(
                Verdict.CORRUPT, Tier.TABLES, f"the element at byte {position:,} does not fit its parent"
            )
        yield element
        position = element.end


def _judge_block(reader: Reader, block: Element, codecs: dict[int, Codec], depth: Tier) -> int:
    """1 for a block of a video track, else 0."""
    head = reader.at(block.content, 12)
    width = 9 - head[0].bit_length() if head and head[0] else 9
    if width > 8 or block.end is None or block.end - block.content < width + 3:
        raise Fault(Verdict.CORRUPT, Tier.TABLES, f"the block at byte {block.start:,} names no track")
    number = int.from_bytes(head[:width]) & ((1 << (7 * width)) - 1)
    codec = codecs.get(number)
    if codec is None:
        raise Fault(
            Verdict.CORRUPT, Tier.TABLES, f"the block at byte {block.start:,} is of unknown track {number}"
        )
    if depth >= Tier.PAYLOAD:
        is_laced = bool(head[width + 2] & _LACING)
        _check_payload(reader, block, width + 3, codec._replace(nal_length=0) if is_laced else codec)
    return int(codec.is_video)


def _check_payload(reader: Reader, block: Element, skip: int, codec: Codec) -> None:
    start, end = block.content + skip, block.end or block.content
    if end - start > _LARGEST_BLOCK:
        raise Fault(Verdict.UNSUPPORTED, Tier.PAYLOAD, "a block is larger than 64 MiB")
    torn = why_torn(reader.at(start, end - start), codec)
    if torn:
        reason = f"the block ({codec.name}) at byte {block.start:,} is damaged: {torn}"
        raise Fault(Verdict.CORRUPT, Tier.PAYLOAD, reason)


def _tracks(reader: Reader, tracks: Element) -> dict[int, Codec]:
    if tracks.end is None or tracks.end - tracks.content > _LARGEST_TRACKS:
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, "its list of tracks is too large")
    found = {}
    for entry in _inside(reader, tracks):
        if entry.id == _TRACK_ENTRY:
            fields = {inner.id: inner for inner in _inside(reader, entry)}
            found[_integer(reader, fields.get(_TRACK_NUMBER))] = _codec(reader, fields)
    return found


def _codec(reader: Reader, fields: dict[int, Element]) -> Codec:
    name = _content(reader, fields.get(_CODEC_ID)).decode("latin-1")
    private = _content(reader, fields.get(_CODEC_PRIVATE))
    nal_length = 0
    if name == "V_MPEG4/ISO/AVC" and len(private) > 4:
        nal_length = (private[4] & 0x03) + 1
    elif name == "V_MPEGH/ISO/HEVC" and len(private) > 21:
        nal_length = (private[21] & 0x03) + 1
    is_video = _integer(reader, fields.get(_TRACK_TYPE)) == _VIDEO_TRACK
    return Codec(
        name,
        nal_length,
        is_opaque=name.startswith("A_PCM") or _CONTENT_ENCODINGS in fields,
        is_video=is_video,
    )


def _integer(reader: Reader, element: Element | None) -> int:
    return int.from_bytes(_content(reader, element)[:8])


def _content(reader: Reader, element: Element | None) -> bytes:
    if element is None or element.end is None:
        return b""
    return reader.at(element.content, min(element.end - element.content, _LARGEST_TRACKS))
