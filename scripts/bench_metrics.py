"""Measure metrics over ten million jobs, and what adding the history up costs those who work.

The sums of a year are generated as folding leaves them: hours, days and all, by kind, queue, status,
duration and owner. ``--contention`` starts some processes that live through jobs as fast as they can,
in turns with and without one that folds beside them as often as so many workers do.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bench
import bench_runner_floors as floors
from jobctl import clock
from jobctl.core.figures import Move
from jobctl.core.histogram import bounds_of, bucket_of
from jobctl.core.tally import Grain
from jobctl.core.window import By, floor, period_name, window_of
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.ops.exposition import look
from jobctl.ops.metrics import tell
from jobctl.ops.site import Site, open_site, store_now
from jobctl.runner.upkeep import TALLY_AT_ONCE, TALLY_EVERY_S
from jobctl.settings import load_settings
from jobctl.store import jobs, tallies
from jobctl.store.engine import Store, create_store, open_store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from postgres import at_database, running, system_binaries, wheel_binaries

_DATABASES = ("sqlite", "postgresql")
_KINDS = ("render", "thumbnail", "avatar", "clean", "slides")
_CODES = ("timeout", "ValueError", "died", "out-of-memory")
_OWNERS, _OWNERS_A_DAY = 100_000, 5_000
_AIM_MS = 100.0
_TIMES = 8
_FOLDS = 4


def main() -> None:
    """Print each time beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--rows", type=int, default=0, help="so many job records, too")
    parser.add_argument("--only", choices=_DATABASES)
    parser.add_argument("--contention", action="store_true", help="measure only what folding costs workers")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--directory", help="where to work (default: TMPDIR)")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="jobctl-bench-", dir=options.directory))
    try:
        with _places(directory, options.only) as places:
            for name, make in places.items():
                if options.contention:
                    measure_contention(name, make, options.workers, options.seconds)
                else:
                    measure_metrics(name, make(), options)
    finally:
        shutil.rmtree(directory)


# --- how long metrics take ------------------------------------------------------------------------


def measure_metrics(name: str, url: str, options: argparse.Namespace) -> None:
    """Every way to ask, on an opened store, the best of some."""
    began = time.perf_counter()
    rows = fill(url, options.jobs, options.days)
    floors.add_ended(url, options.rows)
    print(
        f"{name}: {options.jobs:,} jobs in {options.days} days, {rows:,} rows of sums,"
        f" {options.rows:,} records (made in {time.perf_counter() - began:.0f} s)",
        flush=True,
    )
    with open_site(load_settings(database=url, environ={}), pooled=True) as site:
        for by, back in (
            (By.HOUR, timedelta(hours=23)),
            (By.HOUR, timedelta(days=7)),
            (By.DAY, timedelta(days=13)),
            (By.DAY, timedelta(days=90)),
            (By.DAY, timedelta(days=options.days - 1)),
            (By.KIND, timedelta(hours=23)),
            (By.KIND, timedelta(days=30)),
            (By.KIND, timedelta(days=options.days - 1)),
            (By.QUEUE, timedelta(hours=23)),
            (By.OWNER, timedelta(days=1)),
            (By.OWNER, timedelta(days=13)),
            (By.OWNER, timedelta(days=29)),
            (By.OWNER, timedelta(days=199)),
            (By.OWNER, timedelta(days=options.days - 1)),
        ):
            _measure(f"{name}: --by {by.value} of {_said(back)}", _asking(site, by, back))
        _measure(f"{name}: --prometheus", lambda: look(site, most=20))


def _measure(what: str, ask: Callable[[], object]) -> None:
    """The best of some, and the least this process computed: on SQLite all but waiting for others' work."""
    cpu = float("inf")

    def once() -> None:
        nonlocal cpu
        began = time.process_time()
        ask()
        cpu = min(cpu, time.process_time() - began)

    took = bench.seconds(once, times=_TIMES)
    bench.tell(f"  {what}, ms ({cpu * 1000:.0f} of CPU)", took * 1000, 1.0, _AIM_MS)


def _asking(site: Site, by: By, back: timedelta) -> Callable[[], object]:
    now = store_now(site)
    return lambda: tell(site, by, window_of(by, now, now - back, None), most=20, for_people=False)


def _said(back: timedelta) -> str:
    return f"{back.days + 1} days" if back.days else "a day"


def fill(url: str, count: int, days: int) -> int:
    """Write the sums that so many jobs would have left; how many rows they are."""
    begin = floor(clock.now(), Grain.DAY) - timedelta(days=days - 1)
    total = 0
    with _writer(url) as write:
        whole_flows, whole_spans = Counter[Any](), Counter[Any]()
        months: dict[str, tuple[Counter[Any], Counter[Any], set[int]]] = {}
        for number in range(days):
            day = begin + timedelta(days=number)
            flows, spans = Counter[Any](), Counter[Any]()
            for hour in range(24):
                mine = _hour(count // days // 24)
                total += write("hour", period_name(day + timedelta(hours=hour), Grain.HOUR), *mine)
                flows.update(mine[0])
                spans.update(mine[1])
            total += write("day", period_name(day, Grain.DAY), flows, spans)
            whole_flows.update(flows)
            whole_spans.update(spans)
            month = months.setdefault(period_name(day, Grain.MONTH), (Counter(), Counter(), set()))
            month[0].update(flows)
            month[1].update(spans)
            owners = _sample(_OWNERS_A_DAY)
            month[2].update(owners)
            total += write.owners("day", period_name(day, Grain.DAY), owners, count // days)
        for name, (flows, spans, those) in months.items():
            total += write("month", name, flows, spans)
            total += write.owners("month", name, sorted(those), count // len(months))
        total += write("all", "", whole_flows, whole_spans)
        total += write.owners("all", "", range(_OWNERS), count)
    return total


_RANDOM = random.Random(7)


def _sample(count: int) -> Sequence[int]:
    return _RANDOM.sample(range(_OWNERS), count)


def _hour(count: int) -> tuple[Counter[Any], Counter[Any]]:
    """The changes and durations of an hour with so many jobs."""
    flows, spans = Counter[Any](), Counter[Any]()
    for kind, share in zip(_KINDS, (40, 25, 20, 10, 5), strict=True):
        done = count * share // 100
        failed = max(1, done // 20)
        queue = "fast" if kind == "thumbnail" else "default"
        key = (kind, queue)
        flows[*key, *Move("created", "", "queued", "", "")] += done
        flows[*key, *Move("status", "queued", "processing", "claim", "")] += done
        flows[*key, *Move("status", "processing", "completed", "executor", "")] += done - failed
        for code in _CODES:
            flows[*key, *Move("status", "processing", "failed", "executor", code)] += 1
            flows[*key, *Move("status", "processing", "queued", "retry", code)] += 1
        for what, to, many, median in (
            ("wait", "processing", done, 2.0),
            ("run", "completed", done - failed, 40.0),
            ("run", "failed", failed, 20.0),
        ):
            for _ in range(min(many, 60)):
                bucket = bucket_of(median * _RANDOM.lognormvariate(0, 1.2))
                spans[*key, what, to, bucket] += max(1, many // 60)
    return flows, spans


_FLOW = "edition, grain, period, job_kind, queue, origin, from_status, to_status, cause, error_code, count"
_SPAN = "edition, grain, period, job_kind, queue, what, to_status, bucket, count, total_s"
_SHARE = (
    "edition, grain, period, owner, created, imported, started, completed, failed, cancelled, expired,"
    " retried, lost, recovered, runs, run_s"
)


class _Writer:
    def __init__(self, put: Callable[[str, str, Iterator[Sequence[Any]]], None]) -> None:
        self._put = put

    def __call__(self, grain: str, period: str, flows: Counter[Any], spans: Counter[Any]) -> int:
        """Write the sums of a period, and once more with kinds and queues not told apart."""
        if grain != "all":
            plain_flows, plain_spans = Counter[Any](), Counter[Any]()
            for key, count in flows.items():
                plain_flows["", "", *key[2:]] += count
            for key, count in spans.items():
                plain_spans["", "", *key[2:]] += count
            written = self._write(f"{grain}s", period, plain_flows, plain_spans)
            return written + self._write(grain, period, flows, spans)
        return self._write(grain, period, flows, spans)

    def _write(self, grain: str, period: str, flows: Counter[Any], spans: Counter[Any]) -> int:
        self._put("tally_flow", _FLOW, ((1, grain, period, *key, n) for key, n in flows.items()))
        measured = ((1, grain, period, *key, n, n * bounds_of(key[-1])[1]) for key, n in spans.items())
        self._put("tally_span", _SPAN, measured)
        return len(flows) + len(spans)

    def owners(self, grain: str, period: str, owners: Sequence[int], count: int) -> int:
        each = max(1, count // len(owners))
        rows = (
            (1, grain, period, f"owner-{n:06}", each, 0, each, each - 1, 1, 0, 0, 0, 0, 0, each, each * 40.0)
            for n in sorted(owners)
        )
        self._put("tally_share", _SHARE, rows)
        return len(owners)


@contextmanager
def _writer(url: str) -> Iterator[_Writer]:
    """What writes rows as quickly as the database takes them."""
    position = "INSERT INTO {}tally_position (edition, position) VALUES (1, 0)"
    if url.startswith("postgresql"):
        import psycopg  # noqa: PLC0415 - not for SQLite

        with psycopg.connect(url) as connection:

            def copy(table: str, names: str, rows: Iterator[Sequence[Any]]) -> None:
                with connection.cursor().copy(f"COPY jobctl.{table} ({names}) FROM STDIN") as stream:
                    for row in rows:
                        stream.write_row(row)

            yield _Writer(copy)
            connection.execute(position.format("jobctl."))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        return
    import sqlite3  # noqa: PLC0415 - not for PostgreSQL

    with closing(sqlite3.connect(url, isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")

        def insert(table: str, names: str, rows: Iterator[Sequence[Any]]) -> None:
            marks = ", ".join("?" * len(names.split(",")))
            file.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)

        yield _Writer(insert)
        file.execute(position.format(""))
        file.execute("COMMIT")


# --- what folding costs workers -------------------------------------------------------------------


def measure_contention(name: str, make: Callable[[], str], workers: int, seconds: float) -> None:
    """The throughput of workers with one that folds beside them, against the same without; in turns."""
    url = make()
    measure_hold(name, make, workers)
    rates: dict[bool, list[float]] = {False: [], True: []}
    for is_folding in (False, True, True, False) * 3:
        rates[is_folding].append(_throughput(url, workers, seconds, is_folding=is_folding))
    without, beside = (sum(rates[each]) / len(rates[each]) for each in (False, True))
    print(f"{name}: {workers} workers, {without:,.0f} jobs/s without, {beside:,.0f} jobs/s beside the fold")
    bench.tell(f"  {name}: throughput beside the fold / without", beside, without, 0.9, at_least=True)


def measure_hold(name: str, make: Callable[[], str], workers: int) -> None:
    """How long a fold, of as much as a worker adds up at once, holds the lock; and which share that is.

    Others' work makes it longer, never shorter: it says more than the throughput of those beside it.
    """
    url = make()
    stop: Any = multiprocessing.Event()
    done: Any = multiprocessing.Queue()
    life = multiprocessing.Process(target=_live, args=(url, stop, done, TALLY_AT_ONCE * _FOLDS // 3))
    life.start()
    done.get()
    life.join()
    held: list[float] = []
    with closing(open_store(url)) as store:
        timed = _Timed(store, held)
        while tallies.fold(timed, at_most=TALLY_AT_ONCE) or tallies.fold(timed, at_most=TALLY_AT_ONCE):
            pass
    full = sorted(held)[-_FOLDS:]
    share = statistics.median(full) * workers / TALLY_EVERY_S
    print(
        f"{name}: a fold of {TALLY_AT_ONCE:,} events holds the lock {statistics.median(full) * 1000:.0f} ms"
    )
    bench.tell(f"  {name}: share of the writer's time, folds of {workers} workers, %", share * 100, 1.0, 10.0)


class _Timed(Store):
    """A store that notes how long each write held what it locks, the commit included."""

    def __init__(self, store: Store, held: list[float]) -> None:
        super().__init__(store.dialect, store.engine, store.store_id)
        self._held = held

    @contextmanager
    def write(self, **how: Any) -> Iterator[Any]:
        with super().write(**how) as connection:
            began = time.perf_counter()
            yield connection
        self._held.append(time.perf_counter() - began)


def _throughput(url: str, workers: int, seconds: float, *, is_folding: bool) -> float:
    done: Any = multiprocessing.Queue()
    stop = multiprocessing.Event()
    lives = [multiprocessing.Process(target=_live, args=(url, stop, done)) for _ in range(workers)]
    folds = (
        [multiprocessing.Process(target=_fold, args=(url, stop, TALLY_EVERY_S / workers))]
        if is_folding
        else []
    )
    for process in (*lives, *folds):
        process.start()
    time.sleep(seconds)
    stop.set()
    total: int = sum(done.get() for _ in lives)
    for process in (*lives, *folds):
        process.join()
    return total / seconds


def _live(url: str, stop: Any, done: Any, most: float = math.inf) -> None:
    """Enqueue, claim and complete jobs, ten in a transaction, until told to stop."""
    count, name = 0, f"{multiprocessing.current_process().name}-{time.monotonic_ns()}"
    with closing(open_store(url, pooled=True)) as store:
        while not stop.is_set() and count < most:
            with store.write() as connection:
                for number in range(10):
                    job_id, at = f"{name}-{count + number}", datetime.now(UTC)
                    made = Job(job_id=job_id, kind=_KINDS[number % 5], owner=f"owner-{count % 1000}")
                    jobs.create_job(connection, made, actor="bench", at=at)
                    for before, to, cause in (
                        (Status.QUEUED, Status.PROCESSING, Cause.CLAIM),
                        (Status.PROCESSING, Status.COMPLETED, Cause.EXECUTOR),
                    ):
                        jobs.change_status(
                            connection, job_id, to, expect=before, cause=cause, actor="bench", at=at
                        )
            count += 10
    done.put(count)


def _fold(url: str, stop: Any, every_s: float) -> None:
    """Fold as often as so many workers do together, and as much at once."""
    with closing(open_store(url, pooled=True)) as store:
        while not stop.wait(every_s):
            tallies.fold(store, at_most=TALLY_AT_ONCE)


@contextmanager
def _places(directory: Path, only: str | None) -> Iterator[dict[str, Callable[[], str]]]:
    """For each database what makes an empty store and tells its URL."""
    numbers = itertools.count()

    def sqlite() -> str:
        return _made(str(directory / f"jobs-{next(numbers)}.db"))

    if only == "sqlite":
        yield {"sqlite": sqlite}
        return
    binaries = system_binaries() or wheel_binaries()
    if binaries is None:
        sys.exit("there is no PostgreSQL here: install the test requirements")
    with running(binaries, fsync=True) as server:

        def postgresql() -> str:
            name = f"bench_{next(numbers)}"
            floors.create_database(server, name)
            return _made(at_database(server, name))

        every: dict[str, Callable[[], str]] = {"sqlite": sqlite, "postgresql": postgresql}
        yield {name: make for name, make in every.items() if only in {None, name}}


def _made(url: str) -> str:
    create_store(url, now=clock.now(), version="bench")[0].close()
    return url


if __name__ == "__main__":
    main()
