"""Moments are the same in whatever zone a PostgreSQL server shows them, up to both ends of the calendar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from jobctl.store import jobs
from jobctl.store.dialect import PostgreSQL
from jobctl.store.engine import Store, open_store
from jobctl.store.postgresql_backup import contents_of_dump, server_version
from jobctl.store.postgresql_moments import parse_moment
from jobctl.store.postgresql_tools import dump, find_tool
from store.records import AT, create

EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@pytest.fixture(params=["Asia/Tokyo", "America/New_York"])
def shown_elsewhere(request: pytest.FixtureRequest, postgresql_url: str) -> Iterator[Store]:
    """A store whose server is in a zone where the calendar ends at another moment."""
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET timezone TO '{request.param}'".encode())
    with closing(open_store(postgresql_url)) as store:
        yield store


def test_both_ends_of_the_calendar_are_read(shown_elsewhere: Store) -> None:
    with shown_elsewhere.write() as connection:
        create(connection, "a", created_at=EARLIEST, run_at=LATEST)
        jobs.record_event(connection, "a", LATEST, "noted", "ada")
        jobs.record_event(connection, "a", EARLIEST, "noted", "ada")
    with shown_elsewhere.read() as connection:
        found = jobs.get_job(connection, "a")
        moments = [event.at for event in jobs.history(connection, "a")]
    assert (found.created_at, found.run_at, found.updated_at) == (EARLIEST, LATEST, AT)
    assert moments == [AT, LATEST, EARLIEST]


@pytest.mark.usefixtures("_tools")
def test_a_dump_of_them_is_read(shown_elsewhere: Store, tmp_path: Path) -> None:
    with shown_elsewhere.write() as connection:
        create(connection, "a")
        jobs.record_event(connection, "a", LATEST, "noted", "ada")
    dialect, path = shown_elsewhere.dialect, tmp_path / "store.dump"
    assert isinstance(dialect, PostgreSQL)
    path.touch()
    version = server_version(dialect)
    writer, reader = (
        find_tool(name, at_least=version, why="a test needs it") for name in ("pg_dump", "pg_restore")
    )
    dump(dialect, writer, str(path))
    assert contents_of_dump(reader, str(path), lambda _: None).newest_at == LATEST


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-01-31 13:00:00.123456+01", AT),
        ("2026-01-31 12:00:00.123456+00", AT),
        ("10000-01-01 08:59:59.999999+09", LATEST),
        ("9999-12-31 18:59:59.999999-05", LATEST),
        ("0001-12-31 19:03:58-04:56:02 BC", EARLIEST),
        ("0001-01-01 09:18:59+09:18:59", EARLIEST),
    ],
)
def test_what_a_server_writes_is_understood(written: str, moment: datetime) -> None:
    assert parse_moment(written) == moment
    assert parse_moment(written).tzinfo is UTC


@pytest.mark.parametrize(
    "written", ["infinity", "-infinity", "10000-01-02 00:00:00+00", "0044-03-15 12:00:00+00 BC"]
)
def test_what_is_no_moment_of_the_calendar_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_moment(written)


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, MDY"])
def test_moments_are_read_however_a_server_writes_them(postgresql_url: str, style: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET datestyle TO '{style}'".encode())
    with closing(open_store(postgresql_url)) as store:
        with store.write() as connection:
            create(connection, "a", run_at=LATEST)
        with store.read() as connection:
            found = jobs.get_job(connection, "a")
    assert (found.created_at, found.run_at, found.updated_at) == (AT, LATEST, AT)


def test_a_client_that_is_set_to_another_encoding_still_holds_any_text(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with closing(open_store(postgresql_url)) as store:
        with store.write() as connection:
            create(connection, "a", owner="Жанна 🎬")
        with store.read() as connection:
            assert jobs.get_job(connection, "a").owner == "Жанна 🎬"


def test_a_moment_beyond_the_calendar_is_told_as_what_it_is(postgresql_url: str) -> None:
    with closing(open_store(postgresql_url)) as store, store.read() as connection:
        with pytest.raises(Exception, match="no moment of the years 1 to 9999"):
            connection.exec_driver_sql("SELECT 'infinity'::timestamptz").scalar_one()
