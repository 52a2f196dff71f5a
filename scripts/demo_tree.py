"""A realistic outputs directory: what a video-presentation service leaves behind when it dies.

Every video is a real encode. Job ids are derived from names, so that two builds agree.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import av

_NAMESPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>upstream died</body></html>\n"
)
_HOSTILE = {
    "newline": b"line\nbreak",
    "escape": b"red \x1b[31malert\x1b[0m",
    "markup": b"[bold red]markup",
    "latin-1": b"caf\xe9",
}
_AN_HOUR_S = 3600
# Holds its file open for writing until its standard input ends, as an encoder at work does.
_WRITER = "import sys; out = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"


def job_id(name: str) -> str:
    """The job id the demo uses for ``name``."""
    return str(uuid.uuid5(_NAMESPACE, name))


@dataclass
class DemoTree:
    """The tree, and what a careful operator would call each thing in it."""

    root: Path
    whole: list[str] = field(default_factory=list)
    """Names of jobs whose video is whole."""
    expected: dict[str, str] = field(default_factory=dict)
    """Job id to the finding it should get, where no record of it exists."""
    writers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def stop_writers(self) -> None:
        """Let the encoders still at work end."""
        for writer in self.writers:
            writer.communicate()
        self.writers.clear()

    @property
    def presentations(self) -> Path:
        return self.root / "presentations"

    def video(self, name: str) -> Path:
        return self.presentations / f"presentation_{job_id(name)}.mp4"


def build(root: Path, *, completed: int = 6, age_s: int = 2 * _AN_HOUR_S) -> DemoTree:
    """Fill ``root`` with a day of a service's outputs, last written ``age_s`` seconds ago."""
    tree = DemoTree(root)
    for directory in ("presentations", "temp", "clean_videos", "static_design_images"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for number in range(completed):
        _completed_job(tree, f"lesson-{number}", slides=3 if number % 3 == 2 else 1)
    _broken_jobs(tree)
    _jobs_with_records(tree)
    _retry_with_the_same_bytes(tree)
    _hostile_names(tree)
    _leftovers(tree)
    _uploads_named_like_ours(tree)
    _set_age(root, age_s)
    _still_being_written(tree)
    return tree


def encode(path: Path, *, seed: int, frames: int = 12, size: tuple[int, int] = (160, 96)) -> None:
    """Encode a short video with moov at the end and no creation time, as the service's encoder does."""
    noise = random.Random(seed)
    with av.open(os.fsencode(path).decode("utf-8", "surrogateescape"), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=12)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame(*size, "yuv420p")
            for plane in frame.planes:
                row = noise.randbytes(plane.line_size)
                plane.update(row * (plane.buffer_size // plane.line_size))
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _seed(name: str) -> int:
    return uuid.UUID(job_id(name)).int % 2**32


def _completed_job(tree: DemoTree, name: str, *, slides: int) -> None:
    job = job_id(name)
    request = {"projectName": name, "slides": [{"slideId": number + 1} for number in range(slides)]}
    (tree.root / "temp" / f"remotion_input_{job}.json").write_text(json.dumps(request))
    for number in range(1, slides + 1) if slides > 1 else ():
        encode(tree.presentations / f"slide_{number}_{job}.mp4", seed=_seed(name) + number, frames=4)
    encode(tree.video(name), seed=_seed(name))
    (tree.presentations / f"thumbnail_{job}.jpg").write_bytes(b"\xff\xd8\xff\xe0 a small picture \xff\xd9")
    tree.whole.append(name)
    tree.expected[job] = "orphan-video"


def _broken_jobs(tree: DemoTree) -> None:
    cut = tree.video("cut")
    encode(cut, seed=_seed("cut"))
    os.truncate(cut, cut.stat().st_size * 3 // 4)
    tree.video("empty").touch()
    tree.video("html").write_bytes(_HTML)
    for name in ("cut", "empty", "html"):
        tree.expected[job_id(name)] = "broken-video"
    encode(tree.video("no-thumbnail"), seed=_seed("no-thumbnail"))
    tree.whole.append("no-thumbnail")
    tree.expected[job_id("no-thumbnail")] = "orphan-video"


def _jobs_with_records(tree: DemoTree) -> None:
    """Videos whose jobs the restarted service still has a record of."""
    encode(tree.video("at-99-percent"), seed=_seed("at-99-percent"))
    tree.whole.append("at-99-percent")


def _retry_with_the_same_bytes(tree: DemoTree) -> None:
    """An impatient user asked twice; the renderer made the same video twice."""
    encode(tree.video("first-try"), seed=_seed("first-try"))
    shutil.copyfile(tree.video("first-try"), tree.video("second-try"))
    for name in ("first-try", "second-try"):
        tree.whole.append(name)
        tree.expected[job_id(name)] = "orphan-video"


def _hostile_names(tree: DemoTree) -> None:
    for name, directory in _HOSTILE.items():
        place = tree.presentations / os.fsdecode(directory)
        place.mkdir(exist_ok=True)
        made = tree.root / "temp" / f"{name}.mp4"
        encode(made, seed=_seed(name))
        made.rename(place / f"presentation_{job_id(name)}.mp4")
        tree.whole.append(name)
        tree.expected[job_id(name)] = "orphan-video"
    (tree.presentations / os.fsdecode(b"notes \x1b]0;owned\x07 [red]\xff\n.txt")).write_text("not ours")


def _leftovers(tree: DemoTree) -> None:
    """Intermediates that name no job."""
    for path in (
        tree.root / "temp" / "avatar_690a6f7ec2a1b34d5e6f7a8b.mp4",
        tree.root / "temp" / "temp_composition_1762300800.mp4",
        tree.root / "clean_videos" / "avatar_presentation_3slides_20251104_210134.mp4",
    ):
        encode(path, seed=len(path.name), frames=3)
    (tree.root / "temp" / f"remotion_input_{job_id('never-rendered')}.json").write_text("{}")
    tree.expected[job_id("never-rendered")] = "lost"


def _uploads_named_like_ours(tree: DemoTree) -> None:
    """Users' own files, which must never be touched, under names that look like results."""
    uploads = tree.root / "static_design_images"
    encode(uploads / f"presentation_{job_id('an-upload')}.mp4", seed=7, frames=3)
    (uploads / f"presentation_processed_{job_id('an-upload')}.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def _set_age(root: Path, age_s: int) -> None:
    for directory, _, names in os.walk(os.fsencode(root)):
        for name in names:
            path = os.path.join(directory, name)
            moment = os.stat(path).st_mtime - age_s
            os.utime(path, (moment, moment))


def _still_being_written(tree: DemoTree) -> None:
    video = tree.video("rendering")
    encode(video, seed=_seed("rendering"))
    os.truncate(video, video.stat().st_size // 2)
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, os.fspath(video)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    tree.writers.append(writer)
    tree.expected[job_id("rendering")] = "unsettled"
