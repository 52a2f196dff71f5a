"""Several that write one job at the same moment: what each of them was told is recorded stays."""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

import jobctl
from jobctl.model.job import Executor
from jobctl.store import jobs as records
from jobctl.store.engine import Store
from jobctl.store.mirror import Change, change_whole, find_whole, hold
from service.jobs_of_a_service import PresentationJob

AT = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_who_waits_for_another_writer_sees_all_of_what_that_one_wrote(store: Store, store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs, ThreadPoolExecutor(1) as pool:
        jobs["a"] = job = PresentationJob("a", slides=[{"n": 0}])
        with store.write() as connection:
            hold(store, connection, "a")
            now = find_whole(connection, "a")
            assert now is not None
            payload = {**now.payload, "slides": [{"n": 0}, {"n": "theirs"}]}
            change = Change([], {"progress": 5.0}, payload)
            change_whole(connection, now, change, actor="they", executor=Executor("them", "b", 1, 1), at=AT)
            waiting = pool.submit(job.slides.append, {"n": "mine"})
            if store_url.startswith("postgresql"):
                until_it_waits_for_a_row(store, waiting)
        waiting.result()
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        assert jobs["a"].slides == [{"n": 0}, {"n": "theirs"}, {"n": "mine"}]


def until_it_waits_for_a_row(store: Store, work: Future[None]) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with store.glance() as connection:
        while not work.done() and connection.exec_driver_sql(waiting).first() is None:
            pass


def test_updates_at_the_same_moment_are_written_one_after_the_other(store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["a"] = PresentationJob("a", "processing")

        async def report() -> list[PresentationJob]:
            return await asyncio.gather(*(jobs.update("a", progress=number) for number in range(12)))

        told = {job.progress for job in asyncio.run(report())}
        assert told == set(range(12))
        assert jobs["a"].progress in told


def test_a_forked_process_writes_for_itself_beside_its_parent(store: Store, store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["parent"] = mine = PresentationJob("parent")
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            code = 1
            try:
                jobs["child"] = job = PresentationJob("child", "processing")
                for number in range(20):
                    job.created_files.append(f"{number}.png")
                code = 0
            finally:
                os._exit(code)
        for number in range(20):
            mine.created_files.append(f"{number}.png")
        assert os.waitpid(child, 0)[1] == 0
        assert len(jobs["child"].created_files) == len(jobs["parent"].created_files) == 20
        with store.read() as connection:
            executor = records.get_job(connection, "child").executor
        assert executor is not None
        assert executor.pid == child
