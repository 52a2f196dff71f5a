"""A process of its own beside the test: makes stores, writes to them, dies in them, holds their locks."""

from __future__ import annotations

import os
import signal
import sys

from jobctl import clock
from jobctl.errors import Locked, LockLost
from jobctl.evidence.executor import current_executor, liveness
from jobctl.model.job import Job
from jobctl.store import jobs, locks
from jobctl.store.engine import create_store, open_store

HOST = "host-a"


def make(url: str) -> None:
    """Make the store where there is none; print its id."""
    store, made = create_store(url, now=clock.now(), version="test")
    say(f"{store.store_id} {made}")


def write(url: str, name: str, number: str) -> None:
    """Record jobs, each in a transaction of its own."""
    store = open_store(url)
    for index in range(int(number)):
        with store.write() as connection:
            jobs.create_job(connection, Job(job_id=f"{name}-{index}"), actor=name, at=clock.now())
    say("written")


def die(url: str) -> None:
    """Be killed between a write and its commit."""
    with open_store(url).write() as connection:
        jobs.create_job(connection, Job(job_id="never"), actor="worker", at=clock.now())
        os.kill(os.getpid(), signal.SIGKILL)


def hold(url: str, name: str) -> None:
    """Take a lock; then obey orders until standard input ends."""
    store = open_store(url)
    try:
        fence = locks.acquire(
            store,
            name,
            holder=current_executor(HOST),
            holder_id=f"worker-{os.getpid()}",
            command="recover",
            stale_after_s=120.0,
            holder_is_dead=lambda executor: liveness(executor, host=HOST) == "dead",
        )
    except Locked:
        say("locked")
        return
    say(f"held {fence.number}")
    for order in map(str.strip, sys.stdin):
        try:
            with store.write() as connection:
                if order == "renew":
                    locks.renew(connection, fence, at=store.now(connection))
                else:
                    locks.release(connection, fence)
            say(f"{order} done")
        except LockLost:
            say("lost")


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    {"make": make, "write": write, "die": die, "hold": hold}[sys.argv[1]](*sys.argv[2:])
