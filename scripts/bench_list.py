"""Measure the first page of every kind of list, and of the history, on both databases.

``--records`` says how many jobs, each with three events (default one million). What is looked
for lies where it costs most: failed jobs, expired ones and a rare owner are the oldest of all.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

import bench
from jobctl import clock
from jobctl.model.history import EventFilter
from jobctl.model.listing import Order
from jobctl.model.status import Status
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.events import Window, event_page
from jobctl.ops.init import initialise
from jobctl.ops.jobs import JobFilter, page_of_jobs
from jobctl.ops.site import Site, open_site
from jobctl.settings import Settings
from jobctl.store.engine import Connection
from jobctl.store.statements import bulk_insert, refresh_statistics

sys.path.append(str(Path(__file__).parent.parent / "tests"))

_PATIENCE_S, _AIM_S = 0.6, 1.0
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_EVERY = timedelta(seconds=3)
_JOB = (
    "job_id",
    "status",
    "progress",
    "error",
    "error_code",
    "video_url",
    "created_at",
    "completed_at",
    "kind",
    "queue",
    "owner",
    "origin",
    "updated_at",
    "attempt",
    "created_files",
)
_EVENT = ("job_id", "at", "kind", "actor", "attempt", "from_status", "to_status", "detail")


def main() -> None:
    """Measure, and print every time beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="jobctl-bench-"))
    try:
        if options.only != "postgresql":
            measure(str(directory / "jobs.db"), options.records)
        if options.only != "sqlite":
            postgresql(options.records)
    finally:
        shutil.rmtree(directory)


def postgresql(records: int) -> None:
    from postgres import at_database, running, system_binaries, wheel_binaries  # noqa: PLC0415

    binaries = system_binaries() or wheel_binaries()
    if binaries is None:
        print("  PostgreSQL: no server binaries, not measured")
        return
    with running(binaries, fsync=False) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE ours")
        measure(at_database(url, "ours"), records)


def measure(url: str, records: int) -> None:
    """Fill a store, and time the first page of everything."""
    settings = Settings(database=url, host_id="bench")
    initialise(settings, roots=[], layout="presentations", host_local=False, now=clock.now())
    with open_site(settings, actor="bench") as site:
        print(f"{site.store.dialect.name}: {records:,} jobs, {3 * records:,} events", flush=True)
        fill(site, records)
        for what, look in {**lists(site), **histories(site, records)}.items():
            bench.tell(f"{what}: seconds", bench.seconds(look), 1.0, _AIM_S)


def fill(site: Site, records: int) -> None:
    """Write the jobs and their history; indexes are made afterwards, which is many times as fast."""
    with site.store.write() as connection, _without_indexes(connection):
        bulk_insert(connection, site.store.dialect, "job", _JOB, (job(n, records) for n in range(records)))
        bulk_insert(connection, site.store.dialect, "event", _EVENT, events(records))
    with site.store.write() as connection:
        for table in ("job", "event"):
            refresh_statistics(connection, site.store.dialect, table)


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    if connection.dialect.name == "sqlite":
        # Keys are spread: they are put in their places in memory.
        connection.exec_driver_sql("PRAGMA cache_size = -1000000")
        found = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        wanted = f"{found} AND tbl_name IN ('job', 'event')"
    else:
        found = "SELECT schemaname || '.' || indexname, indexdef FROM pg_indexes"
        constraints = "SELECT conname FROM pg_constraint"
        wanted = f"{found} WHERE tablename IN ('job', 'event') AND indexname NOT IN ({constraints})"
    indexes = connection.exec_driver_sql(wanted).all()
    for name, _ in indexes:
        connection.exec_driver_sql(f"DROP INDEX {name}")
    yield
    for _, statement in indexes:
        connection.exec_driver_sql(statement)


def status_of(number: int, records: int) -> Status:
    share = number / records
    if share < 0.01:
        return (Status.FAILED, Status.CANCELLED, Status.EXPIRED)[number % 3]
    if share < 0.02:
        return Status.EXPIRED
    return Status.COMPLETED if share < 0.999 else (Status.QUEUED, Status.PROCESSING)[number % 2]


def job(number: int, records: int) -> tuple[Any, ...]:
    """A job: ids are spread, times are not."""
    status = status_of(number, records)
    job_id, at = job_id_of(number), _FIRST + number * _EVERY
    ended = at + timedelta(minutes=3)
    is_done = status in {Status.COMPLETED, Status.EXPIRED}
    error = ("the renderer answered 502", "remote") if status is Status.FAILED else (None, None)
    owner = "rare" if number == 7 else "many" if number % 3 == 0 else f"user-{number % 997}"
    kind = "avatar" if number < 40 else "presentation"
    video = f"/presentations/{job_id}/video" if is_done else None
    done = format_timestamp(ended) if is_done else None
    stamp = format_timestamp(ended if status not in {Status.QUEUED, Status.PROCESSING} else at)
    started = (
        job_id,
        status.value,
        100.0 if is_done else None,
        *error,
        video,
        format_timestamp(at),
        done,
        kind,
    )
    return (*started, "default", owner, "created", stamp, 1, "[]")


def job_id_of(number: int) -> str:
    spread = f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}"
    return f"{spread[16:24]}-{spread[24:28]}-4{spread[29:32]}-8000-{number:012x}"


def events(records: int) -> Iterator[tuple[Any, ...]]:
    """Created, taken and ended, in the order of the jobs."""
    for number in range(records):
        job_id, at = job_id_of(number), format_timestamp(_FIRST + number * _EVERY)
        yield job_id, at, "created", "service", None, None, "queued", None
        yield job_id, at, "status", f"worker w-{number % 20}", 1, "queued", "processing", '{"cause":"claim"}'
        ended = status_of(number, records).value
        yield job_id, at, "status", f"worker w-{number % 20}", 1, "processing", ended, '{"cause":"executor"}'


def lists(site: Site) -> dict[str, Callable[[], object]]:
    """Every kind of list."""
    late = _FIRST + timedelta(days=2)
    asked: dict[str, tuple[JobFilter, dict[str, Any]]] = {
        "newest": (JobFilter(), {}),
        "oldest": (JobFilter(), {"is_reversed": True}),
        "last changed": (JobFilter(), {"order": Order.UPDATED}),
        "last completed": (JobFilter(), {"order": Order.COMPLETED}),
        "by id": (JobFilter(), {"order": Order.ID}),
        **{f"newest {status}": (JobFilter(statuses=frozenset({status})), {}) for status in Status},
        "last changed failed": (JobFilter(statuses=frozenset({Status.FAILED})), {"order": Order.UPDATED}),
        "of a rare owner": (JobFilter(owner="rare"), {}),
        "of an owner": (JobFilter(owner="user-500"), {}),
        "failed of an owner": (JobFilter(owner="user-500", statuses=frozenset({Status.FAILED})), {}),
        "of an owner, last changed": (JobFilter(owner="user-500"), {"order": Order.UPDATED}),
        "of the most jobs' owner, failed": (JobFilter(owner="many", statuses=frozenset({Status.FAILED})), {}),
        "of the most jobs' owner, last changed": (JobFilter(owner="many"), {"order": Order.UPDATED}),
        "of a rare kind": (JobFilter(kind="avatar"), {}),
        "of a rare kind, last changed": (JobFilter(kind="avatar"), {"order": Order.UPDATED}),
        "of a common queue": (JobFilter(queue="default"), {}),
        "with a text that is rare": (JobFilter(text="answered 502"), {}),
        "with a text that nothing has": (JobFilter(text="no such thing"), {}),
        "completed up to long ago": (JobFilter(by=Order.COMPLETED, until=late), {"order": Order.COMPLETED}),
        "completed up to long ago, newest": (JobFilter(by=Order.COMPLETED, until=late), {}),
    }

    def look(wanted: JobFilter, how: dict[str, Any]) -> Callable[[], object]:
        return lambda: page_of_jobs(site, wanted, limit=50, patience_s=_PATIENCE_S, **how)

    return {f"list, {what}": look(wanted, how) for what, (wanted, how) in asked.items()}


def histories(site: Site, records: int) -> dict[str, Callable[[], object]]:
    """Every kind of look at the history."""
    early, latest = _FIRST + timedelta(days=1), _FIRST + records * _EVERY
    asked = {
        "newest": EventFilter(),
        "of a job": EventFilter(job_ids=frozenset({job_id_of(records // 2)})),
        "failed": EventFilter(to_statuses=frozenset({Status.FAILED})),
        "of a rare owner": EventFilter(job_same={"owner": "rare"}),
        "of an owner": EventFilter(job_same={"owner": "user-500"}),
        "of the most jobs' owner": EventFilter(job_same={"owner": "many", "kind": "no such kind"}),
        "up to long ago": EventFilter(until=early),
        "of the last hour": EventFilter(since=latest - timedelta(hours=1)),
        "of the last hour, with a text that nothing has": EventFilter(
            since=latest - timedelta(hours=1), text="no such thing"
        ),
        "with a text that nothing has": EventFilter(text="no such thing"),
    }

    def look(wanted: EventFilter) -> Callable[[], object]:
        return lambda: event_page(site, wanted, Window(), limit=50, newest=True, patience_s=_PATIENCE_S)

    return {f"events, {what}": look(wanted) for what, wanted in asked.items()}


if __name__ == "__main__":
    main()
