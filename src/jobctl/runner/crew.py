"""A worker's handle on the program that runs its handlers: what a crew can be told, and what it tells."""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from jobctl.core.settling import Died, Ending, Raised, Returned
from jobctl.model.attempts import AttemptId, Claim
from jobctl.model.storable import storable_text
from jobctl.runner.attempt import as_file_name
from jobctl.runner.channel import ChannelBroken, Message
from jobctl.runner.forkserver import spec_from_json
from jobctl.runner.link import WORKER_IS_GONE
from jobctl.runner.marks import Marks
from jobctl.runner.systemd import VARIABLES
from jobctl.work import TaskSpec, Work

_WORDS = {"place": 2, "room": 1, "offer": 4, "published": 6, "withdraw": 1, "artifact": 4}
"""What an attempt may ask, and how many words belong to it."""

NO_MESSAGE = (ChannelBroken, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of reading what a handler wrote into the channel of its process."""

_LONGEST_NOTE = 2_000
_MARK = "JOBCTL_CREW"

BABBLED = Raised("its process wrote what is no message to its worker", "died", "", is_final=False)
_HUNG_UP = Raised(
    "its process lost its channel to its worker: its handler closed it", "died", "", is_final=False
)


class Ended(NamedTuple):
    """An attempt ended."""

    of: AttemptId
    ending: Ending


class Told(NamedTuple):
    """An attempt said something; where ``number`` is set it waits for an answer."""

    of: AttemptId
    what: str
    number: int | None
    words: list[Any]


Report = Ended | Told


class Setup(NamedTuple):
    """What a crew is started with."""

    modules: tuple[str, ...]
    work: Work
    slots: int
    scratch: str


class Crew(Protocol):
    """Runs attempts. Nothing an attempt does reaches the worker but as a report."""

    setup: Setup
    pid: int
    """The process that runs its handlers, or forks those that do."""
    specs: Mapping[str, TaskSpec]
    troubles: Sequence[str]
    is_ready: bool
    is_over: bool

    def start(self, claims: Sequence[Claim]) -> None:
        """Begin attempts, or keep them until a slot is free; of one that is over, they are reported back."""

    def reports(self) -> list[Report]:
        """What happened since the last call."""

    def answer(self, of: AttemptId, number: int, kind: str, value: Any) -> None:
        """Answer what an attempt asked."""

    def ask_to_stop(self, of: AttemptId) -> None:
        """Let the handler know that it should stop."""

    def signal(self, of: AttemptId, number: int) -> None:
        """Signal an attempt and all it started."""

    def recall(self, why: str) -> None:
        """Have everything that was not begun reported as not begun, for that reason."""

    def kill(self) -> None:
        """End all of it, at once."""


class Shared(NamedTuple):
    """What a program that has the attempts in threads is given: descriptors that it inherits.

    ``worker`` can be read once the worker has ended.
    """

    marks: Marks
    worker: int


def launch(setup: Setup, end: socket.socket, shared: Shared | None = None) -> subprocess.Popen[bytes]:
    """Start the program that runs the handlers, in a session of its own; it talks to its crew over ``end``.

    A variable in its environment tells it, and what it starts, from all other processes.
    """
    overrides = {name: dict(fields) for name, fields in setup.work.overrides.items()}
    words = {"modules": setup.modules, "overrides": overrides, "threads": 0}
    mark = secrets.token_hex(8)
    inherited = [end.fileno()]
    if shared:
        inherited += [shared.marks.fd, shared.worker]
        words |= {"threads": setup.slots, "marks": shared.marks.fd}
        words |= {"worker": shared.worker, "bearing": f"{_MARK}={mark}"}
    return subprocess.Popen(
        [sys.executable, "-m", "jobctl.runner.forkserver", str(end.fileno()), json.dumps(words)],
        pass_fds=inherited,
        stdin=subprocess.DEVNULL,
        env={each: said for each, said in os.environ.items() if each not in VARIABLES} | {_MARK: mark},
        # A key pressed at the terminal is for the worker, which tells the attempts itself.
        start_new_session=True,
    )


def note_loaded(crew: Crew, message: Message) -> None:
    """Note a task that was found, or a trouble in finding it; after the last one the crew is ready."""
    what, *words = message
    if crew.is_ready:
        raise ValueError("handlers are imported once")
    if what == "task":
        crew.specs = {**crew.specs, **spec_from_json(words[0])}
    elif what == "trouble":
        crew.troubles = [*crew.troubles, str(words[0])]
    else:
        crew.is_ready = True


def scratch_of(base: str, of: AttemptId) -> str:
    """The scratch directory of an attempt; no job id can lead out of the base."""
    return os.path.join(base, f"{as_file_name(of.job_id)}.{of.attempt}")


def ending_in(message: Message) -> Ending | None:
    """How an attempt says it ended, where the message says that."""
    what, _, _, *words = message
    if what == "done":
        (result,) = words
        if not isinstance(result, str | None):
            raise TypeError("a result is JSON text")
        return Returned(result)
    if what == "failed":
        error, code, traceback, is_final = words
        return Raised(str(error), str(code), str(traceback), is_final=bool(is_final))
    return None


def told_in(of: AttemptId, message: Message) -> Told:
    """What else it says. Raises ``ValueError`` for what no attempt says, whatever handler wrote it."""
    what, _, _, *words = message
    if what == "progress":
        return Told(of, what, None, _progress(*words))
    number, *words = words
    if type(number) is not int or len(words) != _WORDS.get(str(what)):
        raise ValueError(f"no attempt says {what!r} like this")
    return Told(of, what, number, words)


def _progress(percent: Any, note: Any) -> list[Any]:
    said = None if note is None else storable_text(str(note)[:_LONGEST_NOTE])
    if not math.isfinite(percent):
        raise ValueError("progress is a number")
    return [float(percent), said]


def how_ended(status: int) -> str:
    """The end of a process in words, from its wait status."""
    code = os.waitstatus_to_exitcode(status)
    return f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"


def death_of(status: int, peak: int, *, was_oom: bool) -> Ending:
    """What the wait status of an attempt's process says of its end. ``peak``: its memory, in bytes."""
    code = os.waitstatus_to_exitcode(status)
    if code == WORKER_IS_GONE:
        return _HUNG_UP
    if code >= 0:
        return Died(None, code, peak, was_oom=was_oom)
    return Died(signal.Signals(-code).name, 0, peak, was_oom=was_oom)
