"""What a ``JobDict`` costs: beside a plain dict in microseconds, beside plain SQLAlchemy as a ratio.

The floor writes the same rows (record, payload, history) with the same durability, on a pooled connection.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
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
    plain: dict[str, PresentationJob] = {}
    _tell_times("a dict", _times(plain, options.jobs), options.jobs)
    with _stores() as urls:
        for database, url in urls.items():
            _compare(database, url, options.jobs)
            _stream(database, url, options.many)


def _times(jobs: Any, count: int) -> tuple[float, float, float]:
    """Seconds for creating, for reading and for changing ``count`` jobs."""

    def create() -> None:
        for number in range(count):
            jobs[f"job-{number}"] = PresentationJob(f"job-{number}", slides=[{"n": 1}])

    def read() -> None:
        for number in range(count):
            jobs.get(f"job-{number}").status  # noqa: B018 - what a poll reads

    def change() -> None:
        for number in range(count):
            held[number].progress += 1.0

    created = seconds(create)
    held = [jobs[f"job-{number}"] for number in range(count)]
    return created, seconds(read, times=3), seconds(change, times=3)


def _compare(database: str, url: str, count: int) -> None:
    store = open_store(url, pooled=True)
    floors = _floors(store, count)
    with JobDict(PresentationJob, url) as jobs:
        mine = _times(jobs, count)
    store.close()
    _tell_times(f"JobDict, {database}", mine, count)
    for what, measured, floor in zip(_DONE, mine, floors, strict=True):
        tell(f"{what}, {database} / SQLAlchemy", measured, floor, _AIM)


def _floors(store: Store, count: int) -> tuple[float, float, float]:
    """The same by plain SQLAlchemy: three rows, one look-up, one guarded update."""
    wanted: Any = bindparam("wanted")
    look = select(job, job_body.c.payload).outerjoin(job_body, job_body.c.job_id == job.c.job_id)
    look = look.where(job.c.job_id == wanted)
    guarded = update(job).where(job.c.job_id == wanted, job.c.version == bindparam("seen"))
    guarded = guarded.values(progress=bindparam("to"), version=bindparam("next"), updated_at=bindparam("at"))

    def create() -> None:
        for number in range(count):
            name, at = f"floor-{number}", clock.now()
            with store.write() as connection:
                row = {**_ROW, "job_id": name, "status": "queued", "created_at": at, "updated_at": at}
                connection.execute(insert(job), row)
                connection.execute(insert(job_body), {"job_id": name, "payload": {"slides": [{"n": 1}]}})
                written = {
                    "job_id": name,
                    "at": at,
                    "kind": "created",
                    "actor": "bench",
                    "to_status": "queued",
                }
                connection.execute(insert(event), written)

    def read() -> None:
        for number in range(count):
            with store.glance() as connection:
                connection.execute(look, {"wanted": f"floor-{number}"}).one()

    versions = dict.fromkeys(range(count), 1)

    def change() -> None:
        for number in range(count):
            with store.write() as connection:
                seen = versions[number]
                values = {
                    "wanted": f"floor-{number}",
                    "seen": seen,
                    "to": 1.0,
                    "next": seen + 1,
                    "at": clock.now(),
                }
                connection.execute(guarded, values)
                versions[number] += 1

    return seconds(create), seconds(read, times=3), seconds(change, times=3)


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


def _tell_times(what: str, times: tuple[float, ...], count: int) -> None:
    told = [f"{each / count * 1e6:,.1f} µs to {name}" for name, each in zip(_DONE, times, strict=True)]
    print(f"{what}: {', '.join(told)}", flush=True)


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
