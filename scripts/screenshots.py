"""Make the screenshots of the README: what the installed program shows of the demonstration's data.

Each command runs on a terminal of its own; what it wrote there is drawn as SVG. Nothing is drawn by
hand. It works in ``/tmp/demo``, which must not exist, and removes what it made there.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.text import Text

import demo_tree
from demo import Demo
from jobctl import Queue
from jobctl.store import roots, sightings
from jobctl.store.engine import open_store

_PROGRAM = Path(sys.executable).with_name("jobctl")
_HERE = Path(__file__).resolve().parent
_IMAGES = _HERE.parent / "docs" / "img"
_PLACE = Path("/tmp/demo")
_SIZE = (120, 36)
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_MARKS = re.compile(r"terminal-\d+")
_PATIENCE_S = 120.0
_SCANS, _SHRINKS_BY = 16, 9 << 28
_SCREENS = {
    "status": ("status",),
    "doctor": ("doctor", "--skip", "schedule", "--skip", "backup"),
    "recover": ("recover", "--dry-run"),
}


def main() -> None:
    """Fill a store, and draw each screen."""
    _PLACE.mkdir()
    _IMAGES.mkdir(exist_ok=True)
    try:
        demo = Demo(_PLACE)
        configuration = _PLACE / "jobctl.toml"
        configuration.touch(mode=0o600)
        demo.environment |= {"JOBCTL_HOST_ID": "render-1", "JOBCTL_CONFIG": str(configuration)}
        tree = demo_tree.build(demo.outputs)
        try:
            _fill(demo)
            with _worker(demo):
                _draw_all(demo)
        finally:
            tree.stop_writers()
    finally:
        shutil.rmtree(_PLACE)


def _fill(demo: Demo) -> None:
    """A store as it is after a bad night: jobs that run, wait, failed and were lost."""
    demo.run("init", "--root", str(demo.outputs))
    demo.record_jobs()
    demo.run("scan", "--quiet")
    _remember_room(demo)
    with Queue(str(demo.database)) as queue:
        for _ in range(5):
            queue.enqueue("thumbnail", queue="thumbnails")


def _enqueue_renders(demo: Demo) -> None:
    with Queue(str(demo.database)) as queue:
        for number in range(20):
            queue.enqueue("render", {"seconds": 3_000 + 700 * number, "from": max(0.0, 0.9 - 0.15 * number)})


def _remember_room(demo: Demo) -> None:
    """What a scan twice a day would have noted of a disk that fills by some GiB each time."""
    store = open_store(str(demo.database))
    left = os.statvfs(demo.outputs)
    with store.write() as connection:
        now = store.now(connection)
        (root,) = roots.get_roots(connection)
        for number in range(1, _SCANS):
            at = now - timedelta(hours=12 * number)
            free = left.f_bavail * left.f_frsize + number * _SHRINKS_BY
            scan_id = f"earlier-{number}"
            sightings.begin_scan(connection, scan_id, root.root_id, is_full=True, at=at)
            room = {"bytes": left.f_blocks * left.f_frsize, "bytes_free": free}
            sightings.finish_scan(connection, scan_id, is_complete=True, counts={"room": room}, at=at)
    store.close()


@contextmanager
def _worker(demo: Demo) -> Iterator[None]:
    """A worker that has begun, and had the thumbnails fail."""
    command = [str(_PROGRAM), "worker", "--tasks", "screenshots_tasks", "--slots", "6"]
    command += ["--queue", "thumbnails", "--queue", "default"]
    environment = {**demo.environment, "PYTHONPATH": str(_HERE)}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, cwd=_PLACE)
    try:
        _wait_for(demo, "failed", 5)
        _enqueue_renders(demo)
        _wait_for(demo, "processing", 9)
        # Until each has told how far it is.
        time.sleep(5)
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def _wait_for(demo: Demo, status: str, jobs: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while int(demo.ask("status")["counts"][status]) < jobs:  # type: ignore[index]
        if time.monotonic() > deadline:
            sys.exit(f"the worker did not bring {jobs} jobs to {status}")
        time.sleep(0.5)


def _draw_all(demo: Demo) -> None:
    for name, arguments in _SCREENS.items():
        shown = _on_terminal(arguments, demo.environment)
        console = Console(record=True, width=_SIZE[0], file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        for line in shown.replace("\r", "").rstrip("\n").split("\n"):
            console.print(Text.from_ansi(line), soft_wrap=True)
        title = f"jobctl {' '.join(arguments[: 1 if name == 'doctor' else None])}"
        _keep(name, console.export_svg(title=title, unique_id=f"jobctl-{name}"))
    with_picture = {
        "TEXTUAL_SCREENSHOT": "4",
        "TEXTUAL_SCREENSHOT_LOCATION": str(_PLACE),
        "TEXTUAL_SCREENSHOT_FILENAME": "top.svg",
    }
    _on_terminal(("top",), {**demo.environment, **with_picture})
    _keep("top", (_PLACE / "top.svg").read_text())


def _keep(name: str, drawing: str) -> None:
    """No font is fetched from elsewhere, the names within are the same each time, and blanks are kept."""
    drawing = _MARKS.sub(f"jobctl-{name}", _FONTS.sub("", drawing)).replace(
        "Fira Code, monospace", "monospace"
    )
    # Some viewers leave out what looks blank at the begin of a text, and columns no longer stand in line.
    drawing = drawing.replace("<text ", '<text xml:space="preserve" ')
    tidy = "".join(f"{line.rstrip()}\n" for line in drawing.splitlines() if line.strip())
    (_IMAGES / f"{name}.svg").write_text(tidy)
    print(f"docs/img/{name}.svg")


def _on_terminal(arguments: tuple[str, ...], environment: dict[str, str]) -> str:
    """What the program writes on a terminal, its control sequences included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _SIZE[1], _SIZE[0], 0, 0))
    surroundings = {name: value for name, value in environment.items() if name not in {"COLUMNS", "NO_COLOR"}}
    process = subprocess.Popen(
        [_PROGRAM, *arguments],
        env={**surroundings, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=_PLACE,
    )
    os.close(theirs)
    seen = b""
    with suppress(OSError):
        while chunk := os.read(ours, 65_536):
            seen += chunk
    os.close(ours)
    process.wait()
    return seen.decode()


if __name__ == "__main__":
    main()
