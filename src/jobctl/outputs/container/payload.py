"""Tier 1c: what compressed samples can never look like.

H.264 and H.265 in these containers are chains of length-prefixed NAL units (ISO/IEC
14496-15, 5.3) that fill a sample exactly, and emulation prevention (ISO/IEC 14496-10,
7.4.1) keeps long runs of zeros out of them. Other codecs code entropy: long runs of zeros
mean data that was never written. PCM is exempt: silence is zeros.
"""

from __future__ import annotations

from typing import NamedTuple

from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container.reader import Fault

_ZERO_RUN_IN_NAL = b"\0" * 16
_ZERO_RUN = b"\0" * 256
_SMALLEST_SUSPECT = 16
# MPEG video may be stuffed with zeros up to its bit rate (ISO/IEC 13818-2, 5.2.3).
_STUFFED = frozenset({"mp4v", "m1v ", "m2v1", "V_MPEG1", "V_MPEG2", "V_MPEG4/ISO/ASP", "V_MPEG4/ISO/SP"})


class Codec(NamedTuple):
    """How a track's samples can be judged. ``nal_length`` is 0 where they are not NAL units."""

    name: str
    nal_length: int = 0
    is_pcm: bool = False
    is_video: bool = False


def why_torn(sample: bytes, codec: Codec) -> str | None:
    """The reason why ``sample`` cannot be what an encoder wrote, or ``None``."""
    if codec.is_pcm:
        return None
    if codec.nal_length:
        return _why_no_chain(sample, codec.nal_length)
    is_empty = len(sample) >= _SMALLEST_SUSPECT and not sample.strip(b"\0")
    if is_empty or (_ZERO_RUN in sample and codec.name not in _STUFFED):
        return "it is filled with zeros"
    return None


def expect_sound(sample: bytes, codec: Codec, number: int, position: int) -> None:
    """Raise the fault of a sample that no encoder wrote."""
    torn = why_torn(sample, codec)
    if torn:
        reason = f"sample {number:,} ({codec.name}) at byte {position:,} is damaged: {torn}"
        raise Fault(Verdict.CORRUPT, Tier.PAYLOAD, reason)


def _why_no_chain(sample: bytes, prefix: int) -> str | None:
    if _ZERO_RUN_IN_NAL in sample:
        return "it is filled with zeros"
    position, end = 0, len(sample)
    while position < end:
        length = int.from_bytes(sample[position : position + prefix])
        if length == 0:
            return "it holds an empty NAL unit"
        position += prefix + length
    return None if position == end else "its chain of NAL units does not fill it"
