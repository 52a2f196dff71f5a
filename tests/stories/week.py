"""A service with a week's work: it makes, works on and completes jobs, and answers who asks for them.

Told where its jobs are kept (the URL of a store, or ``dict`` for a plain one), how many to do at a time, and
how much text each bears. It says on standard output where it listens, and after each turn how many it has
done; it goes on for each line that it reads. What it keeps in memory is measured from outside.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import uvicorn

import jobctl
import jobctl.web

_THREADS = 4


@dataclass
class LessonJob:
    """A job as the service has it."""

    job_id: str
    status: str = "queued"
    progress: float = 0.0
    video_url: str | None = None
    created_files: list[str] = field(default_factory=list)
    slides: list[dict[str, Any]] = field(default_factory=list)


Jobs = MutableMapping[str, LessonJob]


def job_id_of(number: int) -> str:
    return f"job-{number:06}"


def main() -> None:
    """Do a turn of jobs for each line of standard input."""
    place, turn, text_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    jobs: Jobs = {} if place == "dict" else jobctl.JobDict(LessonJob, place)
    print("" if place == "dict" else _serve(place), flush=True)
    done = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in sys.stdin:
            list(pool.map(lambda number: _do(jobs, number, text_bytes), range(done, done + turn)))
            done += turn
            print(done, flush=True)


def _do(jobs: Jobs, number: int, text_bytes: int) -> None:
    """One job's whole life, and a look at an older one."""
    job_id = job_id_of(number)
    slides = [{"text": f"{number:08} " * (text_bytes // 9)}]
    jobs[job_id] = job = LessonJob(job_id, "processing", slides=slides)
    if isinstance(jobs, jobctl.JobDict):
        with jobs.edit(job_id) as job:
            _complete(job)
    else:
        _complete(job)
    jobs.get(job_id_of(number // 2))


def _complete(job: LessonJob) -> None:
    job.created_files.append(f"slide_1_{job.job_id}.mp4")
    job.video_url = f"/presentations/{job.job_id}/video"
    job.status, job.progress = "completed", 100


def _serve(url: str) -> str:
    """Answer who asks for the jobs, from a thread; where."""
    config = uvicorn.Config(jobctl.web.app(url), port=0, log_config=None)
    listener = config.bind_socket()
    listener.listen()
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


if __name__ == "__main__":
    main()
