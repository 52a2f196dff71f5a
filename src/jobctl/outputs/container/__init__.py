"""The structural check: whether a media file is all there, judged by its own container.

Tiers 1a (top-level boxes against the file's size), 1b (every sample and block lies where
the index says, inside the file) and 1c (payloads are not torn or zero-filled). Standard
library only, bounded in reads and memory whatever the file claims.
"""

from __future__ import annotations

from typing import NamedTuple

from jobctl.model.files import Check, Tier, Verdict
from jobctl.outputs.container import ebml, isobmff
from jobctl.outputs.container.reader import Fault, Reader

__all__ = ["Examined", "check", "examine", "sniff"]

_HEAD = 64
_OTHER_MEDIA = (
    (b"RIFF", "RIFF (AVI, WAV)"),
    (b"OggS", "Ogg"),
    (b"FLV", "Flash video"),
    (b"ID3", "MP3"),
    (b"fLaC", "FLAC"),
    (b"\x00\x00\x01\xba", "MPEG program stream"),
    (b"\x00\x00\x01\xb3", "MPEG video"),
    (b"\x30\x26\xb2\x75", "ASF"),
)


class Examined(NamedTuple):
    """What was judged of a file, and the length that its index tells where that was read."""

    check: Check
    duration_s: float | None = None


def sniff(head: bytes) -> str | None:
    """The container family a file's first bytes tell: ``isobmff``, ``ebml`` or ``None``."""
    if head[4:8] in isobmff.FIRST_BOXES:
        return "isobmff"
    if head.startswith(ebml.MAGIC):
        return "ebml"
    return None


def check(fd: int, size: int, depth: Tier) -> Check:
    """Judge an open file of ``size`` bytes, down to ``depth`` (at most ``Tier.PAYLOAD``).

    The first tier with a fault names the verdict and the reason; ``whole`` bears the
    deepest tier that was asked for.
    """
    return examine(fd, size, depth).check


def examine(fd: int, size: int, depth: Tier) -> Examined:
    """Judge as ``check`` does, and tell what was read of a whole file's length on the way."""
    reader = Reader(fd, size)
    try:
        family = sniff(reader.at(0, _HEAD))
        if family is None:
            raise _not_ours(reader.at(0, _HEAD))
        judge = isobmff.judge if family == "isobmff" else ebml.judge
        warnings, duration_s = judge(reader, depth)
    except Fault as fault:
        return Examined(Check(fault.verdict, fault.tier, fault.reason))
    return Examined(Check(Verdict.WHOLE, depth, "its container is complete", tuple(warnings)), duration_s)


def _not_ours(head: bytes) -> Fault:
    if not head:
        return Fault(Verdict.PARTIAL, Tier.BOXES, "the file is empty")
    if not head.strip(b"\0"):
        return Fault(Verdict.CORRUPT, Tier.BOXES, "it begins with zeros: its data was never written")
    for magic, name in _OTHER_MEDIA:
        if head.startswith(magic):
            return Fault(Verdict.UNSUPPORTED, Tier.BOXES, f"{name} is not a container jobctl can judge")
    begins = head[:24].decode("ascii", "replace").replace("\ufffd", ".")
    return Fault(Verdict.NOT_MEDIA, Tier.BOXES, f"it is no media file: it begins with {begins!r}")
