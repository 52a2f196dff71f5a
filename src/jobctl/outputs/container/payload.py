"""Tier 1c: what compressed samples can never look like.

H.264 and H.265 in these containers are chains of length-prefixed NAL units (ISO/IEC
14496-15, 5.3) that fill a sample exactly, and emulation prevention (ISO/IEC 14496-10,
7.4.1) keeps long runs of zeros out of them. Frames of VP8, VP9 and AV1 begin in a way that
zeros do not. Other codecs code entropy: long runs of zeros mean data that was never written.
PCM is exempt: silence is zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from jobctl.model.files import Tier, Verdict
from jobctl.outputs.container.reader import Fault

_ZERO_RUN_IN_NAL = b"\0" * 16
_ZERO_END_OF_NAL = b"\0" * 4
_ZERO_RUN = b"\0" * 256
_SMALLEST_SUSPECT = 16
_VP8_START_CODE = b"\x9d\x01\x2a"
# MPEG video may be stuffed with zeros up to its bit rate (ISO/IEC 13818-2, 5.2.3).
_STUFFED = frozenset({"mp4v", "m1v ", "m2v1", "V_MPEG1", "V_MPEG2", "V_MPEG4/ISO/ASP", "V_MPEG4/ISO/SP"})


class Codec(NamedTuple):
    """How a track's samples can be judged. ``nal_length`` is 0 where they are not NAL units.

    ``is_opaque``: they may be any bytes, as those of PCM, or packed ones.
    """

    name: str
    nal_length: int = 0
    is_opaque: bool = False
    is_video: bool = False

    @property
    def is_strict(self) -> bool:
        """Whether each sample by itself shows that it was written."""
        return bool(self.nal_length) or self.name in _IS_FRAME


def why_torn(sample: bytes, codec: Codec) -> str | None:
    """The reason why ``sample`` cannot be what an encoder wrote, or ``None``."""
    if codec.is_opaque:
        return None
    if codec.nal_length:
        return _why_no_chain(sample, codec.nal_length)
    is_empty = len(sample) >= _SMALLEST_SUSPECT and not sample.strip(b"\0")
    if is_empty or (_ZERO_RUN in sample and codec.name not in _STUFFED):
        return "it is filled with zeros"
    # A frame without bytes is one that was dropped: the one before it goes on.
    if sample and not _IS_FRAME.get(codec.name, bool)(sample):
        return "it does not begin as a frame does"
    return None


def expect_sound(sample: bytes, codec: Codec, number: int, position: int) -> None:
    """Raise the fault of a sample that no encoder wrote."""
    torn = why_torn(sample, codec)
    if torn:
        reason = f"sample {number:,} ({codec.name}) at byte {position:,} is damaged: {torn}"
        raise Fault(Verdict.CORRUPT, Tier.PAYLOAD, reason)


def _why_no_chain(sample: bytes, prefix: int) -> str | None:
    if not sample:
        return "it is empty"
    if _ZERO_RUN_IN_NAL in sample or sample.endswith(_ZERO_END_OF_NAL):
        return "it is filled with zeros"
    position, end = 0, len(sample)
    while position < end:
        length = int.from_bytes(sample[position : position + prefix])
        if length == 0:
            return "it holds an empty NAL unit"
        position += prefix + length
    return None if position == end else "its chain of NAL units does not fill it"


def _is_vp8(frame: bytes) -> bool:
    """RFC 6386, 9.1: a key frame bears a start code."""
    is_key = not frame[0] & 0x01
    return not is_key or frame[3:6] == _VP8_START_CODE


def _is_vp9(frame: bytes) -> bool:
    """VP9 Bitstream Specification, 6.2: the frame marker."""
    return frame[0] >> 6 == 0b10


def _is_av1(frame: bytes) -> bool:
    """AV1 Bitstream Specification, 5.3.2: two bits that are never set, and a type that is never zero."""
    return not frame[0] & 0x81 and bool(frame[0] & 0x78)


_IS_FRAME: Mapping[str, Callable[[bytes], bool]] = {
    **dict.fromkeys(("vp08", "V_VP8"), _is_vp8),
    **dict.fromkeys(("vp09", "V_VP9"), _is_vp9),
    **dict.fromkeys(("av01", "V_AV1"), _is_av1),
}
