"""The journal of dual writing: which jobs a store has still to learn of, noted where no database is needed.

One file a process, one line a note. What makes a difference after a crash is synced before anybody goes
on; a line that was cut short is none.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from threading import Lock
from typing import Any

from jobctl import clock
from jobctl.model.job import Executor
from jobctl.model.shadow import Compared, Differing, ShadowState
from jobctl.model.timestamps import format_timestamp, parse_timestamp
from jobctl.outputs import effects

_LIVE, _LOST = ".journal", ".lost"
_MOST_TOLD = 100
_LONG = 1 << 20


class ShadowJournal:
    """This process's own journal in a directory, which is made where it is not there. Raises ``OSError``."""

    def __init__(self, directory: str, executor: Executor, *, reads: str, store: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self.directory = directory
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._turn = Lock()
        self._dirty: set[str] = set()
        self._bytes = 0
        self._begun = {
            "begun": _now(),
            "executor": executor._asdict(),
            "reads": reads,
            "store": store,
        }
        name = f"{executor.pid}-{executor.pid_start}-{os.urandom(4).hex()}{_LIVE}"
        self._name = name
        self._file = effects.create_file(self._directory, name)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._append(self._begun)
        effects.fsync_directory(self._directory)

    @property
    def dirty(self) -> set[str]:
        """The ids the store has still to learn of."""
        with self._turn:
            return set(self._dirty)

    def mark(self, job_ids: Collection[str]) -> None:
        """Note that the store has still to learn of these, before their change is told to have been made."""
        with self._turn:
            new = [job_id for job_id in job_ids if job_id not in self._dirty]
            if new:
                self._dirty.update(new)
                self._append({"dirty": new})

    def clear(self, job_ids: Collection[str]) -> None:
        """Note that it knows of these."""
        with self._turn:
            known = [job_id for job_id in job_ids if job_id in self._dirty]
            if known:
                self._dirty.difference_update(known)
                self._append({"clean": known})

    def note(self, *, refused: int, compared: Compared | None) -> None:
        """Keep how often the store refused what the dict took, and what the last comparison came to."""
        told: dict[str, Any] = {"refused": refused}
        if compared is not None:
            told["compared"] = {**asdict(compared), "differing": compared.differing[:_MOST_TOLD]}
            told["more"] = max(0, len(compared.differing) - _MOST_TOLD)
            told["at"] = _now()
        with self._turn:
            if self._bytes > _LONG and not self._dirty:
                self._shorten()
            self._append(told)

    def close(self) -> None:
        """Note that the process ended as it should. With nothing dirty there is nothing left to tell."""
        with self._turn:
            if self._file < 0:
                return
            if self._dirty:
                self._append({"closed": True})
            else:
                with suppress(FileNotFoundError):
                    effects.unlink(self._directory, self._name)
            os.close(self._file)
            os.close(self._directory)
            self._file = -1

    def _append(self, told: dict[str, Any]) -> None:
        line = json.dumps(told).encode() + b"\n"
        effects.write_all(self._file, line)
        effects.fsync_file(self._file)
        self._bytes += len(line)

    def _shorten(self) -> None:
        """Begin the file anew, which loses nothing while nothing is dirty."""
        effects.truncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._bytes = 0
        self._append(self._begun)


def read_journals(directory: str) -> list[ShadowState]:
    """What every process has told there, and what was dirty when it died. Raises ``OSError``."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    states = (_read(os.path.join(directory, name)) for name in names if name.endswith((_LIVE, _LOST)))
    return [state for state in states if state is not None]


def take_over(directory: str) -> Iterator[ShadowState]:
    """The processes that died with something dirty; each is given once, and its journal kept as ``.lost``."""
    for state in read_journals(directory):
        if not state.is_lost or state.path.endswith(_LOST):
            continue
        with suppress(FileNotFoundError):
            if state.dirty:
                kept = state.path.removesuffix(_LIVE) + _LOST
                os.rename(state.path, kept)
                state.path = kept
                yield state
            else:
                os.unlink(state.path)


def _read(path: str) -> ShadowState | None:
    try:
        with open(path, "rb") as file:
            notes = list(_notes(file))
            is_held = _is_held(file.fileno())
        state = _begun(path, notes[0])
        for note in notes[1:]:
            _tell(state, note)
    except (FileNotFoundError, IndexError, KeyError, TypeError, ValueError):
        return None
    state.is_lost = path.endswith(_LOST) or state.is_closed or not is_held
    return state


def _is_held(file: int) -> bool:
    """Whether the process that keeps a journal lives, in whatever container: the kernel drops its lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _notes(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.endswith(b"\n"):
            with suppress(ValueError):
                yield json.loads(line)


def _begun(path: str, note: dict[str, Any]) -> ShadowState:
    begun = parse_timestamp(note["begun"])
    return ShadowState(path, Executor(**note["executor"]), begun, note["reads"], note["store"])


def _tell(state: ShadowState, note: dict[str, Any]) -> None:
    state.dirty.update(note.get("dirty", ()))
    state.dirty.difference_update(note.get("clean", ()))
    state.refused = note.get("refused", state.refused)
    state.is_closed = note.get("closed", state.is_closed)
    found = note.get("compared")
    if found is not None:
        make: Callable[[Iterable[str]], Differing] = Differing._make
        state.compared = Compared(**{**found, "differing": [make(each) for each in found["differing"]]})
        state.compared.differing += [Differing("…", "not told one by one")] * note["more"]
        state.compared_at = parse_timestamp(note["at"])


def _now() -> str:
    return format_timestamp(clock.now())
