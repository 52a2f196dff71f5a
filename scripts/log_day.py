"""A day of the video service's log, as it comes out of a container: what it holds, and what is true.

Interleaved jobs, restarts that lose them, retries, torn and glued lines, progress bars,
JSON and FFmpeg by the thousand, other languages, and identifiers that are no jobs.
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

DAY = datetime(2025, 11, 4, 6, 0, tzinfo=UTC)
SERVICE = "INFO:app.services.presentation_service:"


@dataclass
class Truth:
    """What became of one job. ``life``: which restart lost it, counted from 1."""

    job_id: str
    user: str
    life: int
    created_at: datetime
    outcome: str
    ended_at: datetime | None = None
    progress: float | None = None
    reason: str = ""
    render: str = ""
    completion_time: str = ""


@dataclass
class Day:
    """A log as lines, and the truth about every job in it."""

    lines: list[str]
    jobs: dict[str, Truth]
    restarts: list[datetime] = field(default_factory=list)

    def text(self, prefix: str = "") -> bytes:
        """The log as bytes, each line after the name of its container."""
        return "".join(f"{prefix}{line}\n" for line in self.lines).encode()


class _Simulation:
    def __init__(self, seed: int, noise: int) -> None:
        self.random = random.Random(seed)
        self.noise = noise
        self.events: list[tuple[datetime, int, list[str]]] = []
        self.number = count()
        self.jobs: dict[str, Truth] = {}
        self.users = [str(self.uuid()) for _ in range(40)]

    def uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.random.getrandbits(128), version=4)

    def say(self, at: datetime, *lines: str) -> None:
        heapq.heappush(self.events, (at, next(self.number), list(lines)))

    def day(self, losses: tuple[int, ...]) -> Day:
        restarts = []
        begin = DAY
        for life, lost in enumerate(losses, start=1):
            end = begin + timedelta(hours=4)
            self.boot(begin)
            for _ in range(lost):
                self.job(life, begin + timedelta(seconds=self.random.uniform(60, 3.9 * 3600)), end)
            restarts.append(end)
            begin = end + timedelta(seconds=9)
        self.boot(begin)
        self.lost_polls(begin)
        return Day(list(self.lines()), self.jobs, restarts)

    def boot(self, at: datetime) -> None:
        self.say(at, "INFO:     Started server process [1]", "INFO:     Waiting for application startup.")
        self.say(at + timedelta(seconds=2), f"{SERVICE}🎬 Professional Presentation Service initialized")
        self.say(at + timedelta(seconds=3), "INFO:     Application startup complete.")

    def job(self, life: int, at: datetime, end: datetime) -> None:
        choose = self.random
        job = Truth(str(self.uuid()), choose.choice(self.users), life, at, "interrupted")
        self.jobs[job.job_id] = job
        self.begin(job, at)
        lasts = timedelta(minutes=choose.uniform(3, 45))
        fails_after = lasts * choose.uniform(0.1, 0.9) if choose.random() < 0.15 else None
        stop = min(end, at + (fails_after or lasts))
        moment, progress, beat = at + timedelta(seconds=1), 5.0, 0
        while moment < stop:
            beat += 1
            before, progress = progress, progress + choose.choice((0, 0, 5, 5, 2.5))
            job.progress = progress
            self.beat(job, moment, before, progress, beat)
            moment += timedelta(seconds=choose.choice((30, 30, 30.4, 113)))
        if stop < end:
            self.finish(job, stop, has_failed=fails_after is not None)

    def asks(self, what: str, answer: str) -> str:
        client = f"172.18.0.1:{self.random.randrange(30_000, 60_000)}"
        return f'INFO:     {client} - "GET /api/custom/presentations/{what} HTTP/1.1" {answer}'

    def begin(self, job: Truth, at: datetime) -> None:
        self.say(
            at,
            f"{SERVICE}📥 Request of user {job.user} in chat {self.uuid()}",
            f"{SERVICE}Created presentation job: {job.job_id}",
            f"{SERVICE}🎬 [PRESENTATION_SERVICE] Job ID: {job.job_id}",
            f"{SERVICE}Starting presentation processing for job: {job.job_id}",
            f"{SERVICE}[JOB_STATUS_UPDATE] Job {job.job_id}: queued→processing, 0%→5.0%",
            f"{SERVICE}[JOB_STATUS_UPDATE] Timestamp: {_naive(at)}",
        )
        made = at + timedelta(seconds=20)
        job.render = f"{int(made.timestamp()):08x}{self.random.getrandbits(64):016x}"
        final = f"/app/output/presentations/presentation_{job.job_id}.mp4"
        self.say(
            made + timedelta(seconds=5),
            f"{SERVICE}FFmpeg command: ffmpeg -y -i /app/temp/avatar_{job.render}.mp4 -vf scale=1:1 {final}",
        )

    def beat(self, job: Truth, at: datetime, before: float, progress: float, beat: int) -> None:
        shown = f"{progress:g}" if beat % 7 == 0 else f"{progress}"
        self.say(
            at,
            f"{SERVICE}[HEARTBEAT] Job {job.job_id}: status=processing, progress={shown}% (beat #{beat})",
            f"{SERVICE}[HEARTBEAT] Keeping connection alive - {_naive(at)}",
        )
        if progress != before:
            self.say(
                at + timedelta(milliseconds=40),
                f"{SERVICE}[JOB_STATUS_UPDATE] Job {job.job_id}: "
                f"processing→processing, {before}%→{progress}%",
                f"{SERVICE}[JOB_STATUS_UPDATE] Timestamp: {_naive(at + timedelta(milliseconds=40))}",
            )
        self.say(
            at + timedelta(seconds=1),
            self.asks(job.job_id, "200 OK"),
            *self.chatter(),
        )

    def finish(self, job: Truth, at: datetime, *, has_failed: bool) -> None:
        job.ended_at = at
        if has_failed:
            job.outcome, job.reason = "failed", "FFmpeg exited with 1"
            self.say(
                at,
                f"ERROR:app.services.presentation_service:Presentation {job.job_id} failed: {job.reason}",
                "Traceback (most recent call last):",
                '  File "/app/services/compose.py", line 812, in compose',
                "RuntimeError: https://cdn.example.com/a.mp4?signature=secret is gone",
            )
            return
        job.outcome, job.progress = "completed", 100.0
        slide = f"/app/output/presentations/slide_2_{job.job_id}.mp4"
        done = at + timedelta(milliseconds=3)
        job.completion_time = f"{done:%Y-%m-%d %H:%M:%S.%f}"
        self.say(
            at,
            f"{SERVICE}Individual video for slide 2 composed: {slide}",
            f"{SERVICE}Cleaned up temporary file: {slide}",
        )
        self.say(
            done,
            f"{SERVICE}✅ Presentation {job.job_id} processing completed successfully",
            f"{SERVICE}Job start time: {job.created_at:%Y-%m-%d %H:%M:%S.%f}",
            f"{SERVICE}Job completion time: {job.completion_time}",
        )
        self.say(
            at + timedelta(seconds=4),
            f"INFO:app.routers.video:Video product created with metadata: {job.job_id}",
            self.asks(f"{job.job_id}/video?token=abc", "206 Partial Content"),
        )

    def lost_polls(self, at: datetime) -> None:
        """After the last restart users still ask for jobs that nobody knows any more."""
        for number, job_id in enumerate(self.jobs):
            moment = at + timedelta(seconds=30 + number)
            request = f'"GET /api/custom/presentations/{job_id} HTTP/1.1" 200 41 "-" "Mozilla/5.0"'
            self.say(moment, f"10.0.0.9 - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] {request}")

    def chatter(self) -> Iterator[str]:
        choose = self.random
        for _ in range(choose.randrange(self.noise + 1)):
            kind = choose.random()
            if kind < 0.45:
                yield (
                    f"frame={choose.randrange(9999):5d} fps= 24 q=28.0 size={choose.randrange(9999):8d}kB "
                    f"time=00:00:{choose.randrange(60):02d}.12 bitrate= 559.2kbits/s speed=1.02x"
                )
            elif kind < 0.85:
                yield (
                    f'{{"type": "slide", "userId": "{self.uuid()}", "chatId": "{self.uuid()}", '
                    f'"title": "Übersicht der Ergebnisse — 第三章", "bullets": ["eins", "zwei", "трудно"], '
                    f'"notes": "{"Lorem ipsum dolor sit amet " * choose.randrange(1, 12)}"}}'
                )
            elif kind < 0.999:
                yield f"DEBUG:app.llm:prompt for user {self.uuid()} took {choose.randrange(9000)} ms 🚀"
            else:
                yield f"DEBUG:app.llm:{'x' * 64_000}"

    def lines(self) -> Iterator[str]:
        while self.events:
            yield from heapq.heappop(self.events)[2]


def simulate(seed: int = 1, losses: tuple[int, ...] = (100, 80, 120), *, noise: int = 6) -> Day:
    """A day with one restart after each of ``losses`` jobs; ``noise``: other lines for each heartbeat."""
    return _Simulation(seed, noise).day(losses)


def damage(day: Day, seed: int = 1) -> Day:
    """The same day with lines torn and glued, none of them one that decides what became of a job."""
    choose = random.Random(seed)
    lines: list[str] = []
    for line in day.lines:
        if "[HEARTBEAT] Job" in line and choose.random() < 0.03:
            lines.append(line[: choose.randrange(20, 100)] + f"{SERVICE}Loaded 3 fonts")
        elif line.startswith("frame=") and choose.random() < 0.3 and lines and lines[-1].startswith("frame="):
            lines[-1] += "\r" + line
        else:
            lines.append(line)
    glued: list[str] = []
    for line in lines:
        if "Created presentation job" in line and glued and choose.random() < 0.2:
            glued[-1] += line
        else:
            glued.append(line)
    return Day(glued, day.jobs, day.restarts)


def _naive(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat()
