"""Real media for the tests: encoded by FFmpeg's libraries, then damaged in exact ways."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import av

_CODECS = {"mp4": "libx264", "mov": "libx264", "webm": "libvpx", "mkv": "libx264"}
_FORMATS = {"mkv": "matroska"}
_MOVFLAGS = {
    "first": "faststart",
    "fragmented": "frag_keyframe+empty_moov+default_base_moof",
    "hybrid": "frag_keyframe",
    "dash": "frag_keyframe+empty_moov+default_base_moof+dash+skip_trailer",
}
_RATE = 12


def encode(
    path: Path,
    *,
    container: str = "mp4",
    seed: int = 0,
    frames: int = 24,
    moov: str = "last",
    audio: str | None = None,
    codec: str | None = None,
    picture: str = "noise",
    gop: int = 6,
    comment: str | None = None,
    size: tuple[int, int] = (64, 48),
) -> Path:
    """Encode a short video; ``picture`` is noise or black.

    ``moov`` is last or first, or the video fragmented: all of it, all but its begin (hybrid), or each
    fragment with an index of its own and none of all (dash).
    """
    options = {"movflags": _MOVFLAGS[moov]} if moov in _MOVFLAGS else {}
    with closing(av.open(str(path), "w", format=_FORMATS.get(container, container), options=options)) as out:
        if comment:
            out.metadata["comment"] = comment
        _write(out, codec or _CODECS[container], seed, frames, picture, gop, size, audio)
    return path


def _write(
    out: Any, codec: str, seed: int, frames: int, picture: str, gop: int, size: Any, audio: Any
) -> None:
    noise = random.Random(seed)
    video = out.add_stream(codec, rate=_RATE)
    video.width, video.height = size
    video.pix_fmt = "yuv420p"
    video.gop_size = gop
    sound = out.add_stream(audio, rate=48_000) if audio else None
    for number in range(frames):
        out.mux(video.encode(_frame(noise, picture, number, size)))
        if sound is not None:
            out.mux(sound.encode(_silence(sound, number)))
    out.mux(video.encode(None))
    if sound is not None:
        out.mux(sound.encode(None))


def _frame(noise: random.Random, picture: str, number: int, size: tuple[int, int]) -> av.VideoFrame:
    frame = av.VideoFrame(*size, "yuv420p")
    for index, plane in enumerate(frame.planes):
        if picture == "noise":
            row = noise.randbytes(plane.line_size)
        else:
            row = bytes([16 if index == 0 else 128]) * plane.line_size
        plane.update(row * (plane.buffer_size // plane.line_size))
    frame.pts = number
    return frame


def _silence(stream: Any, number: int) -> av.AudioFrame:
    samples = 48_000 // _RATE
    frame = av.AudioFrame(format=stream.format.name, layout=stream.layout.name, samples=samples)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate = 48_000
    frame.pts = number * samples
    return frame


def truncate(path: Path, *, keep: float | None = None, cut: int = 0) -> Path:
    """Cut a file to a share of its length, or by some bytes at its end."""
    size = path.stat().st_size
    os.truncate(path, int(size * keep) if keep is not None else size - cut)
    return path


def zero_fill(path: Path, start: float, end: float) -> Path:
    """Overwrite a part of a file, given in shares of its length, with zeros."""
    size = path.stat().st_size
    first, last = int(size * start), int(size * end)
    with open(path, "r+b") as file:
        file.seek(first)
        file.write(bytes(last - first))
    return path


_ENDLESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import media
media.encode(Path(sys.argv[1]), container=sys.argv[2], frames=10**9, moov=sys.argv[4])
"""


def killed_encode(path: Path, *, container: str, moov: str = "last", at_least: int = 200_000) -> Path:
    """What an encoder leaves that was killed (SIGKILL) at work, with this many bytes on disk."""
    arguments = [str(path), container, str(Path(__file__).parent), moov]
    encoder = subprocess.Popen([sys.executable, "-c", _ENDLESS, *arguments])
    while encoder.poll() is None and not (path.exists() and path.stat().st_size >= at_least):
        time.sleep(0.005)
    encoder.send_signal(signal.SIGKILL)
    encoder.wait()
    return path
