"""Blocking calls in threads, so many at once and no longer than is reasonable: the loop never blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from jobctl.web.refusals import Refusal

T = TypeVar("T")


class Calls:
    """A few threads, and a bounded number of calls that wait for them."""

    def __init__(self, name: str, *, threads: int, queued: int, patience_s: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"jobctl-{name}")
        self._most = threads + queued
        self._patience_s = patience_s
        self._open = 0
        self._lock = threading.Lock()

    async def run(
        self,
        call: Callable[..., T],
        *arguments: object,
        discard: Callable[[T], None] | None = None,
        patience_s: float | None = None,
    ) -> T:
        """What a call gives. ``discard`` gets a result that comes when nobody waits for it any more.

        ``patience_s``: how long it may take, if not as long as any.

        Raises ``Refusal`` where too many calls wait already, or this one takes too long.
        """
        with self._lock:
            if self._open >= self._most:
                raise Refusal.busy("more is asked than this server can answer at the moment")
            self._open += 1
        try:
            future = self._pool.submit(call, *arguments)
        except RuntimeError:
            self._ended(None)
            raise _stopping() from None
        future.add_done_callback(self._ended)
        try:
            await _end_of(future, patience_s or self._patience_s)
        except asyncio.CancelledError:
            self._abandon(future, discard)
            raise
        if not future.done():
            self._abandon(future, discard)
            raise Refusal.busy("the answer takes too long")
        try:
            return future.result()
        except CancelledError:
            raise _stopping() from None

    def soon(self, call: Callable[[], None]) -> None:
        """Do something in a thread whenever there is one, without waiting for it."""
        try:
            self._pool.submit(call)
        except RuntimeError:
            call()

    def close(self) -> None:
        """Take no more; what runs is let go on."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, _future: Future[T] | None) -> None:
        with self._lock:
            self._open -= 1

    def _abandon(self, future: Future[T], discard: Callable[[T], None] | None) -> None:
        if future.cancel() or discard is None:
            return

        def late(ended: Future[T]) -> None:
            with suppress(Exception):
                discard(ended.result())

        future.add_done_callback(late)


async def _end_of(future: Future[Any], patience_s: float) -> None:
    """Wait for a call's end, or until patience is over.

    As ``wait_for(shield(wrap_future(future)))``, of which each waits a turn of the loop for the next one:
    for most calls they would take longer than the thread.
    """
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def wake() -> None:
        if not ended.done():
            ended.set_result(None)

    def call(_future: Future[Any]) -> None:
        # Where the loop is closed nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(wake)

    future.add_done_callback(call)
    timer = loop.call_later(patience_s, wake)
    try:
        await ended
    finally:
        timer.cancel()


def _stopping() -> Refusal:
    return Refusal.busy("this server is about to stop")
