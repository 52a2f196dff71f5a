"""Streams: the narrow rows that reconciling reads by the million, alike on both databases."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, event, insert, text

from jobctl.model.job import Executor
from jobctl.model.records import Declined, Linked, Record, Tombstone
from jobctl.store import job_streams, jobs
from jobctl.store.engine import Store
from jobctl.store.schema import artifact, declined, metadata, tombstone
from store.records import AT, claim, complete, create, later, show_life

IDS = ["B", "a", "a1", "b", "é", "\uffff", "\U0001f600"]


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    """A transaction of an empty store."""
    with store.write() as opened:
        yield opened


def test_records_come_by_id_in_byte_order(store: Store, connection: Connection) -> None:
    for name in reversed(IDS):
        create(connection, name)
    found = [row[0] for row in job_streams.stream_records(connection, store.dialect, "", None)]
    assert found == sorted(IDS)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [("", "a", ["B"]), ("a", "a1", ["a"]), ("a", "b", ["a", "a1"]), ("b", None, IDS[3:]), ("c", "d", [])],
)
def test_a_range_has_its_lower_bound_and_not_its_upper(
    store: Store, connection: Connection, low: str, high: str | None, expected: list[str]
) -> None:
    for name in IDS:
        create(connection, name)
    assert [row[0] for row in job_streams.stream_records(connection, store.dialect, low, high)] == expected


def test_a_record_is_told_in_27_characters_and_json(store: Store, connection: Connection) -> None:
    create(connection, "a", root_id="r1")
    executor = Executor("host-a", "boot", 1, 2, "ns")
    claim(connection, "a", at=later(1), changes={"executor": executor})
    show_life(connection, "a", progress=12.5, at=later(2))
    (row,) = job_streams.stream_records(connection, store.dialect, "", None)
    record = Record._make(row)
    assert record._replace(executor=None) == Record(
        job_id="a",
        status="processing",
        version=2,
        progress=12.5,
        error_code=None,
        attempt=1,
        root_id="r1",
        created_at="2026-01-31T12:00:00.123456Z",
        started_at="2026-01-31T12:00:01.123456Z",
        completed_at=None,
        last_heartbeat="2026-01-31T12:00:02.123456Z",
        updated_at="2026-01-31T12:00:01.123456Z",
        executor=None,
    )
    assert record.executor is not None
    assert json.loads(record.executor) == executor._asdict()


def test_a_completed_record_has_its_moment(store: Store, connection: Connection) -> None:
    create(connection, "a")
    claim(connection, "a")
    complete(connection, "a", at=later(-1))
    (row,) = job_streams.stream_records(connection, store.dialect, "", None)
    assert Record._make(row).completed_at == "2026-01-31T11:59:59.123456Z"


def test_artifacts_come_with_their_stored_names(store: Store, connection: Connection) -> None:
    row = Linked("a", "r1", r"caf\xe9.mp4", "video", "present", 5, 2**62, "ab", 3)
    connection.execute(insert(artifact), row._asdict())
    connection.execute(insert(artifact), row._replace(job_id="b", size=None, sha256=None)._asdict())
    found = [Linked._make(each) for each in job_streams.stream_artifacts(connection, store.dialect, "a", "b")]
    assert found == [row]


def test_only_open_tombstones_are_told(store: Store, connection: Connection) -> None:
    for name in ("a", "b", "c"):
        create(connection, name)
        jobs.delete_job(connection, name, actor="ada", at=AT)
    create(connection, "b")
    found = list(job_streams.stream_tombstones(connection, store.dialect, "b", None))
    assert found == [Tombstone("c", "2026-01-31T12:00:00.123456Z", "deleted")]


def test_declined_files_are_told(store: Store, connection: Connection) -> None:
    mark = {"job_id": "a", "root_id": "r1", "inode": -1, "size": 5, "mtime_ns": 7, "run_id": "run-1"}
    connection.execute(insert(declined), {**mark, "path": r"caf\xe9.mp4", "at": AT})
    found = list(job_streams.stream_declined(connection, store.dialect, "", None))
    at = "2026-01-31T12:00:00.123456Z"
    assert found == [Declined("a", "r1", "caf\udce9.mp4", -1, 5, 7, at, "run-1")]


def test_streams_run_side_by_side(store: Store, connection: Connection) -> None:
    for name in IDS:
        create(connection, name)
        row = Linked(name, "r1", "x.mp4", "video", "present", None, None, None, 1)
        connection.execute(insert(artifact), row._asdict())
    records = job_streams.stream_records(connection, store.dialect, "", None)
    artifacts = job_streams.stream_artifacts(connection, store.dialect, "", None)
    assert [(left[0], right[0]) for left, right in zip(records, artifacts, strict=True)] == [
        (name, name) for name in sorted(IDS)
    ]


def test_a_stream_may_be_left_early(store: Store, connection: Connection) -> None:
    for name in IDS:
        create(connection, name)
    stream = job_streams.stream_records(connection, store.dialect, "", None)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(list(job_streams.stream_records(connection, store.dialect, "", None))) == len(IDS)


def test_memory_does_not_grow_with_the_rows(store: Store) -> None:
    rows = 60_000
    table = store.dialect.table("tombstone")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)"
    moment = "'2026-01-31T12:00:00.123456Z'"
    if store.dialect.name == "postgresql":
        moment += "::timestamptz"
    # A cause of 1 kB: held all at once the rows would take 60 MB.
    cause = "'" + "c" * 1000 + "'"
    made = f"SELECT 'job-' || i, {moment}, {cause}, 'ada' FROM n"
    columns = ", ".join(column.name for column in tombstone.c if column.name != "closed_at")
    with store.write() as connection:
        connection.execute(text(f"{numbers} INSERT INTO {table} ({columns}) {made}"), {"rows": rows})
    with store.read() as connection:
        tracemalloc.start()
        streamed = sum(1 for _ in job_streams.stream_tombstones(connection, store.dialect, "", None))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert streamed == rows
    assert peak < 15_000_000


def test_every_stream_follows_an_index(store: Store, connection: Connection) -> None:
    """Else the database would sort a million rows before it gives the first."""
    is_sqlite = store.dialect.name == "sqlite"
    if not is_sqlite:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
    for name, key in (
        ("job", "job_id"),
        ("artifact", "job_id"),
        ("tombstone", "job_id"),
        ("sighting", "key"),
    ):
        assert key in metadata.tables[name].primary_key.columns
        table = store.dialect.table(name)
        sql = f"{explain} SELECT * FROM {table} WHERE {key} >= 'a' AND {key} < 'b' ORDER BY {key}"
        plan = "\n".join(str(row) for row in connection.exec_driver_sql(sql))
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan


def test_a_stream_that_is_left_halfway_leaves_the_transaction_alone(
    store: Store, connection: Connection
) -> None:
    for name in IDS:
        create(connection, name)
    left = [iter(job_streams.stream_records(connection, store.dialect, "", None))]
    left.append(left)  # type: ignore[arg-type] # as an error's traceback would hold it
    next(left[0])
    said: list[str] = []
    event.listen(connection, "before_cursor_execute", lambda *words: said.append(words[2]))
    del left
    gc.collect()
    assert said == []
    again = [row[0] for row in job_streams.stream_records(connection, store.dialect, "", None)]
    assert again == sorted(IDS)
