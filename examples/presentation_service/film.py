"""The renderer: a tiny film by a real encoder, one shade of grey for each slide, and its thumbnail."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import av

_SIZE = (96, 64)
_FRAMES_A_SLIDE = 4


def render(
    path: str | os.PathLike[str], request: dict[str, Any], progress: Callable[[float], object]
) -> None:
    """Render a film of so many ``slides`` to ``path``; tell before each how many percent are done.

    ``stallsAt`` makes it stall for ever once it is that far, as where a machine it needs is gone.
    """
    slides = int(request.get("slides", 4))
    with av.open(os.fspath(path), "w", format="mp4") as film:
        # Frames go to the disk as they are made: a crash leaves a file that is cut short.
        stream = film.add_stream("libx264", rate=4, options={"tune": "zerolatency"})
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for slide in range(slides):
            percent = 100 * slide / slides
            progress(percent)
            if percent >= request.get("stallsAt", 100):
                threading.Event().wait()
            frame = _frame(255 * slide // slides)
            for number in range(_FRAMES_A_SLIDE):
                frame.pts = slide * _FRAMES_A_SLIDE + number
                film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def picture(path: str | os.PathLike[str], request: dict[str, Any]) -> None:
    """Make the thumbnail of a film, a JPEG of its last slide."""
    slides = int(request.get("slides", 4))
    with av.open(os.fspath(path), "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=1)
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuvj420p"
        file.mux(stream.encode(_frame(255 * (slides - 1) // slides)))
        file.mux(stream.encode(None))


def _frame(grey: int) -> av.VideoFrame:
    frame = av.VideoFrame(*_SIZE, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([grey]) * plane.buffer_size)
    return frame
