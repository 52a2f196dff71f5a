"""The example day of the service: three restarts that each lose its jobs, and a recovery after each."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import demo_tree
import log_day
from jobctl.core.reporting.periods import Period
from jobctl.ops.ingest import ingest
from ops.world import Calendar, World

BOOT = "Started server process"
DAY = Period("2025-11-04", datetime(2025, 11, 4, tzinfo=UTC), datetime(2025, 11, 5, tzinfo=UTC))


def live_through(
    world: World, calendar: Calendar, directory: Path, losses: tuple[int, ...] = (100, 80, 120)
) -> log_day.Day:
    """Let the day happen: each life's log is read, and its jobs are recovered, five minutes after its end."""
    day = log_day.simulate(losses=losses, noise=0)
    one, log = directory / "one.mp4", directory / "day.log"
    demo_tree.encode(one, seed=1, frames=4, size=(64, 48))
    for life, text in enumerate(lives(day), start=1):
        make_videos(world, day, one, life)
        with open(log, "a", encoding="utf-8") as file:
            file.write(text)
        set_clock(world, calendar, day.restarts[life - 1] + timedelta(minutes=5))
        with world.site() as site:
            ingest(site, [str(log)], zone=UTC)
        world.recover()
    set_clock(world, calendar, datetime(2025, 11, 4, 23, 0, tzinfo=UTC))
    return day


def lives(day: log_day.Day) -> Iterator[str]:
    """The log, each life with the boot that ends it."""
    boots = [number for number, line in enumerate(day.lines) if BOOT in line]
    edges = [0, *(boot + 4 for boot in boots[1:])]
    for low, high in itertools.pairwise(edges):
        yield "".join(f"{line}\n" for line in day.lines[low:high])


def make_videos(world: World, day: log_day.Day, one: Path, life: int) -> None:
    for number, truth in enumerate(day.jobs.values()):
        if truth.life == life and truth.outcome == "completed":
            copy = world.root / f"presentation_{truth.job_id}.mp4"
            shutil.copy(one, copy)
            with open(copy, "ab") as file:
                file.write(b"\0\0\0\x10free" + number.to_bytes(8, "big"))
            assert truth.ended_at
            os.utime(copy, (truth.ended_at.timestamp(), truth.ended_at.timestamp()))


def set_clock(world: World, calendar: Calendar, moment: datetime) -> None:
    with world.site() as site, site.store.read() as connection:
        ahead = (moment - site.store.now(connection)).total_seconds()
    calendar.pass_(seconds=ahead)
