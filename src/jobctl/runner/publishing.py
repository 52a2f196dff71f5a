"""What a worker answers when an attempt wants to publish: the fence between attempts and their files.

A publication is recorded before the rename and accepted after it, each time only for the attempt
that holds the job. An attempt that was stopped in between and comes back can give its file a name,
but nobody calls that file the job's: it bears another checksum, and the next one moves it aside.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from jobctl.errors import JobctlError, Locked, PublishRefused, StaleJob, StoreUnreachable
from jobctl.model.attempts import AttemptId
from jobctl.model.commands import shell_word
from jobctl.model.files import Role
from jobctl.ops.rescue import video_fields
from jobctl.ops.site import Site
from jobctl.ops.supersede import finish_superseding, supersede
from jobctl.outputs.stamp import read_stamp
from jobctl.runner.crew import Told
from jobctl.store import jobs, roots, workers
from jobctl.store.engine import Connection
from jobctl.store.roots import RootRow

_UNKNOWN = "what it asks is not known"


class Answer(NamedTuple):
    """What an attempt is told: ``ok`` and a value, or the code of an error and its words."""

    kind: str
    value: Any = None


class Place(NamedTuple):
    """A path below a registered root."""

    root: RootRow
    path: str


class _File(NamedTuple):
    """A file as an attempt tells of it."""

    path: str
    role: str
    size: int
    sha256: str | None
    mtime_ns: int = 0
    duration_s: float | None = None


class Desk:
    """Answers the questions of attempts."""

    def __init__(self, site: Site, actor: str) -> None:
        self._site = site
        self._actor = actor
        self._handlers: Mapping[str, Callable[..., None]] = {
            "place": self._expect_place,
            "room": self._make_room,
            "offer": self._offer,
            "published": self._accept,
            "withdraw": self._withdraw,
            "artifact": self._note,
        }

    def answer(self, told: Told) -> Answer | None:
        """The answer; ``None`` where it can only be given later. Raises ``StoreUnreachable``."""
        handler = self._handlers.get(told.what)
        try:
            if handler is None:
                raise PublishRefused(_UNKNOWN, hint="install the same version of jobctl everywhere")
            handler(told.of, *told.words)
        except Locked:
            return None
        except StoreUnreachable:
            raise
        except JobctlError as error:
            kind = StaleJob.code if isinstance(error, StaleJob) else PublishRefused.code
            return Answer(kind, {"message": error.message, "hint": error.hint})
        # Whatever it asks for, it must not end its worker.
        except Exception as error:  # noqa: BLE001
            return Answer(PublishRefused.code, {"message": str(error), "hint": "see the handler"})
        return Answer("ok")

    def _expect_place(self, of: AttemptId, path: str, role: str) -> None:
        """Refuse a file that could not be recorded, before it is touched."""
        with self._site.store.read() as connection:
            workers.expect_current(connection, of, locks=False)
            place = self._place(connection, path)
        _role(role)
        finish_superseding(self._site, place.root.root_id, job_id=of.job_id)

    def _make_room(self, of: AttemptId, path: str) -> None:
        """Free a name that something of this very job has; anything else keeps it."""
        with self._site.store.read() as connection:
            workers.expect_current(connection, of, locks=False)
            place = self._place(connection, path)
            # What this very attempt offers says nothing of what lies there now.
            known = {(file.root_id, file.path) for file in jobs.artifacts_of(connection, of.job_id)}
        is_own = (place.root.root_id, place.path) in known
        if not is_own and _job_in_stamp(path) != of.job_id:
            raise PublishRefused(
                f"{path} is there already, and nothing shows that it is of job {of.job_id}; it was left",
                hint="see whose it is: jobctl scan",
            )
        reason = f"attempt {of.attempt} publishes this file anew"
        supersede(self._site, place.root.root_id, place.path, job_id=of.job_id, reason=reason)

    def _offer(self, of: AttemptId, *words: Any) -> None:
        store, file = self._site.store, _File(*words)
        with store.write() as connection:
            workers.offer(connection, self._offered(connection, of, file), at=store.now(connection))

    def _accept(self, of: AttemptId, *words: Any) -> None:
        store, file = self._site.store, _File(*words)
        with store.write() as connection:
            offer = self._offered(connection, of, file)
            workers.accept(
                connection,
                offer,
                actor=self._actor,
                at=store.now(connection),
                mtime_ns=file.mtime_ns,
                media=_media(file.duration_s),
                fields=self._job_fields(offer),
            )

    def _note(self, of: AttemptId, path: str, role: str, *words: Any) -> None:
        """Record a file as it lies there; its bytes are not vouched for."""
        if role == Role.VIDEO:
            raise PublishRefused(
                f"{path} was not recorded: a video is checked before it is its job's",
                hint="attempt.publish(made, final) checks it and gives it its name",
            )
        size, mtime_ns = words
        self._accept(of, path, role, size, None, mtime_ns)

    def _withdraw(self, of: AttemptId, path: str) -> None:
        with self._site.store.write() as connection:
            workers.expect_current(connection, of)
            place = self._place(connection, path)
            workers.withdraw(connection, of.job_id, place.root.root_id, place.path)

    def _offered(self, connection: Connection, of: AttemptId, file: _File) -> workers.Offer:
        place = self._place(connection, file.path)
        return workers.Offer(
            *of, place.root.root_id, place.path, _role(file.role), int(file.size), file.sha256
        )

    def _place(self, connection: Connection, path: str) -> Place:
        """Where below the registered roots a path lies. Raises ``PublishRefused``."""
        directory = os.path.realpath(os.path.dirname(path))
        real = os.path.join(directory, os.path.basename(path))
        for row in roots.get_roots(connection):
            below = os.path.relpath(real, row.path)
            if below.partition("/")[0] == ".jobctl":
                raise PublishRefused(f"{path} lies in jobctl's own directory", hint="publish it elsewhere")
            if below != "." and not below.startswith("..") and row.host in {None, self._site.host}:
                return Place(row, below)
        raise PublishRefused(
            f"{path} does not lie below a registered root; it was left where it is",
            hint=f"register its directory: jobctl init --root {shell_word(directory)}",
        )

    def _job_fields(self, offer: workers.Offer) -> Mapping[str, Any]:
        settings = self._site.settings
        if offer.role == Role.VIDEO:
            return video_fields(settings, offer)
        if offer.role == Role.THUMBNAIL:
            return {"thumbnail_url": settings.thumbnail_url_form.format(job_id=offer.job_id)}
        return {}


def _role(name: str) -> str:
    if name not in set(Role):
        raise PublishRefused(
            f"{name!r} is no role of a file; it was left where it is", hint=f"roles: {', '.join(Role)}"
        )
    return Role(name).value


def _media(duration_s: Any) -> dict[str, float] | None:
    """What is known of a video's content; what a handler wrote that is no length is none."""
    is_length = type(duration_s) is float and 0 < duration_s < math.inf
    return {"duration_s": duration_s} if is_length else None


def _job_in_stamp(path: str) -> str | None:
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            stamp = read_stamp(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)
        return stamp.job_id if stamp else None
    return None
