"""Ways to call the program: in this process, as installed, and on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from jobctl import clock
from jobctl.cli.app import make_app

_PATIENCE_S = 120.0
PROGRAM = str(Path(sys.executable).with_name("jobctl"))
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def call(*arguments: str, database: str | None = None, **options: Any) -> Result:
    """Call the program in this process; stdout is no terminal there."""
    at = ["--database", database] if database else []
    return CliRunner().invoke(make_app(), [*arguments, *at], **options)


def answer(*arguments: str, database: str | None = None) -> dict[str, Any]:
    """What the program answers with ``--json``: exactly one object."""
    result = call(*arguments, "--json", database=database)
    document = json.loads(result.stdout)
    assert document["exit_code"] == result.exit_code
    assert result.stdout.endswith("}\n")
    return dict(document)


def commands_in(said: str) -> list[list[str]]:
    """The words of each command that a message names, after the program's own name."""
    return [shlex.split(found)[1:] for found in re.findall(r"jobctl [^;]+", said)]


@dataclass
class Shown:
    """What a terminal showed, as it came (``raw``) and without its control sequences (``text``)."""

    returncode: int
    raw: str

    @property
    def text(self) -> str:
        return _CONTROL.sub("", self.raw).replace("\r", "")


def installed(*arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Run the installed program without a terminal."""
    return subprocess.run(
        [PROGRAM, *arguments],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def on_terminal(
    *arguments: str, width: int = 80, typed: bytes = b"", env: Mapping[str, str] | None = None
) -> Shown:
    """Run the installed program on a real terminal; ``typed`` is typed once it asks."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    surroundings = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        env={**surroundings, "TERM": "xterm-256color", "TZ": "UTC", **(env or {})},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while chunk := read(ours):
        seen += chunk
        if typed and b"[y/N]" in seen:
            os.write(ours, typed)
            typed = b""
    os.close(ours)
    return Shown(process.wait(), seen.decode())


def read_until(terminal: int, words: bytes, seen: bytes = b"") -> bytes:
    """Read what a program shows on its terminal until it shows these words; what was shown by then."""
    deadline = clock.monotonic() + _PATIENCE_S
    while words not in seen:
        left_s = deadline - clock.monotonic()
        assert left_s > 0, seen[-4000:]
        if select.select([terminal], [], [], left_s)[0]:
            chunk = read(terminal)
            assert chunk, seen[-4000:]
            seen += chunk
    return seen


def read(fd: int) -> bytes:
    """What a terminal shows next; nothing when its program has ended."""
    try:
        return os.read(fd, 65_536)
    except OSError:  # how Linux says that the other side of a terminal is closed
        return b""
