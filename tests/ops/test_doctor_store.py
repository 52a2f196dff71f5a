"""The doctor on the store: each fault is made, found, named, and mended by the command that is named."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from jobctl import clock
from jobctl.core.health import databases
from jobctl.model.health import Health
from jobctl.ops.doctor import sqlite as sqlite_checks
from jobctl.store import vitals_sqlite
from jobctl.store.engine import HEAD
from ops.doctoring import diagnosis, diagnosis_of, is_ill, mend
from ops.test_left_copies import broken_off
from ops.test_restore import back_up, restore
from ops.world import World

READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM job").fetchone()
print("reading", flush=True)
sys.stdin.read()
"""


def on_server(world: World, *statements: str) -> None:
    with psycopg.connect(world.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def in_file(world: World, *statements: str) -> None:
    with closing(sqlite3.connect(world.url, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def until(world: World, name: str, health: Health) -> None:
    """The server's statistics come a moment after the fact."""
    deadline = clock.monotonic() + 60.0
    while (found := diagnosis(world, name)).health is not health:
        assert clock.monotonic() < deadline, found


def test_a_store_that_answers_is_named_without_its_password(world: World) -> None:
    found = diagnosis(world, "store")
    assert found.health is Health.OK
    assert diagnosis(world, "schema").said.startswith(f"schema {HEAD}, ")


def test_no_store_is_a_failing_check_that_says_what_to_do(tmp_path: Path, world: World) -> None:
    nowhere = replace(world.settings, database=str(tmp_path / "nowhere.db"))
    found = diagnosis_of(nowhere, "store")
    assert (found.health, "there is no job store at" in found.said) == (Health.FAIL, True)
    assert "jobctl init" in found.fix
    assert diagnosis_of(nowhere, "schema").health is Health.UNKNOWN


def test_a_server_that_is_away_is_a_failing_check(world: World, tmp_path: Path) -> None:
    away = replace(world.settings, database=f"postgresql://ops:hunter2@/jobs?host={tmp_path}")
    found = diagnosis_of(away, "store")
    assert found.health is Health.FAIL
    assert "hunter2" not in repr(found)


def test_an_older_schema_is_named_and_init_mends_it(bare_url: str, tmp_path: Path) -> None:
    from jobctl.store.engine import create_store  # noqa: PLC0415
    from jobctl.store.migrations import migrate  # noqa: PLC0415

    store, _ = create_store(bare_url, now=clock.now(), version="test")
    migrate(store.engine, store.dialect, "0003")
    store.close()
    world = World(bare_url, tmp_path / "outputs")
    assert diagnosis(world, "store").health is Health.OK
    found = diagnosis(world, "schema")
    assert (found.health, "schema 0003" in found.said) == (Health.FAIL, True)
    mend(world, found)
    assert diagnosis(world, "schema").health is Health.OK


def test_a_newer_schema_has_no_command(embedded: World) -> None:
    in_file(embedded, "UPDATE alembic_version SET version_num = '9999'")
    found = diagnosis(embedded, "schema")
    assert (found.health, found.command) == (Health.FAIL, "")
    assert "9999" in found.said


def test_a_damaged_page_is_found(embedded: World) -> None:
    embedded.queue_job()
    assert diagnosis(embedded, "integrity").health is Health.OK
    with closing(sqlite3.connect(embedded.url)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_job_created_at'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with open(embedded.url, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    found = diagnosis(embedded, "integrity")
    assert found.health is Health.FAIL
    assert "damaged" in found.said
    assert "backup" in found.fix


def test_a_log_that_a_reader_holds_is_found_with_the_reader_and_then_written_back(embedded: World) -> None:
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, embedded.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with reader:
        assert reader.stdout
        assert reader.stdin
        reader.stdout.readline()
        # Held open: the last one to leave would write the log back.
        with closing(sqlite3.connect(embedded.url, isolation_level=None)) as writer:
            assert diagnosis(embedded, "wal").health is Health.OK
            writer.execute("CREATE TABLE ballast (bytes BLOB)")
            for _ in range(9):
                writer.execute("INSERT INTO ballast VALUES (zeroblob(8 << 20))")
            held = diagnosis(embedded, "wal")
            assert held.health is Health.WARN
            assert "a reader keeps it" in held.said
            assert f"pid {reader.pid} (" in held.fix
            reader.stdin.close()
            reader.wait()
            freed = diagnosis(embedded, "wal")
            assert (freed.health, "a reader" in freed.said) == (Health.WARN, False)
            assert freed.command == held.command
            mend(embedded, held)
            assert diagnosis(embedded, "wal").health is Health.OK


def test_a_file_of_empty_pages_is_made_small(embedded: World) -> None:
    assert diagnosis(embedded, "free-pages").health is Health.OK
    in_file(
        embedded,
        "CREATE TABLE ballast (bytes BLOB)",
        "INSERT INTO ballast VALUES (zeroblob(70 << 20))",
        "DROP TABLE ballast",
    )
    found = diagnosis(embedded, "free-pages")
    assert found.health is Health.WARN
    mend(embedded, found)
    assert diagnosis(embedded, "free-pages").health is Health.OK
    assert Path(embedded.url).stat().st_size < 1 << 20


@pytest.mark.usefixtures("_tools")
def test_what_a_killed_restore_left_is_removed_and_what_one_kept_stays(
    embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = back_up(embedded, tmp_path / "a backup's place")
    assert diagnosis(embedded, "left-copies").health is Health.OK
    broken_off(embedded, made.path, monkeypatch)
    kept = restore(embedded, made.path).plan.kept_as
    found = diagnosis(embedded, "left-copies")
    assert (found.health, "left 1 file beside the store" in found.said) == (Health.WARN, True)
    mend(embedded, found)
    assert diagnosis(embedded, "left-copies").health is Health.OK
    assert [str(path) for path in Path(embedded.url).parent.glob("*.before-*")] == [kept]


def test_a_journal_mode_the_disk_does_not_allow_is_told(
    embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diagnosis(embedded, "durability").health is Health.OK
    monkeypatch.setattr(vitals_sqlite, "journal_mode", lambda store: "delete")
    assert diagnosis(embedded, "durability").health is Health.FAIL


@pytest.mark.parametrize(
    ("kind", "health"),
    [
        ("nfs4", Health.FAIL),
        ("fuse.sshfs", Health.FAIL),
        ("fuse.mergerfs", Health.WARN),
        ("", Health.UNKNOWN),
    ],
)
def test_a_file_on_a_network_file_system_is_told(
    embedded: World, monkeypatch: pytest.MonkeyPatch, kind: str, health: Health
) -> None:
    assert diagnosis(embedded, "file-system").health is Health.OK
    monkeypatch.setattr(sqlite_checks, "file_system_of", lambda path: kind)
    found = diagnosis(embedded, "file-system")
    assert (found.health, kind in found.said) == (health, True)


def test_a_file_that_two_hosts_use_is_told_with_their_names(embedded: World) -> None:
    embedded.scan()
    embedded.recover()
    assert diagnosis(embedded, "hosts").health is Health.OK
    other = replace(embedded, host="host-b")
    other.video()
    other.scan()
    other.recover()
    found = diagnosis(embedded, "hosts")
    assert found.health is Health.FAIL
    assert "host-b" in found.said
    assert "host-a" in found.said


def test_an_index_whose_build_broke_off_is_rebuilt(served: World) -> None:
    served.queue_job(0)
    served.queue_job(1)
    assert diagnosis(served, "integrity").health is Health.OK
    with pytest.raises(psycopg.errors.UniqueViolation):
        on_server(served, 'CREATE UNIQUE INDEX CONCURRENTLY "Odd one" ON jobctl.job (owner)')
    on_server(served, "UPDATE jobctl.job SET owner = job_id")
    found = diagnosis(served, "integrity")
    assert (found.health, "Odd one" in found.said) == (Health.FAIL, True)
    mend(served, found)
    assert diagnosis(served, "integrity").health is Health.OK


def test_a_slot_that_nobody_reads_is_told_once_it_keeps_much(served: World) -> None:
    with psycopg.connect(served.url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('gone', true)")
        connection.execute("ALTER SYSTEM SET max_wal_size = '32MB'")
        connection.execute("SELECT pg_reload_conf()")
        try:
            for _ in range(3):
                connection.execute("SELECT pg_logical_emit_message(false, 'jobctl', 'x')")
                connection.execute("SELECT pg_switch_wal()")
            until(served, "wal", Health.WARN)
            found = diagnosis(served, "wal")
            assert "slot gone" in found.said
            mend(served, found)
            assert diagnosis(served, "wal").health is Health.OK
        finally:
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = 'gone'"
            )
            connection.execute("ALTER SYSTEM RESET max_wal_size")
            connection.execute("SELECT pg_reload_conf()")


def test_a_server_without_fsync_is_told_with_who_set_it_so(served: World) -> None:
    found = diagnosis(served, "durability")
    assert found.health is Health.FAIL
    assert "fsync is off, by the command line" in found.said
    # What stands on the server's command line only its operator can change.
    assert "fsync" not in found.command


def test_commits_that_do_not_wait_are_made_to_wait_again(served: World) -> None:
    with psycopg.connect(served.url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    found = diagnosis(served, "durability")
    assert "synchronous_commit is off, by the database" in found.said
    mend(served, found)
    assert "synchronous_commit" not in diagnosis(served, "durability").said


def test_a_transaction_that_is_open_for_long_is_named_and_ended(
    served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diagnosis(served, "transactions").health is Health.OK
    with psycopg.connect(served.url, application_name="forgetful") as connection:
        connection.execute("SELECT count(*) FROM jobctl.job")
        assert diagnosis(served, "transactions").health is Health.OK
        monkeypatch.setattr(databases, "LONG_TRANSACTION_S", 0.0)
        found = diagnosis(served, "transactions")
        assert found.health is Health.WARN
        assert f"pid {connection.info.backend_pid} (forgetful, idle in transaction)" in found.said
        mend(served, found)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        connection.close()
    until(served, "transactions", Health.OK)


def test_autovacuum_that_is_off_is_told(served: World) -> None:
    found = diagnosis(served, "autovacuum")
    assert (found.health, found.command) == (Health.WARN, "")
    assert "by the command line" in found.said


def test_dead_rows_are_found_and_cleared_away(served: World) -> None:
    assert diagnosis(served, "bloat").health is Health.OK
    on_server(
        served,
        "INSERT INTO jobctl.tick SELECT n::text, now() FROM generate_series(1, 12000) AS n",
        "DELETE FROM jobctl.tick",
    )
    until(served, "bloat", Health.WARN)
    found = diagnosis(served, "bloat")
    assert "tick has 12,000 dead rows" in found.said
    assert "last vacuumed: never" in found.said
    mend(served, found)
    until(served, "bloat", Health.OK)


def test_tables_the_planner_knows_nothing_of_are_analyzed(served: World) -> None:
    assert diagnosis(served, "statistics").health is Health.OK
    on_server(served, "INSERT INTO jobctl.tick SELECT n::text, now() FROM generate_series(1, 1200) AS n")
    until(served, "statistics", Health.WARN)
    found = diagnosis(served, "statistics")
    assert "tick has 1,200 rows and was never analyzed" in found.said
    mend(served, found)
    until(served, "statistics", Health.OK)


def test_no_command_holds_a_password(served: World) -> None:
    secret = replace(served.settings, database=served.url.replace("jobctl@", "jobctl:hunter2@", 1))
    found = diagnosis_of(secret, "durability")
    assert "hunter2" not in repr(found)
    assert not is_ill(diagnosis_of(secret, "integrity"))
