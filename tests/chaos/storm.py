"""A storm over workers: they, what they started and their database are killed, stopped, cut off at random."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy import func, select

import jobctl
from chaos.checker import PUBLISHED, Entry, Step, violations
from jobctl import clock
from jobctl.errors import JobctlError
from jobctl.model.status import ENDED
from jobctl.store import workers
from jobctl.store.engine import Store, open_store
from jobctl.store.schema import event, job, lease
from media import encode
from postgres import Server

LEASE_S = 2.0
_PATIENCE_S = 180.0
_TESTS = Path(__file__).parent.parent
KINDS = {"quick": 66, "slow": 8, "flaky": 8, "dying": 6, "film": 8, "long": 4}
_HOLDS_WRITE_LOCK = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
held.execute("BEGIN IMMEDIATE")
time.sleep(float(sys.argv[2]))
held.execute("ROLLBACK")
"""


@dataclass
class Storm:
    """Workers on one store, and what befalls them. ``server``: the PostgreSQL that may be crashed."""

    url: str
    root: Path
    place: Path
    chance: random.Random
    server: Server | None = None
    workers: int = 8
    lease_s: float = LEASE_S
    isolation: Sequence[str] = ("process", "process", "thread")
    only: str | None = None
    """The one thing that happens."""
    without: str | None = None
    """A safeguard that is taken out of the program."""
    happened: Counter[str] = field(default_factory=Counter)
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _others: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _jobs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = self.place / "ledger"
        self.ledger.touch()
        self.film = encode(self.place / "film.mp4", frames=6)

    def enqueue(self, count: int, *, kinds: Mapping[str, int] = KINDS, payload: object = None) -> list[str]:
        """Enqueue jobs, of these kinds in about these shares."""
        drawn = self.chance.choices(list(kinds), list(kinds.values()), k=count)
        self._jobs = [f"{kind}-{number:06}" for number, kind in enumerate(drawn)]
        with jobctl.Queue(self.url) as queue:
            queue.enqueue_many(
                jobctl.Request(each.partition("-")[0], payload, job_id=each) for each in self._jobs
            )
        return self._jobs

    def rage(
        self, *, calm_after_s: float, within_s: float, until: Callable[[], bool] = lambda: False
    ) -> None:
        """Let things happen, then let it be calm, until every job has ended, or ``until`` something."""
        began = clock.monotonic()
        try:
            while not self.is_over() and clock.monotonic() - began < within_s and not until():
                self._keep_workers()
                if clock.monotonic() - began < calm_after_s:
                    self._let_something_happen()
                    clock.sleep(self.chance.uniform(0.05, 0.4))
                else:
                    clock.sleep(0.2)
            self.until(self._knows_its_dead)
        finally:
            self.stop()

    def violations(self) -> list[str]:
        """What history and ledger say was broken, and what is left behind."""
        with self._store() as store, store.read() as connection:
            rows = connection.execute(
                select(
                    event.c.job_id, event.c.attempt, event.c.from_status, event.c.to_status, event.c.detail
                )
                .where(event.c.kind.in_(("created", "status", "artifact")))
                .order_by(event.c.event_id)
            ).all()
            running = workers.list_workers(connection, every=False)
            leases = connection.execute(select(func.count()).select_from(lease)).scalar_one()
            statuses = {
                row.job_id: row.status for row in connection.execute(select(job.c.job_id, job.c.status))
            }
        history = [
            Step(*row[:3], row.to_status or PUBLISHED, (row.detail or {}).get("cause")) for row in rows
        ]
        last = {step.job_id: step.after for step in history if step.after != PUBLISHED}
        found = violations(self._jobs, history, self.entries())
        found += [f"{leases} leases are left"] if leases else []
        found += [f"worker {row.worker_id} claims to run" for row in running]
        found += self.faults()
        found += [
            f"{job_id} is {status} and its history says {last.get(job_id)}"
            for job_id, status in statuses.items()
            if status != last.get(job_id)
        ]
        return found

    def attempts(self) -> int:
        """How often a job was taken."""
        with self._store() as store, store.read() as connection:
            taken = select(func.count()).where(event.c.to_status == "processing")
            count: int = connection.execute(taken).scalar_one()
        return count

    @contextmanager
    def _store(self) -> Iterator[Store]:
        with closing(open_store(self.url)) as store:
            yield store

    def is_over(self) -> bool:
        """Whether every job has ended; not, where the database does not tell."""
        with suppress(JobctlError), self._store() as store, store.read() as connection:
            is_open = job.c.status.not_in([status.value for status in ENDED])
            return connection.execute(select(job.c.job_id).where(is_open).limit(1)).one_or_none() is None
        return False

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds. Fails where it never does."""
        deadline = clock.monotonic() + _PATIENCE_S
        while not condition():
            if clock.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"it never came to that:\n{self.log()}")
            clock.sleep(0.05)

    def entries(self) -> list[Entry]:
        """What the handlers wrote."""
        lines = (line.split() for line in self.ledger.read_text().splitlines())
        return [Entry(what, job_id, int(number)) for what, job_id, number in lines]

    def log(self) -> str:
        """What the workers said."""
        place = self.place / "workers.log"
        return place.read_text() if place.exists() else ""

    def faults(self) -> list[str]:
        """What the workers said of faults in jobctl itself: whatever happens to them, there is none."""
        return [line for line in self.log().splitlines() if "a fault in jobctl" in line]

    def _knows_its_dead(self) -> bool:
        """Whether no worker is taken to run whose process has ended; the living ones see to that."""
        self._keep_workers()
        with suppress(JobctlError), self._store() as store, store.read() as connection:
            taken = {row.executor.pid for row in workers.list_workers(connection, every=False)}
            return taken <= {worker.pid for worker in self._running}
        return False

    # --- what there is -----------------------------------------------------------------------------

    def _keep_workers(self) -> None:
        self._running = [worker for worker in self._running if worker.poll() is None]
        self._others = [other for other in self._others if other.poll() is None]
        while len(self._running) < self.workers:
            self.start()

    def start(self) -> subprocess.Popen[bytes]:
        words = [
            "worker",
            "--tasks",
            "chaos_tasks",
            "--slots",
            "4",
            "--lease",
            f"{self.lease_s:g}s",
            "--grace",
            "5s",
        ]
        words += ["--isolation", self.chance.choice(self.isolation)]
        places = os.pathsep.join([str(_TESTS / "chaos"), str(_TESTS)])
        with (self.place / "workers.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, str(_TESTS / "chaos" / "program.py"), *words],
                env={**os.environ, **self._environment(), "PYTHONPATH": places},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._running.append(worker)
        return worker

    def _environment(self) -> Mapping[str, str]:
        clocks = self.place / ("clock" if self.server is None else f"clock-{self.chance.randrange(4)}")
        return {
            "JOBCTL_DATABASE_URL": self.url,
            "CHAOS_LEDGER": str(self.ledger),
            "CHAOS_FILM": str(self.film),
            "CHAOS_ROOT": str(self.root),
            "CHAOS_CLOCK": str(clocks),
            **({"CHAOS_WITHOUT": self.without} if self.without else {}),
        }

    def stop(self) -> None:
        """Ask the workers to stop; those that do not are lost like the others."""
        for worker in self._running:
            for pid in [worker.pid, *descendants(worker.pid)]:
                _send(pid, signal.SIGCONT)
            worker.terminate()
        for process in [*self._running, *self._others]:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            process.kill()
            process.wait()

    # --- what happens ------------------------------------------------------------------------------

    def _let_something_happen(self) -> None:
        kinds: Sequence[tuple[Callable[[], None], int]] = [
            (self._kill_worker, 3),
            (self._pause_worker, 3),
            (self._kill_below, 3),
            (self._pause_below, 3),
            (self._jump_clock, 1),
            *([(self._cut_connections, 3), (self._crash_server, 1)] if self.server else [(self._lock, 1)]),
        ]
        weights = {what: weight for what, weight in kinds if self.only in {None, _name(what)}}
        (what,) = self.chance.choices(list(weights), list(weights.values()))
        what()
        self.happened[_name(what)] += 1

    def _worker(self) -> subprocess.Popen[bytes]:
        return self.chance.choice(self._running)

    def _kill_worker(self) -> None:
        worker = self._worker()
        worker.kill()
        worker.wait()

    def _pause_worker(self) -> None:
        self._pause(self._worker().pid)

    def _kill_below(self) -> None:
        """An attempt, or the process that runs them."""
        found = descendants(self._worker().pid)
        if found:
            _send(self.chance.choice(found), signal.SIGKILL)

    def _pause_below(self) -> None:
        found = descendants(self._worker().pid)
        if found:
            self._pause(self.chance.choice(found))

    def _pause(self, pid: int) -> None:
        """Stop a process for a while; something outside lets it go on."""
        _send(pid, signal.SIGSTOP)
        wait = self.chance.uniform(0.2, 2 * LEASE_S)
        self._others.append(
            subprocess.Popen(["sh", "-c", f"sleep {wait}; kill -CONT {pid}"], stderr=subprocess.DEVNULL)
        )

    def _jump_clock(self) -> None:
        """By hours, forth; back only a little on SQLite, where what was put off would wait as long."""
        if self.server is None:
            place, off = self.place / "clock", self.chance.choice([-3.0, 3_600.0, 7_200.0])
            off += float(place.read_text()) if place.exists() else 0.0
        else:
            place = self.place / f"clock-{self.chance.randrange(4)}"
            off = self.chance.choice([-7_200.0, 0.0, 7_200.0])
        place.write_text(str(off))

    def _lock(self) -> None:
        """A foreign process holds SQLite's write lock for a while."""
        held = f"{self.chance.uniform(0.2, 1.5 * LEASE_S)}"
        self._others.append(subprocess.Popen([sys.executable, "-c", _HOLDS_WRITE_LOCK, self.url, held]))

    def _cut_connections(self) -> None:
        name = self.url.partition("?")[0].rpartition("/")[2]
        others = "FROM pg_stat_activity WHERE datname = %s AND random() < 0.5"
        with (
            suppress(psycopg.Error),
            psycopg.connect((self.server or _none()).url, autocommit=True) as connection,
        ):
            connection.execute(f"SELECT pg_terminate_backend(pid) {others}", (name,))

    def _crash_server(self) -> None:
        server = self.server or _none()
        server.stop()
        clock.sleep(self.chance.uniform(0.0, 1.5 * LEASE_S))
        server.start()


def _name(what: Callable[[], None]) -> str:
    return what.__name__.strip("_")


def descendants(pid: int) -> list[int]:
    """Every process that a process started, and those they started."""
    found = []
    with suppress(OSError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _none() -> Server:
    raise AssertionError("there is no server to be crashed")
