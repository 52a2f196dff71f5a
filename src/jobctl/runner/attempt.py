"""What a handler is given: its job, and the ways to tell the worker how it goes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from jobctl import clock
from jobctl.core.layout import TEMPORARY_END
from jobctl.errors import JobctlError, PublishRefused, StaleJob
from jobctl.model.attempts import AttemptId
from jobctl.model.files import Role
from jobctl.outputs.publish import Published, publish

_PROGRESS_EVERY_S = 0.05
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
        self._told_at = 0.0
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
        """Tell how far the attempt has come, from 0 to 1, and what it is at. Costs nothing to call often."""
        now = clock.monotonic()
        if now - self._told_at >= _PROGRESS_EVERY_S or fraction >= 1:
            self._told_at = now
            self._link.tell(["progress", self.job_id, self.number, float(fraction) * 100, note])

    def stop_if_cancelled(self) -> None:
        """Raise ``Cancelled`` where the attempt was asked to stop."""
        if self.cancelled:
            raise Cancelled("the attempt was asked to stop")

    def artifact(self, path: str | os.PathLike[str], role: str) -> None:
        """Record a file below a registered root as the job's.

        Roles: video, thumbnail, slide, avatar, intermediate, sidecar. Raises ``StaleJob``, and
        ``PublishRefused`` for a file that cannot be recorded.
        """
        place = os.path.abspath(path)
        found = os.stat(place)
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
        anywhere, in ``scratch`` say. What an earlier attempt left under the name is moved into
        quarantine first. Raises ``PublishRefused``, and ``StaleJob`` where this attempt no longer
        holds the job: nothing of it counts then.
        """
        target = os.path.abspath(final)
        source = _beside(os.path.abspath(temporary), target, self)
        try:
            published = publish(
                source,
                target,
                job_id=self.job_id,
                sidecar=sidecar,
                is_video=role == Role.VIDEO,
                make_room=lambda: self._ask(["room", target]),
                before_rename=lambda ready: self._ask(["offer", target, role, ready.size, ready.sha256]),
            )
        except PublishRefused:
            self._ask(["withdraw", target])
            raise
        self._ask(["published", target, role, published.size, published.sha256, os.stat(target).st_mtime_ns])
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
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _ask(self, message: list[Any]) -> Any:
        return self._link.ask([message[0], self.job_id, self.number, *message[1:]])


class _Named(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"job {(self.extra or {})['job']}: {msg}", kwargs


def _beside(source: str, target: str, attempt: Attempt) -> str:
    """The file in the directory of its target, under a hidden name; moved there, or copied."""
    directory = os.path.dirname(target)
    if os.path.dirname(source) == directory:
        return source
    os.makedirs(directory, exist_ok=True)
    fd, hidden = tempfile.mkstemp(
        prefix=f".{attempt.job_id[:60]}.{attempt.number}.", suffix=TEMPORARY_END, dir=directory
    )
    os.close(fd)
    try:
        os.rename(source, hidden)
    except OSError:
        shutil.copyfile(source, hidden)
        os.unlink(source)
    return hidden


def answer_of(reply: list[Any]) -> Any:
    """The value of an answer. Raises the error that it stands for."""
    _, _, kind, value = reply
    if kind == "ok":
        return value
    error: type[JobctlError] = StaleJob if kind == StaleJob.code else PublishRefused
    raise error(value["message"], hint=value["hint"])
