"""Schema versions: migrated up they are what the code uses, and down nothing is left, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError, StatementError

from jobctl.service.jobdict_values import FIELDS
from jobctl.store import migrations
from jobctl.store.dialect import SQLite, dialect_of
from jobctl.store.engine import HEAD, VERSIONS, Store, create_store, open_store
from jobctl.store.migrations import migrate
from jobctl.store.schema import job, metadata
from postgres import at_database
from store.records import AT, create

_COLUMNS = """
SELECT table_name, column_name, ordinal_position, data_type, collation_name, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'jobctl' AND table_name != 'presentation_jobs'
"""
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'jobctl'::regnamespace
"""
_INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'jobctl'"
_SEQUENCES = "SELECT sequencename, data_type::text FROM pg_sequences WHERE schemaname = 'jobctl'"


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    dialect = dialect_of(url)
    with dialect.engine(create=True).connect() as connection:
        yield connection


def catalogue(connection: Connection) -> set[tuple[Any, ...]]:
    """Every table, column, constraint and index, as the database itself describes them."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master WHERE type != 'view'")
        found = {(kind, name, _flat(sql)) for kind, name, sql in rows if sql}
    else:
        found = {
            tuple(row)
            for sql in (_COLUMNS, _CONSTRAINTS, _INDEXES, _SEQUENCES)
            for row in connection.exec_driver_sql(sql)
        }
    return {row for row in found if not any("alembic_version" in str(value) for value in row)}


def _flat(sql: str) -> str:
    return re.sub(r"\s*([(),])\s*", r"\1", re.sub(r"\s+", " ", sql)).strip()


@pytest.fixture
def as_defined(bare_url: str, tmp_path: Path) -> set[tuple[Any, ...]]:
    """What the database says of the table definitions the code uses."""
    if isinstance(dialect_of(bare_url), SQLite):
        with connected(str(tmp_path / "defined.db")) as connection:
            metadata.create_all(connection)
            return catalogue(connection)
    name = f"{bare_url.partition('?')[0].rpartition('/')[2]}_defined"
    with psycopg.connect(bare_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        with connected(at_database(bare_url, name)) as connection:
            connection.exec_driver_sql("CREATE SCHEMA jobctl")
            metadata.create_all(connection)
            return catalogue(connection)
    finally:
        with psycopg.connect(bare_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_migrated_store_is_the_one_the_code_uses(bare_url: str, as_defined: set[tuple[Any, ...]]) -> None:
    create_store(bare_url, now=AT, version="test")[0].close()
    with connected(bare_url) as connection:
        assert catalogue(connection) == as_defined


def test_down_leaves_nothing_and_up_again_works(bare_url: str) -> None:
    store, _ = create_store(bare_url, now=AT, version="test")
    with connected(bare_url) as connection:
        up = catalogue(connection)
    migrate(store.engine, store.dialect, "base")
    with connected(bare_url) as connection:
        assert store.dialect.tables(connection) == set()
        if connection.dialect.name == "postgresql":
            assert "jobctl" not in inspect(connection).get_schema_names()
    again, is_new = create_store(bare_url, now=AT, version="test")
    assert is_new
    assert again.store_id != store.store_id
    with connected(bare_url) as connection:
        assert catalogue(connection) == up


def test_down_from_each_version_leads_to_the_one_before(bare_url: str) -> None:
    store, _ = create_store(bare_url, now=AT, version="test")
    migrate(store.engine, store.dialect, VERSIONS[0])
    for before, version in pairwise(VERSIONS):
        with connected(bare_url) as connection:
            was = catalogue(connection)
        migrate(store.engine, store.dialect, version)
        migrate(store.engine, store.dialect, before)
        with connected(bare_url) as connection:
            assert catalogue(connection) == was, version
        migrate(store.engine, store.dialect, version)


def test_migrating_what_is_up_to_date_changes_nothing(store: Store, store_url: str) -> None:
    migrate(store.engine, store.dialect, HEAD)
    assert open_store(store_url).store_id == store.store_id


def test_the_versions_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(VERSIONS)


def test_the_view_shows_the_eleven_fields_of_the_service(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a", video_url="/presentations/a/video", created_files=["presentation_a.mp4"])
        view = store.dialect.table("presentation_jobs")
        row = connection.execute(text(f"SELECT * FROM {view}")).one()
    assert tuple(row._fields) == FIELDS
    assert (row.job_id, row.status, row.video_url) == ("a", "queued", "/presentations/a/video")


def test_no_other_status_can_be_written(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a")
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(update(job).values(status="zombie"))


def test_moments_keep_their_microseconds_and_zone(store: Store) -> None:
    with store.write() as connection:
        create(connection, "a", run_at=datetime.fromisoformat("2026-07-01T02:00:00.000001+02:00"))
        found = connection.execute(select(job.c.run_at)).scalar_one()
    assert found.isoformat() == "2026-07-01T00:00:00.000001+00:00"


def test_a_moment_without_a_zone_is_refused(store: Store) -> None:
    naive = datetime(2026, 7, 1)
    with pytest.raises(StatementError, match="naive"), store.write() as connection:
        create(connection, "a", run_at=naive)


def test_sqlite_holds_moments_in_one_form_only(tmp_path: Path) -> None:
    store, _ = create_store(str(tmp_path / "jobs.db"), now=AT, version="test")
    with store.write() as connection:
        create(connection, "a")
        form = connection.execute(text("SELECT created_at FROM job")).scalar_one()
    assert form == "2026-01-31T12:00:00.123456Z"
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(text("UPDATE job SET created_at = '2026-01-31 12:00:00'"))


def test_both_databases_order_ids_by_their_bytes(store: Store) -> None:
    ids = ["B", "a", "Z-1", "é", "_", "\U0001f600", "\uffff", "aa"]
    with store.write() as connection:
        connection.execute(
            insert(job),
            [
                {
                    "job_id": name,
                    "status": "queued",
                    "kind": "x",
                    "queue": "x",
                    "origin": "created",
                    "updated_at": AT,
                }
                for name in ids
            ],
        )
        found = connection.execute(select(job.c.job_id).order_by(job.c.job_id)).scalars().all()
    assert found == sorted(ids)
