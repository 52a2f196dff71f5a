"""Tracks of ISO base media files: where their samples lie (14496-12, 8.7), and what stands in them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import le

from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container.boxes import Extent, expect_inside
from jobctl.outputs.container.payload import Codec, expect_sound
from jobctl.outputs.container.reader import Fault, Reader

_LARGEST_SAMPLE = 64 << 20
_MOST_UNORDERED = 500_000


@dataclass(slots=True)
class Track:
    """What an index says of the samples of one track. ``number`` is the one fragments name it by."""

    number: int = 0
    handler: bytes = b""
    codec: Codec = field(default_factory=lambda: Codec("?"))
    sizes: array[int] = field(default_factory=lambda: array("I"))
    uniform_size: int = 0
    count: int = 0
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    runs: list[tuple[int, int]] = field(default_factory=list)
    """First chunk (from 1) and samples per chunk."""

    @property
    def is_video(self) -> bool:
        return self.handler == b"vide"

    @property
    def has_bytes(self) -> bool:
        """Whether any sample is more than nothing."""
        return bool(self.count and self.uniform_size) or any(self.sizes)


def extents_of(track: Track, data: list[Extent]) -> Iterator[Extent]:
    """Where each chunk begins and ends, in the order of the file; all of them lie in the media data."""
    extents = _extents(track, data)
    if all(map(le, track.offsets, islice(track.offsets, 1, None))):
        return extents
    if len(track.offsets) > _MOST_UNORDERED:
        reason = f"more than {_MOST_UNORDERED:,} chunks stand in another order than its index names them"
        raise Fault(Verdict.UNSUPPORTED, Tier.TABLES, reason)
    return iter(sorted(extents))


def check_samples(reader: Reader, track: Track) -> None:
    """No sample may be what no encoder writes."""
    codec = track.codec
    # Samples of one size are mostly of sound that is not coded; only of some codecs each shows what it is.
    if codec.is_opaque or (track.uniform_size and not codec.is_strict):
        return
    for offset, first, count in _chunks(track):
        position = offset
        for number in range(first, first + count):
            size = track.uniform_size or track.sizes[number]
            if size > _LARGEST_SAMPLE:
                raise Fault(Verdict.UNSUPPORTED, Tier.PAYLOAD, "a sample is larger than 64 MiB")
            expect_sound(reader.at(position, size), codec, number, position)
            position += size


def _extents(track: Track, data: list[Extent]) -> Iterator[Extent]:
    for offset, first, count in _chunks(track):
        end = offset + _length(track, first, count)
        expect_inside(data, offset, end)
        if end > offset:
            yield offset, end


def _length(track: Track, first: int, count: int) -> int:
    """How many bytes so many samples have."""
    if track.uniform_size:
        # QuickTime gives PCM one byte a sample, whatever its width.
        is_told = track.uniform_size > 1 or not track.codec.is_opaque
        return count * track.uniform_size if is_told else 0
    if first + count > len(track.sizes):
        raise Fault(Verdict.CORRUPT, Tier.TABLES, "its chunks hold more samples than have a size")
    return sum(track.sizes[first : first + count])


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
