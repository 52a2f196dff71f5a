"""Tables of other programs, on both databases: read as they are, told where they cannot be, never changed."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobctl.errors import SourceUnusable
from jobctl.source import Source, sources_from_list
from jobctl.store.foreign import SourceReading, read_source

JOB = "0d9f7a34-7a35-4a33-8b5c-0a6b7c8d9e0f"
OTHER = "1d9f7a34-7a35-4a33-8b5c-0a6b7c8d9e0f"


def a_source(**entry: Any) -> Source:
    (source,) = sources_from_list([{"name": "other", **entry}], "test")
    return source


def run(url: str, *statements: str) -> None:
    """Do something to the other program's database."""
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]
        return
    Path(url).parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(url)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def read(source: Source, url: str) -> tuple[list[Any], SourceReading]:
    reading = read_source(source, default_database=url)
    return list(reading), reading


def refusal(source: Source, url: str) -> SourceUnusable:
    with pytest.raises(SourceUnusable) as told:
        read(source, url)
    return told.value


@pytest.fixture
def projects(bare_url: str) -> Iterator[str]:
    kind = "JSONB" if bare_url.startswith("postgresql") else "TEXT"
    content = {"videoJobId": JOB, "videoUrl": "/presentations/x/video", "generatedAt": "2026-01-31T12:00:00"}
    run(
        bare_url,
        "CREATE TABLE projects (id INTEGER PRIMARY KEY, onyx_user_id TEXT, project_name TEXT,"
        f" microproduct_content {kind}, created_at TIMESTAMP)",
        "INSERT INTO projects VALUES"
        f" (17, 'ada', 'Körper', '{json.dumps(content)}', '2020-01-01 00:00:00'),"
        """ (18, 'ada', 'no video', '{"videoJobId": "unknown"}', NULL),"""
        " (19, 'ada', 'empty', NULL, NULL),"
        " (20, 'ada', 'a list', '[1]', NULL)",
    )
    return bare_url


def test_the_projects_of_the_service_name_their_videos(projects: str) -> None:
    rows, reading = read(a_source(preset="projects"), projects)
    assert [(row.job_id, row.locator) for row in rows] == [(JOB, "projects:17")]
    assert rows[0].fields == {
        "job_id": JOB,
        "owner": "ada",
        "title": "Körper",
        "video_url": "/presentations/x/video",
        "completed_at": "2026-01-31T12:00:00",
    }
    assert (reading.rows, reading.skipped) == (1, 3)


def test_json_in_a_text_column_is_read_as_well(bare_url: str) -> None:
    run(
        bare_url,
        "CREATE TABLE t (content TEXT)",
        "INSERT INTO t VALUES"
        f""" ('{{"a": [{{"id": "{JOB}"}}]}}'), ('{{"a": [{{"id": "{JOB}'), ('""'), ('17'), (NULL)""",
    )
    rows, reading = read(a_source(table="t", columns={"job_id": "content.a.0.id"}), bare_url)
    assert [(row.job_id, row.locator) for row in rows] == [(JOB, "t:1")]
    assert reading.skipped == 4


def test_only_rows_that_pass_the_filter_are_read(bare_url: str) -> None:
    run(
        bare_url,
        "CREATE TABLE t (id TEXT, kind TEXT, shard INTEGER)",
        "INSERT INTO t VALUES ('a', 'video', 1), ('b', 'video', 2), ('c', 'audio', 1)",
    )
    source = a_source(table="t", columns={"job_id": "id"}, filter={"kind": "video", "shard": 1})
    rows, _ = read(source, bare_url)
    assert [row.job_id for row in rows] == ["a"]


def test_names_are_taken_as_they_are(bare_url: str) -> None:
    run(
        bare_url,
        'CREATE TABLE "we""ird %s täble; --" ("j""ob.id %" TEXT, "ключ" TEXT)',
        """INSERT INTO "we""ird %s täble; --" VALUES ('a', '{"x y": "ada"}')""",
    )
    source = a_source(
        table='we"ird %s täble; --',
        columns={"job_id": ['j"ob.id %'], "owner": ["ключ", "x y"]},
        filter={'j"ob.id %': "a"},
    )
    rows, _ = read(source, bare_url)
    assert [(row.job_id, row.fields["owner"]) for row in rows] == [("a", "ada")]


def test_a_key_of_several_columns_names_the_row(bare_url: str) -> None:
    run(
        bare_url,
        "CREATE TABLE t (id TEXT, day TEXT, n INTEGER, PRIMARY KEY (n, day))",
        "INSERT INTO t VALUES ('a', 'mon', 3)",
    )
    rows, _ = read(a_source(table="t", columns={"job_id": "id"}), bare_url)
    assert [row.locator for row in rows] == ["t:3,mon"]


def test_a_view_can_be_read(bare_url: str) -> None:
    run(
        bare_url,
        "CREATE TABLE t (id TEXT)",
        "INSERT INTO t VALUES ('a')",
        "CREATE VIEW v AS SELECT id AS job FROM t",
    )
    rows, _ = read(a_source(table="v", columns={"job_id": "job"}), bare_url)
    assert [(row.job_id, row.locator) for row in rows] == [("a", "v:1")]


def test_a_missing_table_is_told_with_those_that_are_there(projects: str) -> None:
    told = refusal(a_source(preset="projects", table="project"), projects)
    assert "source other cannot be read" in told.message
    assert "no table or view 'project'" in told.message
    assert "projects" in told.hint


def test_a_missing_column_is_told_with_those_that_are_there(projects: str) -> None:
    told = refusal(a_source(preset="projects", columns={"owner": "user_id"}), projects)
    assert "no column 'user_id'" in told.message
    assert "onyx_user_id" in told.hint
    told = refusal(a_source(preset="projects", filter={"kind": 1}), projects)
    assert "no column 'kind'" in told.message


def test_what_was_read_is_as_it_was(projects: str) -> None:
    before = content(projects)
    read(a_source(preset="projects"), projects)
    assert content(projects) == before


def content(url: str) -> Any:
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT xmin::text, * FROM projects ORDER BY id").fetchall()
    return Path(url).read_bytes(), sorted(os.listdir(Path(url).parent))


def test_an_abandoned_reading_lets_go(projects: str) -> None:
    run(projects, *(f"INSERT INTO projects (id) VALUES ({number})" for number in range(100, 110)))
    rows = iter(read_source(a_source(preset="projects"), default_database=projects))
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    run(projects, "DROP TABLE projects")


def test_jobctls_own_records_are_no_evidence_beside_themselves(store_url: str) -> None:
    schema = {"schema": "jobctl"} if store_url.startswith("postgresql") else {}
    told = refusal(a_source(preset="presentation_jobs", **schema), store_url)
    assert "jobctl's own" in told.message


# --- what only one of the two databases has ------------------------------------------------


def test_every_type_of_postgresql_becomes_json(bare_postgresql_url: str) -> None:
    run(
        bare_postgresql_url,
        "CREATE TYPE mood AS ENUM ('done')",
        "CREATE TABLE t (id UUID PRIMARY KEY, status mood, progress NUMERIC, created_at TIMESTAMPTZ,"
        " completed_at TIMESTAMP, files TEXT[], error BYTEA, owner BIGINT, content JSON)",
        f"INSERT INTO t VALUES ('{JOB}', 'done', 75.5, '2026-01-31 13:00+01', '2026-01-31 12:00',"
        " ARRAY['a.mp4', 'ü\"'], '\\xff', 9007199254740993, '{\"b\": \"a\\u0000b\"}'),"
        f" ('{OTHER}', NULL, 'NaN', 'infinity', '-infinity', NULL, NULL, NULL, NULL)",
    )
    names = {"created_files": "files", "title": "content.b"}
    same = ("status", "progress", "created_at", "completed_at", "error", "owner")
    source = a_source(table="t", columns={"job_id": "id", **names, **{name: name for name in same}})
    (first, second), _ = read(source, bare_postgresql_url)
    assert first.job_id == JOB
    assert first.fields == {
        "job_id": JOB,
        "status": "done",
        "progress": 75.5,
        "created_at": "2026-01-31T12:00:00+00:00",
        "completed_at": "2026-01-31T12:00:00",
        "created_files": ["a.mp4", 'ü"'],
        "error": "\\xff",
        "owner": 9007199254740993,
        "title": "a\\x00b",
    }
    assert second.fields == {
        "job_id": OTHER,
        "progress": "NaN",
        "created_at": "infinity",
        "completed_at": "-infinity",
    }


def test_a_table_in_another_schema(bare_postgresql_url: str) -> None:
    run(
        bare_postgresql_url,
        'CREATE SCHEMA "My Schema"',
        'CREATE TABLE "My Schema".t (id TEXT)',
        "INSERT INTO \"My Schema\".t VALUES ('a')",
    )
    rows, _ = read(a_source(schema="My Schema", table="t", columns={"job_id": "id"}), bare_postgresql_url)
    assert [row.job_id for row in rows] == ["a"]
    assert "My Schema.t" in refusal(a_source(table="t", columns={"job_id": "id"}), bare_postgresql_url).hint


def test_reading_takes_no_right_to_write(bare_postgresql_url: str) -> None:
    run(
        bare_postgresql_url,
        "CREATE TABLE t (id TEXT)",
        "INSERT INTO t VALUES ('a')",
        "CREATE FUNCTION sneaky() RETURNS TEXT LANGUAGE sql VOLATILE AS"
        " $$ INSERT INTO t VALUES ('b') RETURNING id $$",
        "CREATE VIEW v AS SELECT sneaky() AS id",
    )
    told = refusal(a_source(table="v", columns={"job_id": "id"}), bare_postgresql_url)
    assert "read-only transaction" in told.message


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    url = "postgresql://ada:hunter2@127.0.0.1:1/jobs"
    told = refusal(a_source(preset="projects", database=url), "unused")
    assert "hunter2" not in f"{told.message}{told.hint}{told.__cause__}"
    assert "postgresql://ada@127.0.0.1:1/jobs" in told.message


def test_a_value_of_a_filter_that_fits_no_column_is_told(bare_postgresql_url: str) -> None:
    run(bare_postgresql_url, "CREATE TABLE t (id TEXT, shard INTEGER)")
    source = a_source(table="t", columns={"job_id": "id"}, filter={"shard": "x"})
    assert "invalid input syntax" in refusal(source, bare_postgresql_url).message


@pytest.mark.parametrize("name", ["missing.db", "directory", "text"])
def test_what_is_no_sqlite_database_is_told_and_left(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "text").write_text("no database at all, just some text that is long enough" * 9)
    before = sorted(os.listdir(tmp_path))
    told = refusal(a_source(preset="projects", database=str(tmp_path / name)), "unused")
    assert str(tmp_path / name) in told.message
    assert sorted(os.listdir(tmp_path)) == before


def test_a_database_that_is_being_written_is_read_as_it_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE t (id TEXT)")
        writer.execute("INSERT INTO t VALUES ('a')")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO t VALUES ('b')")
        rows, _ = read(a_source(table="t", columns={"job_id": "id"}, database=str(path)), "unused")
        assert [row.job_id for row in rows] == ["a"]
        writer.execute("ROLLBACK")


def test_odd_values_of_sqlite_become_json(tmp_path: Path) -> None:
    path = str(tmp_path / "other.db")
    run(
        path,
        "CREATE TABLE t (id TEXT, owner, title, progress REAL)",
        "INSERT INTO t VALUES ('a', CAST(x'ff61' AS TEXT), x'00ff', 9e999)",
    )
    source = a_source(
        table="t", columns={"job_id": "id", "owner": "owner", "title": "title", "progress": "progress"}
    )
    (row,), _ = read(source, path)
    assert row.fields == {"job_id": "a", "owner": "\\xffa", "title": "\\x00\\xff"}


def test_sqlite_has_no_schemas(tmp_path: Path) -> None:
    assert "schema" in refusal(a_source(preset="projects", schema="public"), str(tmp_path / "x")).message
