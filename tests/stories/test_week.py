"""A week of jobs, and the kernel that kills who takes too much memory.

What a service keeps in memory is the same after few and after many jobs, and every one of them outlives
SIGKILL. ``STORY_JOBS=50000 STORY_TEXT_BYTES=2048`` tells the whole story; what was measured then is in
docs/performance.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jobctl
from jobctl import clock
from stories.memory import resident_mib
from stories.polling import Crowd, setbacks, with_code
from stories.week import LessonJob, job_id_of

JOBS = int(os.environ.get("STORY_JOBS", "300"))
TURN = JOBS // 10
EARLY = max(JOBS // 10, 150)
"""By then a ``JobDict`` has as many objects at hand as it ever has."""
IS_WHOLE = "STORY_JOBS" in os.environ
TEXT_BYTES = int(os.environ.get("STORY_TEXT_BYTES", "131072"))
ALLOWED_MIB = 12.0
"""What an allocator keeps more or less of: a small part of the texts of all jobs."""
_GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
"""Of few jobs only what is really kept can be told: freed texts go back to the system at once."""


@dataclass
class Week:
    """A service at work. ``url``: where it answers."""

    process: subprocess.Popen[str]
    url: str
    reached: int = 0

    def go_on(self) -> None:
        """Let it begin another turn."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def done(self) -> int:
        """How many jobs it has done, once the turn has ended."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def until(self, jobs: int) -> float:
        """Let it do so many jobs in all; what it keeps in memory then, in MiB."""
        while self.reached < jobs:
            self.go_on()
            self.reached = self.done()
        return resident_mib(self.process.pid)


@contextmanager
def at_work(place: str) -> Iterator[Week]:
    """A service that keeps its jobs there, gone at the end of the block."""
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, str(here / "week.py"), place, str(TURN), str(TEXT_BYTES)],
        env={**os.environ, "PYTHONPATH": str(here.parent), **({} if IS_WHOLE else _GIVES_BACK)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Week(process, process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def test_a_week_of_jobs_takes_no_more_memory_than_a_morning_and_outlives_sigkill(store_url: str) -> None:
    with at_work(store_url) as week:
        week.until(TURN)
        crowd = Crowd(week.url, [job_id_of(number) for number in range(TURN)])
        with crowd.polling():
            early = week.until(EARLY)
            late = week.until(JOBS)
        print(f"{early:.1f} MiB after {EARLY:,} jobs, {late:.1f} MiB after {JOBS:,}")
        assert late - early < ALLOWED_MIB
        week.go_on()
        while crowd.ask(job_id_of(JOBS)).code == 404:
            clock.sleep(0.005)
        week.process.kill()
    assert {each.status for each in crowd.heard} == {"completed"}
    assert (with_code(crowd.heard, 404), setbacks(crowd.heard)) == ([], [])
    with jobctl.JobDict(LessonJob, store_url) as jobs:
        statuses = {job_id: job.status for job_id, job in jobs.items()}
    assert {statuses.get(job_id_of(number)) for number in range(JOBS)} == {"completed"}


def test_the_measure_sees_what_a_plain_dict_keeps() -> None:
    with at_work("dict") as week:
        early, late = week.until(EARLY), week.until(JOBS)
    assert late - early > ALLOWED_MIB
