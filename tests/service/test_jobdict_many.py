"""Many threads, event loops, processes and jobs on one ``JobDict``, or on many of the same store."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from pathlib import Path

import pytest

import jobctl
from jobctl.errors import StaleJob
from jobctl.model.enqueued import New
from jobctl.model.job import Job
from jobctl.service import jobdict_live
from jobctl.store.engine import Store
from jobctl.store.enqueue import enqueue_many
from service.jobs_of_a_service import PresentationJob, SmallJob
from service.outages import hold

Jobs = jobctl.JobDict[PresentationJob]
HERE = Path(__file__).parent


def at_once(work: Callable[[int], None], times: int, *, threads: int = 8) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(times)))


def test_a_hundred_jobs_created_at_once_are_all_there(store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        at_once(lambda n: jobs.__setitem__(f"job-{n}", PresentationJob(f"job-{n}")), 100)
        assert len(jobs) == len(list(jobs)) == 100


def test_threads_that_change_one_object_lose_nothing(store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["a"] = PresentationJob("a", "processing")
        at_once(lambda n: jobs["a"].created_files.append(f"{n}.png"), 40)
        names = {f"{n}.png" for n in range(40)}
        assert set(jobs["a"].created_files) == names
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        assert set(jobs["a"].created_files) == names


def test_servers_that_add_to_one_list_lose_nothing(store_url: str) -> None:
    servers = [jobctl.JobDict(PresentationJob, store_url) for _ in range(3)]
    servers[0]["a"] = PresentationJob("a", "processing")
    at_once(lambda n: servers[n % 3]["a"].created_files.append(str(n)), 30, threads=3)
    assert {each for server in servers for each in server["a"].created_files} == set(map(str, range(30)))
    for server in servers:
        server.close()


def test_of_servers_that_begin_one_job_at_once_one_does(store_url: str) -> None:
    servers = [jobctl.JobDict(PresentationJob, store_url) for _ in range(3)]
    servers[0]["a"] = PresentationJob("a")
    theirs = [server["a"] for server in servers]
    refused: list[StaleJob] = []

    def begin(number: int) -> None:
        try:
            theirs[number].status = "processing"
        except StaleJob as error:
            refused.append(error)

    at_once(begin, 3)
    assert len(refused) == 2
    for server in servers:
        server.close()


def test_several_event_loops_use_one_dict(store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        for n in range(4):
            jobs[str(n)] = PresentationJob(str(n), "processing")

        async def work(job_id: str) -> None:
            for progress in (10, 20, 30):
                await asyncio.gather(
                    jobs.update(job_id, progress=progress), *(jobs.fetch(str(n)) for n in range(4))
                )

        at_once(lambda n: asyncio.run(work(str(n))), 4)
        assert [job.progress for job in jobs.values()] == [30] * 4


def test_the_event_loop_goes_on_while_the_database_is_busy(store: Store, store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["a"] = PresentationJob("a", "processing")

        async def count(enough: asyncio.Event) -> None:
            for _ in range(20):
                await asyncio.sleep(0.001)
            enough.set()

        async def main() -> None:
            enough = asyncio.Event()
            counting = asyncio.create_task(count(enough))
            with store.write() as connection:
                hold(connection, store_url)
                updating = asyncio.create_task(jobs.update("a", video_url="/v"))
                await enough.wait()
                assert not updating.done()
            await updating
            await counting

        asyncio.run(main())


def test_no_server_tells_of_what_is_not_recorded_yet(store: Store, store_url: str) -> None:
    with (
        jobctl.JobDict(PresentationJob, store_url) as jobs,
        jobctl.JobDict(PresentationJob, store_url) as elsewhere,
        ThreadPoolExecutor(2) as pool,
    ):
        jobs["a"] = job = PresentationJob("a", "processing")

        def poll_here_then_there() -> tuple[str, str]:
            return jobs["a"].status, elsewhere["a"].status

        with store.write() as connection:
            hold(connection, store_url)
            completing = pool.submit(setattr, job, "status", "completed")
            while job.status != "completed":
                wait([completing], timeout=0.01)
            polling = pool.submit(poll_here_then_there)
            # Long enough for an answer, were it given before there is one.
            wait([polling], timeout=0.3)
        completing.result()
        assert polling.result() == ("completed", "completed")


def test_who_edits_one_job_and_reads_another_one_waits_for_nobody(store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs, ThreadPoolExecutor(2) as pool:
        both_edit = threading.Barrier(2)
        jobs["a"], jobs["b"] = PresentationJob("a"), PresentationJob("b")

        def edit(mine: str, other: str) -> str:
            with jobs.edit(mine) as job:
                both_edit.wait()
                job.error = mine
                read = jobs[other].job_id
                both_edit.wait()
            return read

        assert list(pool.map(edit, "ab", "ba")) == ["b", "a"]


@pytest.mark.parametrize("replaced", [True, False], ids=["assigned-anew", "deleted"])
def test_who_edits_a_job_goes_on_while_another_thread_takes_that_job_away(
    store_url: str, *, replaced: bool
) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs, ThreadPoolExecutor(1) as pool:
        jobs["a"], jobs["b"] = PresentationJob("a"), PresentationJob("b")
        with nullcontext() if replaced else pytest.raises(StaleJob, match="deleted"), jobs.edit("a"):
            if replaced:
                taking = pool.submit(jobs.__setitem__, "a", PresentationJob("a", error="anew"))
            else:
                taking = pool.submit(jobs.__delitem__, "a")
            # It waits for this edit by now, or will.
            wait([taking], timeout=0.3)
            jobs["b"].error = "b"
        taking.result()
        assert jobs["b"].error == "b"
        assert (jobs["a"].error if replaced else jobs.get("a")) == ("anew" if replaced else None)


def test_of_two_threads_that_edit_two_jobs_the_other_way_round_one_gives_up(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobdict_live, "_LONGEST_WAIT_S", 0.2)
    both_edit = threading.Barrier(2)
    with jobctl.JobDict(PresentationJob, store_url) as jobs, ThreadPoolExecutor(2) as pool:
        jobs["a"], jobs["b"] = PresentationJob("a"), PresentationJob("b")

        def edit(first: str, second: str) -> bool:
            try:
                with jobs.edit(first) as one:
                    one.error = first
                    both_edit.wait()
                    with jobs.edit(second) as other:
                        other.error = first
            except StaleJob as error:
                assert "another thread" in str(error)
                return False
            return True

        assert list(pool.map(edit, "ab", "ba")) == [True, False]
        assert (jobs["a"].error, jobs["b"].error) == ("a", "a")


def test_a_thread_waits_while_another_one_edits(store_url: str) -> None:
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        jobs["a"] = PresentationJob("a", "processing")
        begun = threading.Event()

        def other() -> None:
            begun.set()
            jobs["a"].video_url = "/other"

        with jobs.edit("a") as job:
            thread = threading.Thread(target=other)
            thread.start()
            begun.wait()
            job.progress = 50
            job.error = "mine"
        thread.join()
        job = jobs["a"]
        assert (job.progress, job.error, job.video_url) == (50, "mine", "/other")


SERVICE = """
import sys
import jobctl
from service.jobs_of_a_service import PresentationJob
jobs = jobctl.JobDict(PresentationJob, sys.argv[1])
for number in range(20):
    jobs[f"done-{number}"] = job = PresentationJob(f"done-{number}")
    job.status = "processing"
    job.created_files.append("film.mp4")
    job.status = "completed"
jobs["running"] = job = PresentationJob("running", "processing")
job.progress = 75
print("ready", flush=True)
sys.stdin.read()
"""


def test_all_a_killed_process_was_told_is_recorded_is_there(store_url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, store_url],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "ready\n"
        service.send_signal(signal.SIGKILL)
    with jobctl.JobDict(PresentationJob, store_url) as jobs:
        assert len(jobs) == 21
        assert {jobs[f"done-{n}"].status for n in range(20)} == {"completed"}
        assert jobs["done-7"].created_files == ["film.mp4"]
        assert (jobs["running"].status, jobs["running"].progress) == ("processing", 75)


def fill(store: Store, numbers: range) -> None:
    new = (New(Job(job_id=f"job-{n:06}", kind="presentation")) for n in numbers)
    assert sum(enqueue_many(store, new, actor="test")) == len(numbers)


def test_reading_many_jobs_takes_no_more_memory_than_reading_few(store: Store, store_url: str) -> None:
    with jobctl.JobDict(SmallJob, store_url) as jobs:
        peaks = []
        for numbers in (range(1_000), range(1_000, 4_000)):
            fill(store, numbers)
            gc.collect()
            tracemalloc.start()
            assert sum(1 for _ in jobs.values()) == numbers.stop
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.5 * peaks[0]
        assert (len(jobs), sum(1 for _ in jobs)) == (4_000, 4_000)


READS_ALL = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
import jobctl
from service.jobs_of_a_service import SmallJob
from stories.memory import resident_mib
with jobctl.JobDict(SmallJob, sys.argv[1]) as jobs, ThreadPoolExecutor(4) as pool:
    at_once = threading.Barrier(4)
    list(pool.map(lambda number: (at_once.wait(), jobs.get(f"job-{number}")), range(20)))
    for number, job in enumerate(jobs.values()):
        if number == 700:
            before = resident_mib(os.getpid())
    print(number + 1, resident_mib(os.getpid()) - before)
"""


def test_what_the_connections_of_many_threads_keep_of_the_database_is_little(
    store: Store, store_url: str
) -> None:
    new = (
        New(Job(job_id=f"job-{n:06}", kind="presentation"), {"slides": [{"text": f"{n:07} " * 1_250}]})
        for n in range(3_200)
    )
    sum(enqueue_many(store, new, actor="test"))
    told = subprocess.run(
        [sys.executable, "-c", READS_ALL, store_url],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    count, more_mib = told.stdout.split()
    assert int(count) == 3_200
    # 32 MiB were read, on four connections in turn.
    assert float(more_mib) < 12
