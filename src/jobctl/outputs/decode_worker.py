"""The worker process that lets FFmpeg's libraries at a file: the only module that uses PyAV.

It reads orders from a socket (a JSON line and the file's descriptor), answers with a JSON
line, and is bounded in memory; its parent bounds it in time and kills it when it hangs.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import av
import av.logging

_MEMORY_BYTES = 1 << 30
_PR_SET_PDEATHSIG = 1
_LARGEST_ORDER = 4_096
_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm",
    # The file is handed over as an open descriptor; a playlist in it must lead nowhere.
    "protocol_whitelist": "file",
}
_DAMAGE = re.compile(r"partial file|truncat|corrupt|invalid|error|missing", re.IGNORECASE)
# Reported lengths and real ones differ by a few frames; more is a file that ends early.
_TAIL_SLACK_S = 1.0
_TAIL_SLACK_SHARE = 0.1
_FIRST_YEAR = 1971


def main() -> None:
    """Answer orders until the parent goes away."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel = socket.socket(fileno=int(sys.argv[1]))
    while True:
        order, descriptors, _, _ = socket.recv_fds(channel, _LARGEST_ORDER, 1)
        if not order:
            return
        fd = descriptors[0]
        try:
            answer = examine(fd, decode=bool(json.loads(order)["decode"]))
        finally:
            os.close(fd)
        channel.sendall(json.dumps(answer).encode() + b"\n")


def examine(fd: int, *, decode: bool) -> dict[str, Any]:
    """Read every packet of a file, and with ``decode`` every frame; say what was found."""
    answer: dict[str, Any] = {"verdict": "whole", "reason": "every packet was read", "media": None}
    try:
        with av.logging.Capture() as logged, _opened(fd, decode=decode) as container:
            answer["media"] = _media(container)
            fault = _read_all(container, decode=decode) or _logged_damage(logged)
    except (av.error.FFmpegError, ValueError, EOFError) as error:
        said = getattr(error, "strerror", None) or str(error)
        return {**answer, "verdict": "corrupt", "reason": f"it cannot be read through: {said}"}
    except MemoryError:
        return {**answer, "verdict": "unsupported", "reason": "reading it needs too much memory"}
    if fault:
        return {**answer, "verdict": fault[0], "reason": fault[1]}
    if decode:
        answer["reason"] = "every frame was decoded"
    return answer


@contextmanager
def _opened(fd: int, *, decode: bool) -> Iterator[Any]:
    options = {**_OPTIONS, "err_detect": "explode"} if decode else _OPTIONS
    with av.open(f"/proc/self/fd/{fd}", "r", options=dict(options), metadata_errors="replace") as container:
        yield container


def _read_all(container: Any, *, decode: bool) -> tuple[str, str] | None:
    videos = [stream for stream in container.streams if stream.type == "video"]
    if not videos:
        return "not-media", "it holds no video stream"
    count, last_s = 0, 0.0
    for packet in container.demux():
        if packet.size and packet.is_corrupt:
            return "corrupt", f"packet {count} is damaged"
        if packet.stream.type == "video" and packet.size:
            count += 1
            if packet.pts is not None and packet.time_base:
                last_s = max(last_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if decode:
            for _ in packet.decode():
                pass
    if not count:
        return "partial", "it holds no video packet"
    return _ends_early(container, last_s)


def _ends_early(container: Any, last_s: float) -> tuple[str, str] | None:
    if not container.duration:
        return None
    start_s = (container.start_time or 0) / av.time_base
    declared_s = container.duration / av.time_base + max(start_s, 0.0)
    if last_s + _TAIL_SLACK_S < declared_s * (1 - _TAIL_SLACK_SHARE):
        return "partial", f"its video ends at {last_s:.1f} s, but {declared_s:.1f} s are declared"
    return None


def _logged_damage(logged: list[Any]) -> tuple[str, str] | None:
    for level, _, message in logged:
        if level <= av.logging.ERROR and _DAMAGE.search(message):
            return "corrupt", f"the demuxer says: {message.strip()[:200]}"
    return None


def _media(container: Any) -> dict[str, Any]:
    video = next((stream for stream in container.streams if stream.type == "video"), None)
    audio = next((stream for stream in container.streams if stream.type == "audio"), None)
    tags = {name.lower(): value for name, value in container.metadata.items()}
    return {
        "container": container.format.name,
        "duration_s": container.duration / av.time_base if container.duration else None,
        "width": video.codec_context.width if video else None,
        "height": video.codec_context.height if video else None,
        "video_codec": video.codec_context.name if video else None,
        "audio_codec": audio.codec_context.name if audio else None,
        "created_at": _moment(tags.get("creation_time")),
        "comment": tags.get("comment"),
    }


def _moment(text: str | None) -> str | None:
    """A creation time as ISO 8601; ``None`` for the zero that encoders write when they know none."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.isoformat() if moment.year >= _FIRST_YEAR else None


if __name__ == "__main__":
    main()
