"""What a handler is given: its job, and the ways to tell the worker how it goes."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from jobctl import clock
from jobctl.errors import JobctlError, PublishRefused, StaleJob
from jobctl.model.attempts import AttemptId
from jobctl.model.files import Role
from jobctl.outputs.publish import Published, hidden_beside, publish
from jobctl.runner.scratch import remove

_PROGRESS_EVERY_S = 0.05
_LONGEST_PLAIN = 100
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_-]")
_log = logging.getLogger("jobctl.task")


class GiveUp(Exception):
    """Raised by a handler: the job has failed, and another attempt would fail as well."""


class Cancelled(Exception):
    """Raised by ``Attempt.stop_if_cancelled``: the attempt was asked to stop, and does."""


class Link(Protocol):
    """An attempt's way to its worker."""

    def tell(self, message: list[Any]) -> None:
        """Send a message that needs no answer."""

    def ask(self, message: list[Any]) -> Any:
        """Send a message and wait for its answer. Raises what the worker answers with."""


class Attempt:
    """One run of a job. Its number is the fencing token: once another began, its writes are refused."""

    def __init__(self, of: AttemptId, task: str, payload: str | None, link: Link, scratch: str) -> None:
        self.job_id = of.job_id
        self.number = of.attempt
        self.task = task
        self._payload = payload
        self._link = link
        self._scratch = scratch
        self._cancelled = threading.Event()
        self._on_stop: Callable[[], object] | None = None
        self._telling = threading.Lock()
        self._home = os.getpid()
        self._latest: list[Any] = []
        self._is_awaited = False
        self._told_at = float("-inf")
        self._has_scratch = False

    @property
    def payload(self) -> Any:
        """What the job was enqueued with, decoded anew each time."""
        return None if self._payload is None else json.loads(self._payload)

    @property
    def payload_text(self) -> str:
        """The payload as JSON."""
        return "null" if self._payload is None else self._payload

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop: by an operator, for its time limit, or for a restart."""
        return self._cancelled.is_set()

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that names job and attempt in each line."""
        return _Named(_log, {"job": f"{self.job_id} attempt {self.number}"})

    @property
    def scratch(self) -> str:
        """A directory of this attempt's own, removed when it ends."""
        os.makedirs(self._scratch, mode=0o700, exist_ok=True)
        self._has_scratch = True
        return self._scratch

    def progress(self, fraction: float, note: str | None = None) -> None:
        """Tell how far the attempt has come, from 0 to 1, and what it is at. Costs nothing to call often.

        Beyond these it is kept as it was told, and shown within them; what is no number tells nothing.
        """
        percent = float(fraction) * 100
        if not math.isfinite(percent):
            return
        if self._home != os.getpid():
            # Whoever was telling as this process was forked is not here, nor is what was to tell it later.
            self._telling, self._home, self._is_awaited = threading.Lock(), os.getpid(), False
        with self._telling:
            self._latest = [percent, note]
            is_awaited, self._is_awaited = self._is_awaited, True
            wait = 0.0 if fraction >= 1 else self._told_at + _PROGRESS_EVERY_S - clock.monotonic()
            if wait <= 0:
                self._tell_latest()
            elif not is_awaited:
                # Told for certain, also where the handler says nothing more for an hour.
                later = threading.Timer(wait, self._tell_awaited)
                later.daemon = True
                later.start()

    def _tell_awaited(self) -> None:
        with self._telling:
            if self._is_awaited:
                self._tell_latest()

    def _tell_latest(self) -> None:
        self._is_awaited = False
        self._told_at = clock.monotonic()
        self._link.tell(["progress", self.job_id, self.number, *self._latest])

    def stop_if_cancelled(self) -> None:
        """Raise ``Cancelled`` where the attempt was asked to stop."""
        if self.cancelled:
            raise Cancelled("the attempt was asked to stop")

    def artifact(self, path: str | os.PathLike[str], role: str) -> None:
        """Record a file below a registered root as the job's.

        Roles: thumbnail, slide, avatar, intermediate, sidecar; a video is checked, by ``publish``.
        Raises ``StaleJob``, and ``PublishRefused`` for a file that cannot be recorded.
        """
        place = os.path.abspath(path)
        found = os.lstat(place)
        if not stat.S_ISREG(found.st_mode):
            raise PublishRefused(
                f"{place} is no regular file; it was not recorded", hint="name the file itself"
            )
        self._link.ask(["artifact", self.job_id, self.number, place, role, found.st_size, found.st_mtime_ns])

    def publish(
        self,
        temporary: str | os.PathLike[str],
        final: str | os.PathLike[str],
        *,
        role: str = "video",
        sidecar: Mapping[str, Any] | None = None,
    ) -> Published:
        """Give the finished file ``temporary`` its name ``final`` below a registered root, and record it.

        It is checked, stamped with the job, and seen whole or not at all. ``temporary`` may lie
        anywhere, in ``scratch`` say, and is there still where nothing was published. What an earlier
        attempt left under the name is moved into quarantine first. Raises ``PublishRefused``,
        ``OSError`` where the disk fails, and ``StaleJob`` where this attempt no longer holds the
        job: nothing of it counts then.
        """
        source, target = os.path.abspath(temporary), os.path.abspath(final)
        # Asked before anything is touched there.
        self._ask(["place", target, role])
        with _beside(source, target) as hidden:
            try:
                published = publish(
                    hidden,
                    target,
                    job_id=self.job_id,
                    sidecar=sidecar,
                    is_video=role == Role.VIDEO,
                    make_room=lambda: self._ask(["room", target]),
                    before_rename=lambda ready: self._ask(["offer", target, role, ready.size, ready.sha256]),
                )
            except PublishRefused as error:
                self._ask(["withdraw", target])
                raise PublishRefused(error.message.replace(hidden, source), hint=error.hint) from None
        told = (published.size, published.sha256, os.stat(target).st_mtime_ns, published.duration_s)
        self._ask(["published", target, role, *told])
        return published

    def ask_to_stop(self) -> None:
        """Set ``cancelled``; called by whoever runs the attempt."""
        self._cancelled.set()
        if self._on_stop is not None:
            self._on_stop()

    def when_asked_to_stop(self, then: Callable[[], object]) -> None:
        """Call this, in another thread, once the attempt is asked to stop, also if that was before."""
        self._on_stop = then
        if self.cancelled:
            then()

    def clean_up(self) -> None:
        """Remove the scratch directory."""
        if self._has_scratch:
            remove(self._scratch)

    def _ask(self, message: list[Any]) -> Any:
        return self._link.ask([message[0], self.job_id, self.number, *message[1:]])


class _Named(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"job {(self.extra or {})['job']}: {msg}", kwargs


def as_file_name(job_id: str) -> str:
    """A job id as a part of a file name: itself where it can be, and never that of another job."""
    plain = _NOT_PLAIN.sub("_", job_id)
    if plain == job_id and len(plain) <= _LONGEST_PLAIN:
        return plain
    return f"{plain[:_LONGEST_PLAIN]}.{hashlib.sha256(job_id.encode(errors='replace')).hexdigest()[:16]}"


@contextmanager
def _beside(source: str, target: str) -> Iterator[str]:
    """The file in the directory of its target: moved there under a hidden name, or copied.

    Where the block raises, it is where it was given, and nothing is left beside the target.
    """
    directory = os.path.dirname(target)
    if os.path.dirname(source) == directory:
        yield source
        return
    os.makedirs(directory, exist_ok=True)
    hidden = hidden_beside(target)
    is_copy = _moved_or_copied(source, hidden)
    try:
        yield hidden
    except BaseException:
        with suppress(FileNotFoundError):
            if is_copy:
                os.unlink(hidden)
            else:
                os.rename(hidden, source)
        raise
    if is_copy:
        with suppress(FileNotFoundError):
            os.unlink(source)


def _moved_or_copied(source: str, hidden: str) -> bool:
    """Move a file, or copy it to another file system; whether it was copied."""
    with suppress(OSError):
        os.rename(source, hidden)
        return False
    try:
        shutil.copyfile(source, hidden)
        shutil.copymode(source, hidden)
    except BaseException:
        # On a full disk, what came of it is the first thing in the way of the next attempt.
        with suppress(FileNotFoundError):
            os.unlink(hidden)
        raise
    return True


def answer_of(reply: list[Any]) -> Any:
    """The value of an answer. Raises the error that it stands for."""
    _, _, kind, value = reply
    if kind == "ok":
        return value
    error: type[JobctlError] = StaleJob if kind == StaleJob.code else PublishRefused
    raise error(value["message"], hint=value["hint"])
