"""Many clients, one look: bounded threads, reads that are put together, and waiting that is shared."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from jobctl.errors import StoreUnreachable
from jobctl.model.job_summary import JobSummary
from jobctl.model.status import Status
from jobctl.web.application import app_of
from jobctl.web.calls import Calls
from jobctl.web.refusals import Refusal
from jobctl.web.waiting import Reader, Watcher
from ops.world import World
from web.serving import api_of

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def summary(job_id: str = "a", progress: float = 0.0) -> JobSummary:
    return JobSummary(job_id, Status.PROCESSING, progress, progress, None, None, None, NOW, None, NOW)


class Store:
    """What is looked at: how often, and how the jobs stand now."""

    def __init__(self, *jobs: JobSummary) -> None:
        self.jobs = {job.job_id: job for job in jobs}
        self.looks: list[list[str]] = []
        self.during: Callable[[], Any] = lambda: None
        self.is_away = False
        self.was_looked_at = asyncio.Event()

    async def look(self, job_ids: Sequence[str]) -> dict[str, JobSummary]:
        self.looks.append(list(job_ids))
        if len(self.looks) == 3:
            self.was_looked_at.set()
        found = {job_id: self.jobs[job_id] for job_id in job_ids if job_id in self.jobs}
        await asyncio.sleep(0)
        self.during()
        # Whoever began to ask meanwhile has asked before this look ends.
        await asyncio.sleep(0)
        if self.is_away:
            raise StoreUnreachable("it is away", hint="wait")
        return found


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(work(), 30))  # type: ignore[arg-type]


def test_all_who_ask_at_once_are_answered_by_one_look() -> None:
    store = Store(summary("a"), summary("b"))
    reader = Reader(store.look)

    async def ask() -> list[JobSummary | None]:
        return await asyncio.gather(*(reader.get(job_id) for job_id in ["a", "b", "c"] * 100))

    found = run(ask)
    assert found[:3] == [summary("a"), summary("b"), None]
    assert len(store.looks) == 1


def test_an_answer_is_never_older_than_its_question() -> None:
    store = Store(summary("a", 1.0))
    reader = Reader(store.look)
    later: list[asyncio.Task[JobSummary | None]] = []

    def change_and_ask() -> None:
        store.during = lambda: None
        store.jobs["a"] = summary("a", 2.0)
        later.append(asyncio.ensure_future(reader.get("a")))

    async def ask() -> tuple[JobSummary | None, JobSummary | None]:
        store.during = change_and_ask
        return await reader.get("a"), await later[0]

    first, second = run(ask)
    assert (first.progress, second.progress) == (1.0, 2.0)


def test_an_outage_is_told_to_all_who_asked_and_to_nobody_after_it() -> None:
    store = Store(summary("a"))
    reader = Reader(store.look)

    async def ask() -> None:
        store.is_away = True
        told = await asyncio.gather(*(reader.get("a") for _ in range(5)), return_exceptions=True)
        assert [type(each) for each in told] == [StoreUnreachable] * 5
        store.is_away = False
        assert await reader.get("a") == summary("a")

    run(ask)


def test_all_who_wait_are_told_by_one_look() -> None:
    store = Store(summary("a"), summary("b"))
    watcher = Watcher(store.look, most=1_000, every_s=0.01)

    async def wait() -> list[JobSummary | None]:
        waiting = asyncio.gather(*(watcher.wait(summary("a"), 20) for _ in range(300)))
        other = asyncio.ensure_future(watcher.wait(summary("b"), 20))
        await store.was_looked_at.wait()
        looks = len(store.looks)
        store.jobs["a"] = summary("a", 50.0)
        told = await waiting
        assert len(store.looks) <= looks + 2
        assert not other.done()
        del store.jobs["b"]
        assert await other is None
        return told

    assert run(wait) == [summary("a", 50.0)] * 300


def test_who_waits_outlasts_an_outage() -> None:
    store = Store(summary("a"))
    watcher = Watcher(store.look, most=1, every_s=0.001)

    async def wait() -> JobSummary | None:
        store.is_away = True
        waiting = asyncio.ensure_future(watcher.wait(summary("a"), 20))
        await store.was_looked_at.wait()
        store.jobs["a"], store.is_away = summary("a", 5.0), False
        return await waiting

    assert run(wait) == summary("a", 5.0)


def test_nobody_waits_where_the_server_stops() -> None:
    store = Store(summary("a"))
    watcher = Watcher(store.look, most=1, every_s=0.001)

    async def wait() -> JobSummary | None:
        waiting = asyncio.ensure_future(watcher.wait(summary("a"), 20))
        await asyncio.sleep(0)
        watcher.stop()
        assert await watcher.wait(summary("a", 1.0), 20) == summary("a", 1.0)
        assert not watcher.take_place()
        return await waiting

    assert run(wait) == summary("a")


def test_with_nobody_waiting_nobody_looks() -> None:
    store = Store(summary("a"))
    watcher = Watcher(store.look, most=1, every_s=0.001)

    async def wait() -> int:
        assert await watcher.wait(summary("a"), 0.01) == summary("a")
        await asyncio.sleep(0.01)
        looks = len(store.looks)
        await asyncio.sleep(0.02)
        return len(store.looks) - looks

    assert run(wait) == 0


def test_more_calls_than_there_is_room_for_are_refused() -> None:
    calls = Calls("test", threads=1, queued=1, patience_s=20)
    go_on = threading.Event()

    async def call() -> None:
        held = [asyncio.ensure_future(calls.run(go_on.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await calls.run(go_on.wait)
        assert (refused.value.status, refused.value.code) == (503, "busy")
        go_on.set()
        assert await asyncio.gather(*held) == [True, True]
        assert await calls.run(lambda: 1) == 1

    run(call)
    calls.close()


def test_a_call_that_no_thread_took_before_the_end_is_refused() -> None:
    calls = Calls("test", threads=1, queued=1, patience_s=20)
    go_on = threading.Event()

    async def call() -> None:
        running, queued = (asyncio.ensure_future(calls.run(go_on.wait)) for _ in range(2))
        await asyncio.sleep(0)
        calls.close()
        with pytest.raises(Refusal, match="about to stop"):
            await queued
        go_on.set()
        assert await running

    run(call)


def test_a_call_that_takes_too_long_is_refused_and_its_result_let_go() -> None:
    calls = Calls("test", threads=1, queued=1, patience_s=0.01)
    go_on, let_go = threading.Event(), threading.Event()

    async def call() -> None:
        with pytest.raises(Refusal, match="too long"):
            await calls.run(go_on.wait, discard=lambda _late: let_go.set())

    run(call)
    go_on.set()
    assert let_go.wait(60)
    calls.close()
    with pytest.raises(Refusal, match="about to stop"):
        asyncio.run(calls.run(lambda: 1))


def test_a_body_that_does_not_come_is_not_waited_for(world: World) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/presentations",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3_600)
        return {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def ask() -> None:
        await app_of(api_of(world, body_s=0.01))(scope, receive, send)  # type: ignore[arg-type]

    run(ask)
    assert sent[0]["status"] == 408
    assert b"request-timeout" in sent[1]["body"]
