"""What all routes work on: the store, opened when it is first needed, and who waits for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from jobctl import clock
from jobctl.errors import JobctlError
from jobctl.model.job_summary import JobSummary, Where
from jobctl.ops import whereabouts as operations
from jobctl.ops.handout import Proven
from jobctl.ops.serving import NamedTasks
from jobctl.ops.site import Site, open_site
from jobctl.settings import Settings
from jobctl.web.calls import Calls
from jobctl.web.limits import Limits
from jobctl.web.refusals import Refusal
from jobctl.web.tokens import Tokens
from jobctl.web.waiting import Reader, Watcher

if TYPE_CHECKING:
    from jobctl.ops.whereabouts import QuickLooks

T = TypeVar("T")
_COME_BACK_S = 10
_READERS = 4
_CHECKERS = 2
_LOOKERS = 2


class Api:
    """One store as clients see it. ``task``: what a POST enqueues."""

    def __init__(self, settings: Settings, *, task: str, tokens: Tokens | None, limits: Limits) -> None:
        self.settings = settings
        self.task = task
        self.named = NamedTasks()
        self.tokens = tokens
        self.limits = limits
        self.proven = Proven()
        self.calls = Calls(
            "store", threads=limits.calls, queued=limits.queued_calls, patience_s=limits.call_s
        )
        self.checks = Calls("check", threads=_CHECKERS, queued=limits.downloads, patience_s=limits.check_s)
        self.reads = Calls("read", threads=_READERS, queued=limits.downloads, patience_s=limits.call_s)
        self.looks = Calls("look", threads=_LOOKERS, queued=limits.queued_calls, patience_s=limits.call_s)
        """For what looks at disks: one that hangs must not take the threads that ask the store."""
        self.reader = Reader(self._look_quickly)
        self.watcher = Watcher(self._look, most=limits.waiters, every_s=limits.look_every_s)
        self.downloads = 0
        self._site: Site | None = None
        self._quick: QuickLooks | None = None
        self._trouble: tuple[JobctlError, float] | None = None
        self._lock = threading.Lock()

    async def call(self, operation: Callable[..., T], *arguments: Any) -> T:
        """What an operation on the store gives, from a thread."""
        return await self.calls.run(self.do, operation, *arguments)

    def do(self, operation: Callable[..., T], *arguments: Any) -> T:
        """The same in the thread that asks; the store is opened if it is not. Raises what it raises."""
        return operation(self.site(), *arguments)

    def site(self) -> Site:
        """The opened store. Raises the errors of ``open_site``."""
        asked_at = clock.monotonic()
        with self._lock:
            if self._site is None:
                self._site = self._open(asked_at)
                self._quick = operations.quick_looks(self._site)
            return self._site

    async def summary(self, job_id: str) -> JobSummary:
        """How a job stands. Raises ``Refusal`` for one that is gone, lost, unknown or being recovered."""
        found = await self.reader.get(job_id)
        if found is None:
            refusal = await self._why_unrecorded(job_id)
            # A recovery may have made its record just now.
            found = await self.reader.get(job_id)
            if found is None:
                raise refusal
        return found

    async def refusal_of_expired(self, summary: JobSummary) -> Refusal:
        """The answer for a job that has expired."""
        since = await self.call(operations.gone_since, summary)
        return _gone(summary.job_id, f"job {summary.job_id} has expired", since)

    def stop(self) -> None:
        """Let go who waits; from now on nobody waits any more."""
        self.watcher.stop()

    def close(self) -> None:
        """Let go of the store."""
        self.stop()
        for calls in (self.calls, self.checks, self.reads, self.looks):
            calls.close()
        with self._lock:
            if self._quick is not None:
                self._quick.close()
            if self._site is not None:
                self._site.store.close()
            self._site = self._quick = None

    def _open(self, asked_at: float) -> Site:
        """Open the store; who waited while somebody else tried in vain is told so at once."""
        if self._trouble is not None and self._trouble[1] >= asked_at:
            raise self._trouble[0]
        try:
            return open_site(self.settings, actor=f"web on {os.uname().nodename}", pooled=True)
        except JobctlError as error:
            self._trouble = error, clock.monotonic()
            raise

    async def _look(self, job_ids: Sequence[str]) -> dict[str, JobSummary]:
        return await self.call(operations.summaries_of, job_ids)

    async def _look_quickly(self, job_ids: Sequence[str]) -> dict[str, JobSummary]:
        """The same for who reads. Of one job only: a look for many costs each of them little anyway."""
        if self._quick is not None and len(job_ids) == 1:
            found = await self._quick.look(job_ids[0])
            if found is not None:
                return found
        return await self._look(job_ids)

    async def _why_unrecorded(self, job_id: str) -> Refusal:
        known = await self.looks.run(self.do, operations.whereabouts, job_id)
        if known.where is Where.GONE:
            return _gone(job_id, known.said, known.since)
        if known.where is Where.RECOVERING:
            return Refusal(
                503,
                known.where.value,
                known.said,
                hint="keep asking: it is not lost",
                job_id=job_id,
                headers={"Retry-After": str(_COME_BACK_S)},
            )
        code = "unknown-job" if known.where is Where.UNKNOWN else known.where.value
        return Refusal(404, code, known.said, hint="check the id, or enqueue the job anew", job_id=job_id)


def _gone(job_id: str, said: str, since: Any) -> Refusal:
    return Refusal(410, "gone", said, hint="enqueue the job anew", job_id=job_id, since=since)
