"""Measure ``jobctl status`` from shell to prompt on a large store beside an empty one, on both databases.

The store holds jobs that ended, some that are queued or running, and their history. The floors are
the same call on a store with nothing in it, and what its libraries cost to import. ``--plans`` also
shows how each query is carried out.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

import bench
from jobctl import __version__, clock
from jobctl.store.engine import Store, create_store, open_store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from postgres import at_database, running, system_binaries, wheel_binaries

_DATABASES = ("sqlite", "postgresql")
_AIM_S = 1.5

_NUMBERS = {
    "sqlite": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {count})"
    " SELECT n FROM r",
    "postgresql": "SELECT generate_series(1, {count}) AS n",
}
_AT = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%S.000000Z', 'now', '-' || (({count} - n) / 20) || ' seconds')",
    "postgresql": "now() - ({count} - n) / 20 * interval '1 second'",
}
# One in 50 is queued, in three queues; one in 5,000 runs, and of these most are stale; one in 20 failed.
_STATUS = (
    "CASE WHEN n % 5000 = 0 THEN 'processing' WHEN n % 50 = 0 THEN 'queued'"
    " WHEN n % 20 = 1 THEN 'failed' ELSE 'completed' END"
)
_ID = {"sqlite": "printf('job-%09d', n)", "postgresql": "'job-' || lpad(n::text, 9, '0')"}
_JOBS = """
INSERT INTO {schema}job (job_id, status, kind, queue, priority, origin, created_at, run_at, updated_at, error)
SELECT {id}, {status}, 'render', 'queue-' || n % 3, n % 2, 'created', {at}, {at}, {at},
    CASE WHEN n % 20 = 1 THEN 'no space left on device' END
FROM ({numbers}) AS numbers"""
_EVENTS = """
INSERT INTO {schema}event (job_id, at, kind, actor, from_status, to_status)
SELECT {id}, {at}, 'created', 'bench', NULL, {status} FROM ({numbers}) AS numbers"""
_TALLY = """
INSERT INTO {schema}tally_flow
SELECT 1, 'all', '', 'render', '', 'created', '', to_status, '', '', count(*)
FROM {schema}event GROUP BY to_status"""
_POSITION = (
    "INSERT INTO {schema}tally_position (edition, position) SELECT 1, max(event_id) FROM {schema}event"
)


def main() -> None:
    """Print each ratio beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--only", choices=_DATABASES)
    parser.add_argument("--plans", action="store_true")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="jobctl-bench-"))
    floor = min(
        _processor_s(lambda: subprocess.run([sys.executable, "-c", "import typer, sqlalchemy"], check=True))
        for _ in range(3)
    )
    print(f"import typer, sqlalchemy: {floor:.2f} s of a processor")
    try:
        for name in _DATABASES if options.only is None else (options.only,):
            with _places(name, directory) as (empty, large):
                _measure(name, empty, large, options, floor)
    finally:
        shutil.rmtree(directory)


def _measure(name: str, empty: str, large: str, options: argparse.Namespace, floor: float) -> None:
    took = bench.seconds(lambda: fill(large, options.jobs))
    print(f"{name}: {options.jobs:,} jobs, made in {took:.0f} s")
    if options.plans:
        _show_plans(large)
    nothing, much = (_quickest(url) for url in (empty, large))
    print(f"  status: {nothing:.2f} s with nothing in the store, {much:.2f} s with all of it")
    bench.tell(f"  {name}: status, seconds from shell to prompt", much, 1.0, _AIM_S)
    bench.tell(f"  {name}: status on the large store / on an empty one", much, nothing, 1.5)
    busy = min(_processor_s(lambda: bench.program("status", database=large)) for _ in range(3))
    bench.tell(f"  {name}: status / import typer, sqlalchemy, processor time", busy, floor, 2.0)


def _quickest(url: str) -> float:
    bench.program("status", database=url)
    return min(bench.program("status", database=url)[0] for _ in range(3))


def _processor_s(work: Callable[[], object]) -> float:
    """How much of a processor the programs took that ``work`` ran; others' load does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def fill(url: str, count: int) -> None:
    """Jobs, their history, and its tally."""
    store = open_store(url)
    name = store.dialect.name
    words = {"schema": "" if name == "sqlite" else "jobctl.", "id": _ID[name], "status": _STATUS}
    words |= {"at": _AT[name].format(count=count), "numbers": _NUMBERS[name].format(count=count)}
    percent = "%" if name == "sqlite" else "%%"
    with store.write() as connection:
        for statement in (_JOBS, _EVENTS, _TALLY, _POSITION):
            connection.exec_driver_sql(statement.format(**words).replace("%", percent))
    store.close()
    if name == "postgresql":
        # As its own housekeeping does, which would run beside what is measured; SQLite has none.
        with psycopg.connect(url, autocommit=True) as plain:
            plain.execute("VACUUM ANALYZE")
            plain.execute("CHECKPOINT")


def _show_plans(url: str) -> None:
    """How each query of the look is carried out."""
    from sqlalchemy import event  # noqa: PLC0415

    from jobctl.ops import standing  # noqa: PLC0415 - only for this
    from jobctl.ops.site import open_site  # noqa: PLC0415
    from jobctl.settings import Settings  # noqa: PLC0415

    asked: dict[str, Any] = {}
    with open_site(Settings(database=url, host_id="bench")) as site:

        def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> None:
            if statement.lstrip().startswith(("SELECT", "WITH")) and "pg_" not in statement:
                asked.setdefault(statement, parameters)

        event.listen(site.store.engine, "before_cursor_execute", note)
        began = clock.monotonic()
        standing.look(site)
        print(f"  the look itself: {clock.monotonic() - began:.3f} s, {len(asked)} different queries")
        event.remove(site.store.engine, "before_cursor_execute", note)
        _explain(site.store, asked)


def _explain(store: Store, asked: dict[str, Any]) -> None:
    words = "EXPLAIN QUERY PLAN " if store.dialect.name == "sqlite" else "EXPLAIN (ANALYZE, COSTS OFF) "
    for statement, parameters in asked.items():
        with store.read() as connection:
            plan = connection.exec_driver_sql(words + statement, parameters).all()
        lines = "\n".join(f"      {row[-1]}" for row in plan)
        print(f"    {' '.join(statement.split())[:300]}\n{lines}")


@contextmanager
def _places(name: str, directory: Path) -> Iterator[tuple[str, str]]:
    """An empty store, and one to fill."""
    if name == "sqlite":
        yield _made(str(directory / "empty" / "jobs.db")), _made(str(directory / "large" / "jobs.db"))
        return
    binaries = system_binaries() or wheel_binaries()
    if binaries is None:
        sys.exit("no PostgreSQL: install the test requirements")
    with running(binaries) as server:
        from bench_runner_floors import create_database  # noqa: PLC0415 - only PostgreSQL needs it

        urls = []
        for database in ("bench_empty", "bench_large"):
            create_database(server, database)
            urls.append(_made(at_database(server, database)))
        yield urls[0], urls[1]


def _made(url: str) -> str:
    store, _ = create_store(url, now=clock.now(), version=__version__)
    store.close()
    return url


if __name__ == "__main__":
    main()
