"""Ask the store for many clients at once: one query answers all who ask, one tells all who wait.

A thousand impatient clients cost the database as much as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from jobctl.model.job_summary import JobSummary
from jobctl.web.answers import etag_of
from jobctl.web.refusals import Refusal

Look = Callable[[Sequence[str]], Awaitable[dict[str, JobSummary]]]
_SHARE = 10
"""The database is idle for us this many times as long as it works for those who wait."""


class Reader:
    """Answers who asks for one job. Whoever asks while a query runs is answered by the next one.

    So an answer is never older than its request.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._asked: dict[str, list[asyncio.Future[JobSummary | None]]] = {}
        self._is_at_work = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, job_id: str) -> JobSummary | None:
        """How a job stands; ``None`` where it has no record. Raises what the store raises."""
        future = asyncio.get_running_loop().create_future()
        self._asked.setdefault(job_id, []).append(future)
        if not self._is_at_work:
            self._is_at_work = True
            task = asyncio.ensure_future(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        found: JobSummary | None = await future
        return found

    async def _work(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                await self._answer(asked)
        finally:
            self._is_at_work = False

    async def _answer(self, asked: dict[str, list[asyncio.Future[JobSummary | None]]]) -> None:
        try:
            found = await self._look(list(asked))
        except asyncio.CancelledError:
            for future in chain(*asked.values()):
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - each of them raises it
            for future in chain(*asked.values()):
                if not future.done():
                    future.set_exception(error)
        else:
            for job_id, futures in asked.items():
                for future in futures:
                    if not future.done():
                        future.set_result(found.get(job_id))


class _Waiter(NamedTuple):
    summary: JobSummary
    future: asyncio.Future[JobSummary | None]


class Watcher:
    """Tells those who wait once their job is no longer as they know it."""

    def __init__(self, look: Look, *, most: int, every_s: float) -> None:
        self._look = look
        self._most = most
        self._every_s = every_s
        self._waiters: dict[int, _Waiter] = {}
        self._places = 0
        self._is_at_work = False
        self._is_stopped = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_stopped(self) -> bool:
        return self._is_stopped

    def take_place(self) -> bool:
        """Take one of the places for those who wait, to be given back; ``False`` where none is free."""
        if self._is_stopped or self._places >= self._most:
            return False
        self._places += 1
        return True

    def give_back(self) -> None:
        """Let somebody else wait."""
        self._places -= 1

    async def wait(self, summary: JobSummary, timeout_s: float) -> JobSummary | None:
        """How the job stands once that is told differently, or ``summary`` after ``timeout_s``.

        ``None``: its record is gone. Returns early where the server stops.
        """
        if self._is_stopped:
            return summary
        future = asyncio.get_running_loop().create_future()
        waiter = _Waiter(summary, future)
        self._waiters[id(future)] = waiter
        if not self._is_at_work:
            self._is_at_work = True
            task = asyncio.ensure_future(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            found: JobSummary | None = await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return summary
        finally:
            self._waiters.pop(id(future), None)
        return found

    def stop(self) -> None:
        """Let everybody go who waits, with what they know."""
        self._is_stopped = True
        for waiter in list(self._waiters.values()):
            if not waiter.future.done():
                waiter.future.set_result(waiter.summary)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self._every_s
        try:
            while self._waiters:
                await asyncio.sleep(pause)
                began = loop.time()
                # Where the store is away they go on waiting: it may be back before their time is over.
                with suppress(Exception):
                    self._tell(
                        await self._look(sorted({each.summary.job_id for each in self._waiters.values()}))
                    )
                pause = max(self._every_s, _SHARE * (loop.time() - began))
        finally:
            self._is_at_work = False

    def _tell(self, found: dict[str, JobSummary]) -> None:
        for waiter in list(self._waiters.values()):
            now = found.get(waiter.summary.job_id)
            if not waiter.future.done() and (now is None or _is_told_otherwise(now, waiter.summary)):
                waiter.future.set_result(now)


def _is_told_otherwise(now: JobSummary, before: JobSummary) -> bool:
    """Whether the answer is another one. Most look the same, which is quickly seen."""
    return now != before and etag_of(now) != etag_of(before)


def no_place() -> Refusal:
    """The answer where too many wait already."""
    return Refusal.busy("as many clients wait here as this server can take")
