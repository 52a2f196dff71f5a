"""Dumps of a PostgreSQL store: read whole or refused, put back whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

import jobctl
from databases import pg_dump_for
from jobctl import clock
from jobctl.errors import BackupFailed, BackupUnusable, StoreInUse, StoreSchemaMismatch, ToolMissing
from jobctl.ops.restore import carry_out, prepare_restore
from jobctl.ops.runs import list_runs
from jobctl.store import postgresql_backup, postgresql_tools
from ops.test_restore import back_up, contents, kept_jobs, restore
from ops.tidying import observed, store_now
from ops.world import World, a_job_id

pytestmark = pytest.mark.usefixtures("_tools")

OURS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'jobctl%'"
CONNECTED = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'jobctl'"
)


def schemas(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute(OURS)}


def await_nobody(url: str) -> None:
    """A server ends a session a little after its client is gone."""
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(CONNECTED).fetchone() != (0,):
            clock.sleep(0.01)


def a_program(place: Path, name: str, lines: str) -> Path:
    """A program in a directory of its own, for PATH."""
    place.mkdir(exist_ok=True)
    (place / name).write_text(f"#!/bin/sh\n{lines}\n")
    (place / name).chmod(0o755)
    return place


def old(place: Path, name: str) -> Path:
    """A program that is too old, and does nothing but say so."""
    return a_program(place, name, f"echo '{name} (PostgreSQL) 9.6.24'")


# --- making one ---------------------------------------------------------------------------------------


def test_where_pg_dump_did_not_end_well_there_is_no_backup(
    served: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However whole its file looks."""
    real = pg_dump_for(served.url)
    place = a_program(
        tmp_path / "bin", "pg_dump", f'{real} "$@"\necho "pg_dump: error: it broke" >&2\nexit 1'
    )
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    with pytest.raises(BackupFailed, match="pg_dump ended with 1: it broke"):
        back_up(served, tmp_path / "backups")
    assert [path for path in (tmp_path / "backups").iterdir() if path.suffix != ".lock"] == []


def test_a_dump_is_made_only_where_it_can_be_read_again(
    served: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = a_program(tmp_path / "bin", "pg_dump", f'exec {pg_dump_for(served.url)} "$@"')
    monkeypatch.setenv("PATH", str(old(place, "pg_restore")))
    monkeypatch.setattr(postgresql_tools, "_PLACES", ())
    with pytest.raises(ToolMissing, match=r"pg_restore is of PostgreSQL 9, and the backup is written by \d+"):
        back_up(served, tmp_path / "backups")


# --- reading one --------------------------------------------------------------------------------------


def test_of_several_programs_the_newest_reads_a_dump(
    served: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been written by a newer pg_dump than the one that is found first."""
    made = back_up(served, tmp_path / "backups")
    monkeypatch.setattr(postgresql_tools, "_PLACES", (os.path.dirname(pg_dump_for(served.url)),))
    monkeypatch.setenv("PATH", f"{old(tmp_path / 'bin', 'pg_restore')}:/usr/bin:/bin")
    assert restore(served, made.path).plan.backup == made.contents


@pytest.mark.parametrize("table", ["users", "store", "event"])
def test_a_dump_of_another_program_is_refused(
    served: World, tmp_path: Path, bare_postgresql_url: str, table: str
) -> None:
    """Also where its schema and its tables have the names of ours."""
    with psycopg.connect(bare_postgresql_url) as connection:
        connection.execute("CREATE SCHEMA jobctl")
        connection.execute(f"CREATE TABLE jobctl.{table} AS SELECT 'x' AS event_id")
    path = str(tmp_path / "theirs.dump")
    subprocess.run([pg_dump_for(served.url), "-Fc", "-f", path, "-d", bare_postgresql_url], check=True)
    with pytest.raises(BackupUnusable, match="is a dump, and none of a job store"):
        restore(served, path)
    assert schemas(served.url) == {"jobctl"}


def test_letters_are_the_same_whatever_encoding_a_shell_asks_for(
    served: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.queue_job(0, queue="Zoë")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    made = back_up(served, tmp_path / "backups")
    restore(served, made.path)
    monkeypatch.delenv("PGCLIENTENCODING")
    assert served.job(0).queue == "Zoë"


# --- putting one back ---------------------------------------------------------------------------------


def test_a_dump_that_is_exchanged_once_it_was_checked_changes_nothing(served: World, tmp_path: Path) -> None:
    served.queue_job(0)
    first = back_up(served, tmp_path / "first")
    served.queue_job(1)
    second = back_up(served, tmp_path / "second")
    with prepare_restore(served.settings, first.path) as prepared:
        shutil.copy(second.path, first.path)
        with pytest.raises(BackupUnusable, match="was changed while it was read"):
            carry_out(served.settings, prepared)
    assert (served.job_ids(), schemas(served.url)) == ({a_job_id(0), a_job_id(1)}, {"jobctl"})


@pytest.mark.parametrize("name", ["notes", '"Notes, 2%"'])
def test_a_table_of_somebody_elses_in_the_schema_stays_in_the_one_that_is_kept(
    served: World, tmp_path: Path, name: str
) -> None:
    """Whatever it holds."""
    served.queue_job(0)
    with psycopg.connect(served.url) as connection:
        connection.execute(f"CREATE TABLE jobctl.{name} (a text)")
        connection.execute(
            f"INSERT INTO jobctl.{name} VALUES ('COPY jobctl.event (event_id, at) FROM stdin;'), ('9')"
        )
    made = back_up(served, tmp_path / "backups")
    assert made.contents == contents(served)
    kept = restore(served, made.path).plan.kept_as
    assert contents(served) == made.contents
    with psycopg.connect(served.url) as connection:
        assert connection.execute(f"SELECT count(*) FROM {kept}.{name}").fetchone() == (2,)


def test_a_column_of_somebody_elses_is_told(served: World, tmp_path: Path) -> None:
    served.queue_job(0)
    with psycopg.connect(served.url) as connection:
        connection.execute("ALTER TABLE jobctl.job ADD note text")
    made = back_up(served, tmp_path / "backups")
    with pytest.raises(BackupUnusable, match='the rows of its table job do not fit .* "note"'):
        restore(served, made.path)
    assert (served.job_ids(), schemas(served.url)) == ({a_job_id(0)}, {"jobctl"})


def test_a_store_of_another_schema_is_put_aside_once_nobody_is_connected_to_it(
    served: World, tmp_path: Path
) -> None:
    made = back_up(served, tmp_path / "backups")
    served.queue_job(1)
    with psycopg.connect(served.url) as connection:
        connection.execute("UPDATE jobctl.alembic_version SET version_num = '9999'")
    with (
        psycopg.connect(served.url, application_name="jobctl"),
        pytest.raises(StoreInUse, match="other connections of jobctl to this database are open"),
    ):
        restore(served, made.path)
    await_nobody(served.url)
    kept = restore(served, made.path).plan.kept_as
    assert (served.job_ids(), kept_jobs(served, kept)) == (set(), {a_job_id(1)})


@pytest.mark.parametrize("table", ["users", "alembic_version"])
def test_what_another_program_has_in_the_stores_place_is_left_alone(
    served: World, tmp_path: Path, bare_postgresql_url: str, table: str
) -> None:
    made = back_up(served, tmp_path / "backups")
    with psycopg.connect(bare_postgresql_url) as connection:
        connection.execute("CREATE SCHEMA jobctl")
        connection.execute(f"CREATE TABLE jobctl.{table} AS SELECT 'a1b2' AS version_num")
    with pytest.raises(StoreSchemaMismatch, match="tables of another program"):
        restore(World(bare_postgresql_url, tmp_path / "theirs"), made.path)
    assert schemas(bare_postgresql_url) == {"jobctl"}


def test_who_writes_without_end_is_not_waited_for_without_end(
    served: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = back_up(served, tmp_path / "backups")
    monkeypatch.setattr(postgresql_backup, "_PATIENCE_S", 0)
    with psycopg.connect(served.url) as writer:
        writer.execute("LOCK TABLE jobctl.job IN ROW EXCLUSIVE MODE")
        with pytest.raises(StoreInUse, match="somebody has been writing to the store"):
            restore(served, made.path)
    assert schemas(served.url) == {"jobctl"}


def test_who_writes_while_it_is_put_back_waits_and_writes_into_what_is_there_then(
    served: World, tmp_path: Path
) -> None:
    """Else it would be told that a job is enqueued which only the store knows that was put aside."""
    made = back_up(served, tmp_path / "backups")
    waits = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database"
        " WHERE NOT granted AND datname = current_database()"
    )
    with (
        jobctl.Queue(served.url) as queue,
        ThreadPoolExecutor() as pool,
        psycopg.connect(served.url, autocommit=True) as looking,
    ):
        asked: list[Future[object]] = []
        restoring = threading.get_ident()

        def ask(name: str, _: int) -> None:
            # To enqueue is an effect as well, of another thread.
            if name == "commit" and threading.get_ident() == restoring and not asked:
                asked.append(pool.submit(queue.enqueue, "render", job_id=a_job_id(5)))
                while looking.execute(waits).fetchone() == (0,):
                    assert not asked[0].done()

        with observed(before=ask):
            restore(served, made.path)
        asked[0].result()
    assert served.job_ids() == {a_job_id(5)}


def test_when_it_was_put_back_is_told_by_the_servers_clock(
    served: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = back_up(served, tmp_path / "backups")
    tomorrow = clock.now() + timedelta(days=1)
    monkeypatch.setattr(clock, "now", lambda: tomorrow)
    restore(served, made.path)
    with served.site() as site:
        (run,) = list_runs(site)
    assert abs(run.started_at - store_now(served)) < timedelta(hours=1)
