"""The worker process that lets FFmpeg's libraries at a file: the only module that uses PyAV.

It reads orders from a socket (a JSON line and the file's descriptor), answers with a JSON
line, and bounds itself in memory and CPU time; its parent bounds it in time and kills it
when it hangs.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import re
import resource
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import av
import av.logging

VERSION: str = av.__version__
_MEMORY_BYTES = 1 << 30
_PR_SET_PDEATHSIG = 1
_LARGEST_ORDER = 4_096
_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm",
    # The file is handed over as an open descriptor; a playlist in it must lead nowhere.
    "protocol_whitelist": "file",
}
# Only what FFmpeg logs of torn data counts; it also complains of whole files that others muxed.
_CUT = re.compile(r"partial file|ended prematurely\s*$|moov atom not found|Truncating packet")
_DAMAGED = re.compile(
    r"Invalid NAL unit size|missing picture in access unit|error while decoding"
    r"|exceeds containing master element|contradictionary"
)
_ATTACHED_PICTURE = 0x400
# Reported lengths and real ones differ by a few frames; more is a file that ends early.
_TAIL_SLACK_S = 1.0
_FIRST_YEAR = 1971
_LONGEST_TEXT = 1_024


class Fault(NamedTuple):
    """Why a file is not whole, or cannot be judged: the verdict's word and its reason."""

    verdict: str
    reason: str


def main() -> None:
    """Answer orders until the parent goes away."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _limit(resource.RLIMIT_AS, _MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    av.logging.set_level(av.logging.ERROR)
    # Repeated lines would be swallowed across files: the second look at a file would see none.
    av.logging.set_skip_repeated(False)
    channel = socket.socket(fileno=int(sys.argv[1]))
    _send(channel, {"is_ready": True})
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _LARGEST_ORDER, 1)
        if not message:
            return
        order, fd = json.loads(message), descriptors[0]
        _limit_cpu(order["cpu_s"])
        try:
            answer = examine(fd, decode=order["decode"])
        finally:
            os.close(fd)
        _send(channel, answer)


def missing_decoders(names: Sequence[str]) -> list[str]:
    """Those of these codecs that nothing here can decode."""
    missing = []
    for name in names:
        try:
            av.Codec(name, "r")
        except ValueError:
            missing.append(name)
    return missing


def examine(fd: int, *, decode: bool) -> dict[str, Any]:
    """Read every packet of a file, and with ``decode`` every frame; say what was found."""
    media: dict[str, Any] | None = None
    fault: Fault | None = None
    with av.logging.Capture() as logged:
        try:
            with _opened(fd, decode=decode) as container:
                media = _media(container)
                fault = _Reading(container, os.fstat(fd).st_size).fault(decode=decode)
        except (av.error.FFmpegError, MemoryError, OSError) as error:
            fault = _fault_of(error)
    if fault is None or fault.verdict == "corrupt":
        fault = _logged_fault(logged) or fault
    if fault is None:
        fault = Fault("whole", "every frame was decoded" if decode else "every packet was read")
    return {**fault._asdict(), "media": media}


@contextmanager
def _opened(fd: int, *, decode: bool) -> Iterator[Any]:
    options = {**_OPTIONS, "err_detect": "explode"} if decode else _OPTIONS
    with av.open(f"/proc/self/fd/{fd}", "r", options=dict(options), metadata_errors="replace") as container:
        yield container


class _Reading:
    """One pass through a file's packets."""

    def __init__(self, container: Any, size: int) -> None:
        self.container = container
        self.size = size
        self.videos = [stream for stream in container.streams if _is_moving(stream)]
        self.ends_s: defaultdict[int, float] = defaultdict(float)
        """Stream number to when its last packet ends."""
        self.video_packets = self.video_frames = 0

    def fault(self, *, decode: bool) -> Fault | None:
        """Read it to its end; say what is wrong with it."""
        if not self.videos:
            return Fault("not-media", "it holds no video stream")
        coded = [stream for stream in self.container.streams if stream.type in {"video", "audio"}]
        if decode and any(stream.codec_context is None for stream in coded):
            return Fault("unsupported", "there is no decoder for one of its tracks")
        for stream in coded if decode else ():
            # Threads cost address space by the core, and this process has little.
            stream.codec_context.thread_count = 1
        for packet in self.container.demux():
            fault = self._read(packet)
            if fault is None and decode and packet.stream in coded:
                fault = self._decode(packet)
            if fault is not None:
                return fault
        return self._fault_at_the_end(decode=decode)

    def _read(self, packet: Any) -> Fault | None:
        if not packet.size:
            return None
        if packet.is_corrupt:
            if packet.pos is not None and packet.pos + packet.size >= self.size:
                return Fault("partial", f"it ends inside the packet at byte {packet.pos:,}")
            return Fault("corrupt", f"a packet of track {packet.stream.index} is damaged")
        self.video_packets += packet.stream in self.videos
        begins = packet.pts if packet.pts is not None else packet.dts
        if begins is not None and packet.time_base:
            ends_s = float((begins + (packet.duration or 0)) * packet.time_base)
            self.ends_s[packet.stream.index] = max(self.ends_s[packet.stream.index], ends_s)
        return None

    def _decode(self, packet: Any) -> Fault | None:
        for frame in packet.decode():
            self.video_frames += packet.stream in self.videos
            if frame.is_corrupt:
                return Fault("corrupt", f"a frame of track {packet.stream.index} is damaged")
        return None

    def _fault_at_the_end(self, *, decode: bool) -> Fault | None:
        if not self.video_packets:
            declared = sum(stream.frames for stream in self.videos)
            if declared:  # an index larger than memory is dropped without a word
                return Fault("unsupported", f"none of the {declared:,} frames it declares could be read")
            return Fault("partial", "it holds no video packet")
        if decode and not self.video_frames:
            return Fault("corrupt", "none of its frames can be decoded")
        for stream in self.videos:
            # Where tracks declare lengths of their own, sound may go on behind the picture.
            if stream.duration and stream.time_base:
                declared_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
                if _is_early(self.ends_s[stream.index], declared_s):
                    return _cut_short("video", self.ends_s[stream.index], declared_s)
        if self.container.duration:
            start = max(self.container.start_time or 0, 0)
            declared_s = (start + self.container.duration) / av.time_base
            if _is_early(max(self.ends_s.values()), declared_s):
                return _cut_short("content", max(self.ends_s.values()), declared_s)
        return None


def _is_moving(stream: Any) -> bool:
    return stream.type == "video" and not int(stream.disposition) & _ATTACHED_PICTURE


def _is_early(ends_s: float, declared_s: float) -> bool:
    return ends_s + _TAIL_SLACK_S < declared_s


def _cut_short(what: str, ends_s: float, declared_s: float) -> Fault:
    return Fault("partial", f"its {what} ends at {ends_s:.1f} s, but {declared_s:.1f} s are declared")


def _fault_of(error: Exception) -> Fault:
    """What an exception says of the file; where it speaks of this machine, the file is not blamed."""
    said = getattr(error, "strerror", None) or str(error)
    if isinstance(error, MemoryError):
        return Fault("unsupported", "reading it needs too much memory")
    if isinstance(error, OSError):
        return Fault("unreadable", f"it cannot be read: {said}")
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        return Fault("corrupt", f"it cannot be read through: {said}")
    return Fault("unsupported", f"FFmpeg cannot read it: {said}")


def _logged_fault(logged: list[Any]) -> Fault | None:
    """The first sign of a cut in FFmpeg's log, or else of damage."""
    lines = [message.strip() for level, _, message in logged if level <= av.logging.ERROR]
    for verdict, pattern in (("partial", _CUT), ("corrupt", _DAMAGED)):
        for line in lines:
            if pattern.search(line):
                return Fault(verdict, f"FFmpeg says: {line[:200]}")
    return None


def _media(container: Any) -> dict[str, Any]:
    video = next((stream for stream in container.streams if _is_moving(stream)), None)
    audio = next((stream for stream in container.streams if stream.type == "audio"), None)
    picture = video.codec_context if video else None
    sound = audio.codec_context if audio else None
    tags = {name.lower(): value for name, value in container.metadata.items()}
    comment = tags.get("comment")
    return {
        "container": container.format.name,
        "duration_s": container.duration / av.time_base if container.duration else None,
        "width": picture.width if picture else None,
        "height": picture.height if picture else None,
        "video_codec": picture.name if picture else None,
        "audio_codec": sound.name if sound else None,
        "created_at": _moment(tags.get("creation_time")),
        "comment": comment[:_LONGEST_TEXT] if comment else None,
    }


def _moment(text: str | None) -> str | None:
    """A creation time as ISO 8601; ``None`` for the zero that encoders write when they know none."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.isoformat() if moment.year >= _FIRST_YEAR else None


def _limit(kind: int, most: int) -> None:
    """Bound a resource for good; a lower bound that was inherited stays."""
    _, hard = resource.getrlimit(kind)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (bound, bound))


def _limit_cpu(more_s: int) -> None:
    """Let the kernel end this process (SIGXCPU) after ``more_s`` further seconds of CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    bound = math.ceil(used.ru_utime + used.ru_stime) + more_s
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or bound < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (bound, hard))


def _send(channel: socket.socket, answer: dict[str, Any]) -> None:
    channel.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
