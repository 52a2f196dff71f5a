"""Other job systems, each in processes of its own, in an environment made for one benchmark.

What a peer is asked to do is in ``bench_peers``. All have the durability that jobctl has: SQLite in
WAL mode with ``synchronous=FULL``, PostgreSQL as it comes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_REQUIREMENTS = _HERE / "bench_peers_requirements.txt"
_ANSWER_WITHIN_S = 600

Measured = dict[str, float | str]
"""What was measured, by row; a text where a peer does not do it, and why."""


@dataclass(frozen=True)
class Peer:
    """One of them: its adapter ``bench_peers/with_<name>.py`` and what it does not do."""

    name: str
    database: str
    does_not: Mapping[str, str] = field(default_factory=dict)
    rescues_at_start: bool = False
    """A job is taken up only by a worker that is started anew."""


PEERS = (
    Peer(
        "huey",
        "sqlite",
        {"bulk": "does not", "rescue": "does not: what is taken is deleted, and lost with its worker"},
    ),
    Peer(
        "litequeue",
        "sqlite",
        {
            "pick-up": "does not: it has no worker",
            "rescue": "does not: its user looks for what is locked too long",
        },
    ),
    Peer(
        "procrastinate", "postgresql", {"rescue": "does not: a task of one's own has to retry stalled jobs"}
    ),
    Peer("pgqueuer", "postgresql"),
    Peer("chancy", "postgresql"),
    Peer("dbos", "postgresql", rescues_at_start=True),
)


class Contestants:
    """The environment in which peers run, and what it can have them do."""

    def __init__(self, directory: Path, python: str) -> None:
        self._directory = directory
        self._python = python

    def ask(self, peer: Peer, action: str, url: str, *words: object) -> dict[str, Any]:
        """Have a peer do something, and what it told. Ends the program where the peer could not."""
        with self._log() as log, self._start(peer, action, url, *words, log=log) as process:
            try:
                out, _ = process.communicate(timeout=_ANSWER_WITHIN_S)
            except subprocess.TimeoutExpired:
                sys.exit(f"{peer.name} did not finish {action} in {_ANSWER_WITHIN_S} s")
        return self._answer(peer, action, out)

    @contextmanager
    def serving(self, peer: Peer, url: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker of a peer, killed at the end."""
        with self._log() as log, self._start(peer, "serve", url, log=log) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield process

    @contextmanager
    def _start(
        self, peer: Peer, action: str, url: str, *words: object, log: Any
    ) -> Iterator[subprocess.Popen[bytes]]:
        command = [self._python, str(_HERE / "bench_peers" / "contest.py"), peer.name, action, url]
        process = subprocess.Popen(
            [*command, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=self._directory,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # Some start processes of their own.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def _log(self) -> Any:
        return open(self._directory / "peers.log", "ab")

    def _answer(self, peer: Peer, action: str, out: bytes) -> dict[str, Any]:
        lines = [line for line in out.splitlines() if line.startswith(b"{")]
        if not lines:
            said = (self._directory / "peers.log").read_text(errors="replace")[-2_000:]
            sys.exit(f"{peer.name} could not {action}:\n{said}")
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer


def install(directory: Path) -> Contestants:
    """Make the environment: the pinned versions, checked by hash. It goes with the directory."""
    uv = str(Path(sys.executable).with_name("uv"))
    place = directory / "peers"
    python = str(place / "bin" / "python")
    print("installing the peers", file=sys.stderr, flush=True)
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes"]
    subprocess.run([*install, "--requirements", str(_REQUIREMENTS)], check=True)
    return Contestants(directory, python)


def measure_rescue(
    contestants: Contestants, peer: Peer, url: str, directory: Path, longest_s: float
) -> float | str:
    """Seconds from kill -9 of a worker to its job running again."""
    signs = Path(tempfile.mkdtemp(dir=directory))
    with contestants.serving(peer, url) as first:
        contestants.ask(peer, "begin", url, signs)
        _until(lambda: bool(os.listdir(signs)), 60)
        if peer.rescues_at_start:
            return _killed(first, signs, longest_s, lambda: contestants.serving(peer, url))
        with contestants.serving(peer, url):
            # So that the other one is at work, and not merely started.
            time.sleep(5)
            return _killed(first, signs, longest_s, None)


def _killed(worker: subprocess.Popen[bytes], signs: Path, longest_s: float, restart: Any) -> float | str:
    os.killpg(worker.pid, signal.SIGKILL)
    began = time.monotonic()
    if restart is None:
        came = _until(lambda: len(os.listdir(signs)) > 1, longest_s)
    else:
        with restart():
            came = _until(lambda: len(os.listdir(signs)) > 1, longest_s)
    return time.monotonic() - began if came else f"not within {longest_s:g} s"


def _until(condition: Any, longest_s: float) -> bool:
    deadline = time.monotonic() + longest_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
