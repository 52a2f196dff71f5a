"""The program under fault: start the launcher, give it orders, read what came of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self


@dataclass
class Ended:
    """How one run of the program ended."""

    returncode: int
    stdout: str
    stderr: str
    effects: list[str]


class Program:
    """A launcher that stays up for a whole test."""

    def __init__(self, work: Path, launcher: str = "launcher.py") -> None:
        self.work = work
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name(launcher))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def run(
        self, *argv: str, fault: dict[str, Any] | None = None, variant: str | None = None, **env: str
    ) -> Ended:
        """Run ``jobctl argv…`` to its end, with at most one effect replaced by a fault.

        ``variant`` names a deliberately wrong one.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        places = {name: self.work / name for name in ("stdout", "stderr", "log")}
        places["log"].unlink(missing_ok=True)
        order = {
            "argv": argv,
            "fault": fault,
            "variant": variant,
            "env": env,
            **{name: str(path) for name, path in places.items()},
        }
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        ended = json.loads(self.process.stdout.readline())
        log = places["log"].read_text().splitlines() if places["log"].exists() else []
        return Ended(
            ended["returncode"],
            places["stdout"].read_text(errors="replace"),
            places["stderr"].read_text(errors="replace"),
            [line.split(" ", 1)[1] for line in log],
        )
