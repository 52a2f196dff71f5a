"""Opening a store: one that is there, is ours and can be used. Anything else is told and left alone."""

from __future__ import annotations

import getpass
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import delete, text

from jobctl.errors import (
    JobctlError,
    StoreSchemaMismatch,
    StoreUninitialised,
    StoreUnreachable,
    UsageError,
)
from jobctl.store import dialect
from jobctl.store.dialect import SQLite
from jobctl.store.engine import Store, check_sqlite, create_store, open_store
from jobctl.store.schema import store as store_table
from store.processes import ended, start
from store.records import AT


def refusal(url: str, kind: type[JobctlError]) -> JobctlError:
    """Opening this store is refused; the error names place and user, and a next step."""
    with pytest.raises(kind) as refused:
        open_store(url)
    assert type(refused.value) is kind
    assert getpass.getuser() in refused.value.message
    assert refused.value.hint
    return refused.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a store."""
    place = tmp_path / "store" / "jobs.db"
    create_store(str(place), now=AT, version="test")[0].close()
    return place


def test_a_store_is_made_once_and_then_found(bare_url: str) -> None:
    made, is_new = create_store(bare_url, now=AT, version="test")
    found, is_new_again = create_store(bare_url, now=AT, version="test")
    assert (is_new, is_new_again) == (True, False)
    assert made.store_id == found.store_id == open_store(bare_url).store_id


def test_processes_that_make_one_store_at_once_make_one(bare_url: str) -> None:
    workers = [start("make", bare_url) for _ in range(4)]
    said = [ended(worker).split() for worker in workers]
    assert len({store_id for store_id, _ in said}) == 1
    assert sorted(made for _, made in said) == ["False", "False", "False", "True"]


def test_only_init_makes_a_store(bare_url: str) -> None:
    error = refusal(bare_url, StoreUninitialised)
    assert "jobctl init" in error.hint


def test_opening_makes_no_file(tmp_path: Path) -> None:
    refusal(str(tmp_path / "jobs.db"), StoreUninitialised)
    refusal(str(tmp_path / "no" / "jobs.db"), StoreUninitialised)
    assert list(tmp_path.iterdir()) == []


def test_a_new_store_is_for_its_owner_only(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_empty_file_is_no_store_yet(tmp_path: Path) -> None:
    empty = tmp_path / "jobs.db"
    empty.touch()
    refusal(str(empty), StoreUninitialised)
    assert empty.read_bytes() == b""
    assert create_store(str(empty), now=AT, version="test")[1]


def test_what_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    letter = tmp_path / "jobs.db"
    letter.write_bytes(b"Dear Ada,\n" * 500)
    error = refusal(str(letter), StoreUnreachable)
    assert "not a database" in error.message
    with pytest.raises(StoreUnreachable):
        create_store(str(letter), now=AT, version="test")
    assert letter.read_bytes() == b"Dear Ada,\n" * 500


def test_a_directory_or_a_device_is_no_store(tmp_path: Path) -> None:
    assert "directory" in refusal(str(tmp_path), StoreUnreachable).message
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in refusal(str(tmp_path / "pipe"), StoreUnreachable).message


def test_another_programs_sqlite_file_is_not_even_switched_to_wal(tmp_path: Path) -> None:
    other = tmp_path / "service.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE presentation_jobs (job_id TEXT)")
    connection.close()
    before = other.read_bytes()
    assert "another program" in refusal(str(other), StoreSchemaMismatch).message
    with pytest.raises(StoreSchemaMismatch):
        create_store(str(other), now=AT, version="test")
    assert other.read_bytes() == before


def test_another_programs_tables_on_the_server_are_left_alone(bare_postgresql_url: str) -> None:
    with psycopg.connect(bare_postgresql_url) as connection:
        connection.execute("CREATE TABLE presentation_jobs (job_id text)")
        connection.execute("CREATE TABLE store (name text)")
    assert create_store(bare_postgresql_url, now=AT, version="test")[1]
    with psycopg.connect(bare_postgresql_url) as connection:
        assert connection.execute("SELECT count(*) FROM public.presentation_jobs").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM jobctl.presentation_jobs").fetchone() == (0,)


@pytest.mark.parametrize("version", ["9999", "cafe01"])
def test_a_store_of_another_version_is_left_as_it_is(store: Store, store_url: str, version: str) -> None:
    table = store.dialect.table("alembic_version")
    with store.write() as connection:
        connection.execute(text(f"UPDATE {table} SET version_num = '{version}'"))
    error = refusal(store_url, StoreSchemaMismatch)
    assert version in error.message
    assert "left as it is" in error.message
    with pytest.raises(StoreSchemaMismatch):
        create_store(store_url, now=AT, version="test")


def test_a_store_that_does_not_say_which_it_is_is_told(store: Store, store_url: str) -> None:
    with store.write() as connection:
        connection.execute(delete(store_table))
    assert "does not say which store it is" in refusal(store_url, StoreSchemaMismatch).message


@pytest.mark.parametrize("url", ["a\0b.db", "sqlite:///a%00b.db", "postgresql://host/a%00b"])
def test_a_name_that_no_system_takes_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="NUL"):
        open_store(url)


def test_a_damaged_store_is_told(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 8000)
    assert str(path) in refusal(str(path), StoreUnreachable).message


def test_a_store_that_another_program_keeps_for_itself_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "BUSY_TIMEOUT_S", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    error = refusal(str(path), StoreUnreachable)
    holder.close()
    assert "locked" in error.message
    assert "who else" in error.hint
    open_store(str(path)).close()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory other users can enter, unlike those of the test run."""
    directory = Path(tempfile.mkdtemp(prefix="jobctl-shared-"))
    directory.chmod(0o755)
    yield directory
    subprocess.run(["chmod", "-R", "u+rwX", str(directory)], check=True)
    shutil.rmtree(directory)


def as_nobody(action: Callable[[], None]) -> str:
    """Do this as a user without rights; the message and hint of the error that came of it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        said = "no error"
        try:
            action()
        except JobctlError as error:
            said = f"{type(error).__name__}: {error.message} | {error.hint}"
        except BaseException as error:  # noqa: BLE001 - the parent tells what it was
            said = repr(error)
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize("closed", ["file", "directory", "parent"])
def test_a_store_one_may_not_use_is_told_before_anything_happens(shared: Path, closed: str) -> None:
    path = shared / "store" / "jobs.db"
    create_store(str(path), now=AT, version="test")[0].close()
    modes = {
        "file": (0o755, 0o755, 0o444),
        "directory": (0o755, 0o555, 0o666),
        "parent": (0o755, 0o600, 0o666),
    }
    for place, mode in zip((shared, path.parent, path), modes[closed], strict=True):
        place.chmod(mode)
    said = as_nobody(lambda: open_store(str(path)).close())
    assert said.startswith("StoreUnreachable")
    assert str(path) in said
    assert "mend the permissions" in said


def test_a_store_that_cannot_be_made_is_told(shared: Path) -> None:
    shared.chmod(0o555)
    said = as_nobody(lambda: create_store(str(shared / "new" / "jobs.db"), now=AT, version="test"))
    assert said.startswith("StoreUnreachable")
    assert "cannot be made" in said


@pytest.mark.parametrize("name", ["a b.db", "a?b#c%20d&e.db", "ü.db", os.fsdecode(b"caf\xe9.db"), "'\";.db"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    create_store(str(tmp_path / name), now=AT, version="test")[0].close()
    open_store(str(tmp_path / name)).close()
    assert name in {entry.name for entry in tmp_path.iterdir()}


def test_a_path_may_be_written_as_a_url(path: Path) -> None:
    assert open_store(f"sqlite:///{path}").url == str(path)


def test_a_home_directory_may_be_written_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(path.parent))
    assert open_store("~/jobs.db").url == str(path)


def test_a_server_may_be_named_in_three_ways(postgresql_url: str) -> None:
    rest = postgresql_url.partition("://")[2]
    stores = [open_store(f"{scheme}://{rest}") for scheme in ("postgresql", "postgres", "postgresql+psycopg")]
    assert len({store.store_id for store in stores}) == 1


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    error = refusal(f"postgresql://ada:geheim@/jobs?host={tmp_path}", StoreUnreachable)
    assert str(tmp_path) in error.message
    assert "ada@" in error.message
    assert "geheim" not in error.message
    assert "server runs" in error.hint


def test_a_database_that_does_not_exist_is_told(postgresql_url: str) -> None:
    head, _, query = postgresql_url.partition("?")
    error = refusal(f"{head}_gone?{query}", StoreUnreachable)
    assert "does not exist" in error.message
    assert "database exists" in error.hint


@pytest.fixture
def limited_url(bare_postgresql_url: str) -> Iterator[str]:
    """The database as a role sees it that may not make schemas, with a schema made for it."""
    role = f"jobctl_limited_{os.getpid()}"
    with psycopg.connect(bare_postgresql_url, autocommit=True) as connection:
        try:
            connection.execute(f"CREATE ROLE {role} LOGIN")
        except psycopg.errors.InsufficientPrivilege:
            pytest.skip("the given server lets us make no roles")
        user = connection.execute("SELECT current_user").fetchone()
        assert user is not None
    head, _, rest = bare_postgresql_url.partition("://")
    yield f"{head}://{role}@{rest.rpartition('@')[2]}"
    with psycopg.connect(bare_postgresql_url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role} CASCADE")
        connection.execute(f"DROP ROLE {role}")


def test_a_role_needs_no_more_than_its_schema(limited_url: str, bare_postgresql_url: str) -> None:
    role = limited_url.partition("://")[2].partition("@")[0]
    with pytest.raises(StoreUnreachable, match="permission denied"):
        create_store(limited_url, now=AT, version="test")
    with psycopg.connect(bare_postgresql_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA jobctl AUTHORIZATION {role}")
    assert create_store(limited_url, now=AT, version="test")[1]


def test_a_role_without_rights_on_the_store_is_told(limited_url: str, bare_postgresql_url: str) -> None:
    create_store(bare_postgresql_url, now=AT, version="test")[0].close()
    assert "permission denied" in refusal(limited_url, StoreUnreachable).message


def test_an_sqlite_that_is_too_old_is_told() -> None:
    check_sqlite((3, 40, 0))
    with pytest.raises(StoreUnreachable, match=r"SQLite 3\.39\.4, jobctl needs 3\.40\.0"):
        check_sqlite((3, 39, 4))


def test_opening_does_not_import_alembic(path: Path) -> None:
    lines = ("import sys", "from jobctl.store.engine import open_store", "open_store(sys.argv[1])")
    program = "\n".join((*lines, "sys.exit('alembic' in sys.modules)"))
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


def test_an_sqlite_store_is_as_durable_as_promised(path: Path) -> None:
    opened = open_store(str(path))
    assert isinstance(opened.dialect, SQLite)
    with opened.write() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in pragmas]
    assert values == ["wal", 2, 1, 30_000]


def test_a_copy_that_lost_its_journal_mode_gets_it_back(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with sqlite3.connect(path) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    connection.close()
    open_store(str(copy)).close()
    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
