"""Measure the apply of rebuilt records against the raw drivers writing the same rows.

``--records`` says how many (default 100,000). The floor writes the same journal, job,
artifact and event rows, into the same tables with the same indexes and the same
durability, in one transaction: ``executemany`` on SQLite, COPY on PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

import bench
from jobctl import clock
from jobctl.core.planning import Terms
from jobctl.core.rebuild import UrlForms
from jobctl.model.plan import Action, PlanHeader, Verb
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.apply import apply_plan
from jobctl.ops.hold import Hold, hold_roots
from jobctl.ops.init import initialise
from jobctl.ops.plan import Plan, PlanWriter
from jobctl.ops.site import open_site
from jobctl.settings import Settings
from jobctl.store.engine import open_store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))


def main() -> None:
    """Run on both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="jobctl-bench-"))
    try:
        print(f"apply of {options.records:,} rebuilt records with their files and history")
        sqlite(directory, options.records)
        postgresql(directory, options.records)
    finally:
        shutil.rmtree(directory)


def sqlite(directory: Path, records: int) -> None:
    """Apply on SQLite, in WAL with synchronous=FULL."""
    ours, raw = str(directory / "ours" / "jobs.db"), str(directory / "raw" / "jobs.db")
    took = _apply(ours, directory / "outputs-sqlite", records)
    initialise(_settings(raw), roots=[], layout="presentations", host_local=False, now=clock.now())
    open_store(raw).close()

    def floor() -> None:
        connection = sqlite3.connect(raw)
        connection.execute("PRAGMA synchronous = FULL")
        for table, names, rows in _rows(records, as_text=True):
            marks = ", ".join("?" * len(names))
            connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)
        connection.commit()
        connection.close()

    raw_took = bench.seconds(floor)
    print(f"  SQLite: {took:.1f} s, raw {raw_took:.1f} s")
    bench.tell("  SQLite: apply / raw sqlite3, one transaction", took, raw_took, 1.3)


def postgresql(directory: Path, records: int) -> None:
    """Apply on a PostgreSQL of our own, with fsync on."""
    from postgres import at_database, running, system_binaries, wheel_binaries  # noqa: PLC0415

    binaries = system_binaries() or wheel_binaries()
    if binaries is None:
        print("  PostgreSQL: no server binaries, not measured")
        return
    with running(binaries, fsync=True) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE ours")
            connection.execute("CREATE DATABASE raw")
        took = _apply(at_database(url, "ours"), directory / "outputs-postgresql", records)
        raw = at_database(url, "raw")
        initialise(_settings(raw), roots=[], layout="presentations", host_local=False, now=clock.now())

        def floor() -> None:
            with psycopg.connect(raw) as connection:
                for table, names, rows in _rows(records, as_text=False):
                    copy_in = f"COPY jobctl.{table} ({', '.join(names)}) FROM STDIN"
                    with connection.cursor() as cursor, cursor.copy(copy_in) as copy:
                        for row in rows:
                            copy.write_row(row)

        raw_took = bench.seconds(floor)
    print(f"  PostgreSQL: {took:.1f} s, raw {raw_took:.1f} s")
    bench.tell("  PostgreSQL: apply / raw COPY, one transaction", took, raw_took, 1.3)


def _settings(database: str) -> Settings:
    return Settings(database=database, host_id="bench")


def _apply(database: str, root: Path, records: int) -> float:
    """Apply a plan of that many creations; the seconds it took from the finished plan on."""
    root.mkdir()
    settings = _settings(database)
    initialise(settings, roots=[str(root)], layout="presentations", host_local=False, now=clock.now())
    with open_site(settings) as site, hold_roots(site, command="bench") as hold, _plan(hold, records) as plan:
        report: list[Any] = []
        took = bench.seconds(lambda: report.append(apply_plan(hold, plan)))
        if report[0].counts["done"] != records:
            sys.exit(f"not all was applied: {report[0].counts}")
    return took


def _plan(hold: Hold, records: int) -> Plan:
    site = hold.site
    now = format_timestamp(clock.now())
    header = PlanHeader(
        command="recover",
        store_id=site.store.store_id,
        roots={hold.roots[0].root_id: 0},
        created_at=now,
        configuration=site.settings.digest(),
    )
    writer = PlanWriter(header)
    for action in _actions(records, hold.roots[0].root_id, now):
        writer.add(action)
    return writer.finish()


def _actions(records: int, root_id: str, now: str) -> Iterator[Action]:
    terms = Terms(now, now, UrlForms())
    for number in range(records):
        job_id = _job_id(number)
        job, artifact = _job(job_id, root_id, terms), _artifact(job_id, root_id, now)
        # No expected file: what is measured is the store, not a million lstat calls.
        yield Action(
            seq=0,
            verb=Verb.CREATE,
            job_id=job_id,
            reason="whole, and no record names it",
            root_id=root_id,
            path=artifact["path"],
            to_status="completed",
            confidence="medium",
            job_after=job,
            artifact_after=artifact,
        )


def _job_id(number: int) -> str:
    return str(uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128, version=4))


def _job(job_id: str, root_id: str, terms: Terms) -> dict[str, Any]:
    where = {"source": "video", "locator": f"{root_id}:presentation_{job_id}.mp4", "trust": "E1"}
    fields = (
        "status",
        "progress",
        "video_url",
        "root_id",
        "size",
        "completed_at",
        "duration_s",
        "created_at",
    )
    return {
        "job_id": job_id,
        "status": "completed",
        "progress": 100.0,
        "video_url": terms.urls.video.format(job_id=job_id),
        "created_at": terms.planned_at,
        "completed_at": terms.planned_at,
        "created_files": [f"presentation_{job_id}.mp4"],
        "kind": "presentation",
        "queue": "default",
        "priority": 0,
        "attempt": 0,
        "max_attempts": 1,
        "origin": "recovered",
        "confidence": "medium",
        "root_id": root_id,
        "recovered_at": terms.planned_at,
        "provenance": {name: {"value": "as above", **where} for name in fields},
    }


def _artifact(job_id: str, root_id: str, now: str) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "root_id": root_id,
        "path": f"presentation_{job_id}.mp4",
        "role": "video",
        "state": "present",
        "size": 1_000_000,
        "mtime_ns": 1_762_300_800_000_000_000,
        "sha256": job_id.replace("-", "") * 2,
        "verdict": "whole",
        "tier": "2",
        "media": {
            "container": "mov",
            "duration_s": 12.5,
            "width": 1280,
            "height": 720,
            "video_codec": "h264",
        },
        "noted_at": now,
    }


def _rows(records: int, *, as_text: bool) -> Iterator[tuple[str, list[str], Iterator[tuple[Any, ...]]]]:
    """The rows a run leaves behind, table by table, as the drivers take them."""
    now = clock.now()
    moment: Any = format_timestamp(now) if as_text else now
    moments = {"created_at", "completed_at", "recovered_at", "updated_at", "noted_at", "at", "applied_at"}

    def plain(row: dict[str, Any]) -> tuple[Any, ...]:
        values = ((name, moment if name in moments else value) for name, value in row.items())
        return tuple(json.dumps(value) if isinstance(value, dict | list) else value for _, value in values)

    terms = Terms(format_timestamp(now), format_timestamp(now), UrlForms())
    for table, make in (
        ("run_action", _journal_row),
        ("job", _job_row),
        ("artifact", _artifact_row),
        ("event", _event_row),
    ):
        names = list(make(0, terms))
        yield table, names, (plain(make(number, terms)) for number in range(records))


def _journal_row(number: int, terms: Terms) -> dict[str, Any]:
    job_id = _job_id(number)
    return {
        "run_id": "raw",
        "seq": number,
        "verb": "create",
        "job_id": job_id,
        "reason": "whole, and no record names it",
        "root_id": "r1",
        "path": f"presentation_{job_id}.mp4",
        "to_status": "completed",
        "confidence": "medium",
        "job_after": _job(job_id, "r1", terms),
        "artifact_after": _artifact(job_id, "r1", terms.planned_at),
        "outcome": "done",
        "applied_at": terms.planned_at,
    }


def _job_row(number: int, terms: Terms) -> dict[str, Any]:
    return {**_job(_job_id(number), "r1", terms), "version": 1, "updated_at": terms.planned_at}


def _artifact_row(number: int, terms: Terms) -> dict[str, Any]:
    return {**_artifact(_job_id(number), "r1", terms.planned_at), "run_id": "raw", "version": 1}


def _event_row(number: int, terms: Terms) -> dict[str, Any]:
    return {
        "job_id": _job_id(number),
        "at": terms.planned_at,
        "kind": "recovered",
        "actor": "bench",
        "run_id": "raw",
        "attempt": 0,
        "to_status": "completed",
        "detail": {"verb": "create", "reason": "whole, and no record names it", "root_id": "r1", "path": "p"},
    }


if __name__ == "__main__":
    main()
