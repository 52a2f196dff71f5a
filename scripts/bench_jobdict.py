"""What a ``JobDict`` costs: beside a plain dict in microseconds, beside plain SQLAlchemy as a ratio.

The floor writes the same rows (record, payload, history) with the same durability, on a pooled connection,
and guards a change as well; it merges nothing, and closes no tombstone. A change of an attribute has no line
in the history of either. Each has done all of it before it is measured.
What both wait for (a disk, a server) is the same, and differs from run to run: what is compared is the time
of the processor.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from bench import seconds, tell
from jobctl import JobDict, clock
from jobctl.model.enqueued import New
from jobctl.model.job import Job
from jobctl.store.engine import Store, create_store, open_store
from jobctl.store.enqueue import enqueue_many
from jobctl.store.schema import event, job, job_body

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from postgres import running, system_binaries, wheel_binaries

_DONE = ("create", "read", "change")
_TURNS = 5
_WARM = 50
_AIM = 2.0
_ROW = {"kind": "presentation", "queue": "default", "origin": "created"}


@dataclass
class PresentationJob:
    """A job as the service has it."""

    job_id: str
    status: str = "queued"
    progress: float = 0.0
    video_url: str | None = None
    created_at: datetime | None = None
    created_files: list[str] = field(default_factory=list)
    slides: list[dict[str, Any]] = field(default_factory=list)


def main() -> None:
    """Print each ratio beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument(
        "--lives", type=int, metavar="JOBS", help="only: so many jobs' whole lives, and memory"
    )
    parser.add_argument("--only", choices=("sqlite", "postgresql"), help="of --lives")
    options = parser.parse_args()
    if options.lives:
        _tell_lives(options.lives, options.only)
        return
    _tell_plain(options.jobs)
    with _stores() as urls:
        for database, url in urls.items():
            _compare(database, url, options.jobs)
            _stream(database, url, options.many)


class _OfDict:
    """What a service does to its jobs, which are in a dict."""

    def __init__(self, jobs: MutableMapping[str, PresentationJob]) -> None:
        self._jobs = jobs
        self._held: dict[int, PresentationJob] = {}

    def create(self, numbers: range) -> None:
        for number in numbers:
            name = f"job-{number}"
            self._jobs[name] = self._held[number] = PresentationJob(name, slides=[{"n": 1}])

    def read(self, numbers: range) -> None:
        for number in numbers:
            self._jobs[f"job-{number}"].status  # noqa: B018 - what a poll reads

    def change(self, numbers: range) -> None:
        for number in numbers:
            self._held[number].progress += 1.0


class _OfSQLAlchemy:
    """The same by plain SQLAlchemy: three rows, one look-up, one guarded update."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions: dict[int, int] = {}

    def create(self, numbers: range) -> None:
        for number in numbers:
            name, at = f"floor-{number}", clock.now()
            self._versions[number] = 1
            with self._store.write() as connection:
                row = {**_ROW, "job_id": name, "status": "queued", "created_at": at, "updated_at": at}
                connection.execute(_JOB, row)
                connection.execute(_BODY, {"job_id": name, "payload": {"slides": [{"n": 1}]}})
                written = {"job_id": name, "at": at, "kind": "created", "actor": "bench"}
                connection.execute(_EVENT, {**written, "to_status": "queued"})

    def read(self, numbers: range) -> None:
        for number in numbers:
            with self._store.glance() as connection:
                connection.execute(_LOOK, {"wanted": f"floor-{number}"}).one()

    def change(self, numbers: range) -> None:
        for number in numbers:
            seen = self._versions[number]
            values = {"wanted": f"floor-{number}", "seen": seen, "to": 1.0 + seen, "next": seen + 1}
            with self._store.write() as connection:
                connection.execute(_GUARDED, {**values, "at": clock.now()})
            self._versions[number] = seen + 1


_JOB, _BODY, _EVENT = insert(job), insert(job_body), insert(event)
_WANTED: Any = job.c.job_id == bindparam("wanted")
_LOOK = select(job, job_body.c.payload).outerjoin(job_body, job_body.c.job_id == job.c.job_id).where(_WANTED)
_GUARDED = (
    update(job)
    .where(_WANTED, job.c.version == bindparam("seen"))
    .values(progress=bindparam("to"), version=bindparam("next"), updated_at=bindparam("at"))
)


def _compare(database: str, url: str, count: int) -> None:
    """Processor time of this process and of the server, by turns, so that other work is fair to both."""
    store = open_store(url, pooled=True)
    with JobDict(PresentationJob, url) as jobs:
        mine, floor, processor = _OfDict(jobs), _OfSQLAlchemy(store), _Processor(store)
        for what in _DONE:
            for work in (mine, floor):
                getattr(work, what)(range(-_WARM, 0))
        for what in _DONE:
            least = [min(each) for each in _by_turns(mine, floor, what, max(1, count // _TURNS), processor)]
            print(f"{what}, {database}: {_in_microseconds(least)} of processor time, JobDict and SQLAlchemy")
            tell(f"{what}, {database} / SQLAlchemy", least[0], least[1], _AIM)
    store.close()


def _by_turns(
    mine: _OfDict, floor: _OfSQLAlchemy, what: str, size: int, processor: _Processor
) -> tuple[list[float], list[float]]:
    """Processor time of each operation, in each turn of either."""
    took: tuple[list[float], list[float]] = ([], [])
    for turn in range(_TURNS):
        numbers = range(turn * size, (turn + 1) * size)
        for work, times in zip((mine, floor), took, strict=True):
            before = processor.seconds()
            getattr(work, what)(numbers)
            times.append((processor.seconds() - before) / size)
    return took


class _Processor:
    """The time that the processor spent on this process and on a server of PostgreSQL's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def seconds(self) -> float:
        """So far."""
        return time.process_time() + sum(map(_on_processor_s, self._servers()))

    def _servers(self) -> list[int]:
        if self._store.dialect.name != "postgresql":
            return []
        with self._store.glance() as connection:
            return list(connection.exec_driver_sql("SELECT pid FROM pg_stat_activity").scalars())


def _on_processor_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _in_microseconds(times: Iterable[float]) -> str:
    return ", ".join(f"{each * 1e6:,.1f} µs" for each in times)


def _tell_plain(count: int) -> None:
    plain = _OfDict({})
    numbers = range(count)
    times = [seconds(partial(getattr(plain, what), numbers)) / count for what in _DONE]
    print(f"{', '.join(_DONE)} on a plain dict: {_in_microseconds(times)}", flush=True)


def _stream(database: str, url: str, count: int) -> None:
    """Read all of many jobs, and tell how much memory that took beyond what the process had."""
    store = open_store(url)
    new = (New(Job(job_id=f"many-{number:07}"), {"slides": [{"n": number}]}) for number in range(count))
    sum(enqueue_many(store, new, actor="bench"))
    store.close()
    with JobDict(PresentationJob, url) as jobs:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        took = seconds(lambda: sum(1 for _ in jobs.values()))
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"{database}: {len(jobs):,} jobs read in {took:.1f} s with {more:.0f} MiB more at the peak",
            flush=True,
        )


def _tell_lives(count: int, only: str | None) -> None:
    """What a process keeps in memory while it makes, works on and completes ever more jobs."""
    with _stores() as urls:
        for database, url in urls.items():
            if only not in {None, database}:
                continue
            # A peak is of a whole process.
            process = get_context("spawn").Process(target=_live, args=(database, url, count))
            process.start()
            process.join()


def _live(database: str, url: str, count: int) -> None:
    began = clock.monotonic()
    with JobDict(PresentationJob, url) as jobs, ThreadPoolExecutor(4) as pool:
        for done in range(0, count, count // 10):
            list(pool.map(lambda number: _live_once(jobs, number), range(done, done + count // 10)))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            took = clock.monotonic() - began
            print(
                f"{database}: {done + count // 10:,} jobs in {took:.0f} s, {peak:.1f} MiB at the peak",
                flush=True,
            )
        began = clock.monotonic()
        completed = sum(1 for job in jobs.values() if job.status == "completed")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        took = clock.monotonic() - began
        print(
            f"{database}: {completed:,} of them completed, read in {took:.0f} s, {peak:.1f} MiB at the peak"
        )


def _live_once(jobs: JobDict[PresentationJob], number: int) -> None:
    """One job's whole life, and a look at an older one."""
    job_id = f"life-{number:07}"
    slides = [{"text": f"{number:07} " * 256}]
    jobs[job_id] = PresentationJob(job_id, "processing", slides=slides)
    with jobs.edit(job_id) as job:
        job.created_files.append(f"slide_1_{job_id}.mp4")
        job.slides[0]["seconds"] = 12
        job.status, job.progress = "completed", 100
    jobs.get(f"life-{number // 2:07}")


@contextmanager
def _stores() -> Iterator[dict[str, str]]:
    directory = tempfile.mkdtemp(prefix="jobctl-bench-")
    binaries = system_binaries() or wheel_binaries()
    if binaries is None:
        sys.exit("no PostgreSQL: install the test requirements")
    try:
        with running(binaries, fsync=True) as server:
            urls = {"sqlite": os.path.join(directory, "jobs.db"), "postgresql": server}
            for url in urls.values():
                create_store(url, now=clock.now(), version="bench")[0].close()
            yield urls
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
