"""Backup: whole, checked, made beside writers; and which older ones may go."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from databases import pg_dump_for
from jobctl import clock
from jobctl.core.backups import BackupName, parse_name
from jobctl.errors import BackupFailed, ToolMissing, UsageError
from jobctl.model.backup import Backup, BackupKind
from jobctl.ops.backup import Target, make_backup, target_of
from jobctl.outputs import effects
from jobctl.policy import Backups
from jobctl.store import postgresql_tools, schema
from jobctl.store.backup_contents import contents_of
from jobctl.store.engine import HEAD
from ops.world import World

pytestmark = pytest.mark.usefixtures("_tools")


def back_up(world: World, directory: Path, *, keep: int | None = None) -> Backup:
    with world.site() as site:
        return make_backup(site, Target(str(directory)), keep=keep)


def age(backup: Backup, **ago: float) -> Path:
    """Rename a backup as if it had been made earlier."""
    name = parse_name(os.path.basename(backup.path))
    assert name is not None
    older = Path(backup.path).with_name(str(name._replace(made_at=name.made_at - timedelta(**ago))))
    os.rename(backup.path, older)
    return older


def test_a_backup_holds_what_the_store_holds_and_is_its_owners_alone(world: World, tmp_path: Path) -> None:
    world.queue_job(0)
    world.start_job(1)
    made = back_up(world, tmp_path / "backups")
    assert made.contents.jobs == {"queued": 1, "processing": 1}
    assert (made.contents.events, made.contents.schema) == (3, HEAD)
    with world.site() as site, site.store.read() as connection:
        assert made.contents == contents_of(connection)
    assert os.path.getsize(made.path) == made.size
    assert stat.S_IMODE(os.stat(made.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "backups").st_mode) == 0o700
    name = parse_name(os.path.basename(made.path))
    assert name == BackupName(made.contents.store_id, made.made_at, made.kind)


def test_names_sort_by_the_moment_they_were_made(world: World, tmp_path: Path) -> None:
    paths = [back_up(world, tmp_path).path for _ in range(3)]
    assert sorted(paths) == paths


def test_only_as_many_are_kept_as_asked_for_and_by_their_names_not_by_mtime(
    world: World, tmp_path: Path
) -> None:
    backups = [age(back_up(world, tmp_path), days=days) for days in (3, 2, 1)]
    os.utime(backups[0])
    os.utime(backups[2], (0, 0))
    made = back_up(world, tmp_path, keep=2)
    assert made.removed == [str(backups[1]), str(backups[0])]
    assert {str(path) for path in tmp_path.glob("jobctl-*")} == {str(backups[2]), made.path}


def test_the_new_one_stays_though_the_clock_was_set_back_since_others_were_made(
    world: World, tmp_path: Path
) -> None:
    ahead = age(back_up(world, tmp_path), days=-9)
    made = back_up(world, tmp_path, keep=1)
    assert (os.path.exists(made.path), ahead.exists()) == (True, True)


def test_what_bears_the_name_of_this_store_and_is_anothers_stays(world: World, tmp_path: Path) -> None:
    older = back_up(world, tmp_path)
    with world.site() as site, site.store.write() as connection:
        connection.execute(update(schema.store).values(store_id="0123456789abcdef"))
    name = parse_name(os.path.basename(older.path))
    assert name is not None
    renamed = tmp_path / str(name._replace(store_id="0123456789abcdef"))
    os.rename(older.path, renamed)
    made = back_up(world, tmp_path, keep=1)
    assert (made.removed, renamed.exists()) == ([], True)
    assert "another store is in it" in made.warnings[0]


def test_nothing_is_removed_that_is_not_proven_to_be_this_stores_own(world: World, tmp_path: Path) -> None:
    old = age(back_up(world, tmp_path), days=9)
    damaged = age(back_up(world, tmp_path), days=8)
    damaged.write_bytes(damaged.read_bytes()[:1000])
    name = parse_name(old.name)
    assert name is not None
    others = tmp_path / str(name._replace(store_id="0123456789abcdef"))
    link = tmp_path / str(name._replace(made_at=name.made_at - timedelta(days=1)))
    shutil.copy(old, others)
    link.symlink_to(old)
    (tmp_path / "jobs.db.bak").write_bytes(b"mine")
    made = back_up(world, tmp_path, keep=1)
    assert made.removed == [str(old)]
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} > {
        damaged.name,
        others.name,
        link.name,
        "jobs.db.bak",
        os.path.basename(made.path),
    }
    assert len(made.warnings) == 2
    assert any(str(damaged) in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        ("unlink", "could not be removed: Operation not permitted"),
        ("fsync-directory", "could not be synced: Operation not permitted"),
    ],
)
def test_where_an_older_one_cannot_be_removed_the_new_one_is_there_all_the_same(
    world: World, tmp_path: Path, effect: str, said: str
) -> None:
    old = age(back_up(world, tmp_path), days=9)
    done: list[str] = []

    def refuse(name: str, _: int) -> None:
        done.append(name)
        # The new backup's own name is synced before anything is removed.
        if name == effect and "unlink" in done:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    effects.observe(before=refuse)
    try:
        made = back_up(world, tmp_path, keep=1)
    finally:
        effects.observe()
    assert os.path.exists(made.path)
    assert old.exists() == (effect == "unlink")
    assert made.removed == ([] if old.exists() else [str(old)])
    (warning,) = made.warnings
    assert said in warning


def test_a_backup_is_on_the_disk_before_it_has_its_name_and_before_an_older_one_goes(
    world: World, tmp_path: Path
) -> None:
    age(back_up(world, tmp_path), days=9)
    done: list[str] = []
    effects.observe(after=lambda name, _: done.append(name))
    try:
        back_up(world, tmp_path, keep=1)
    finally:
        effects.observe()
    assert done == ["create", "fsync", "rename", "fsync-directory", "unlink", "fsync-directory"]


def test_a_name_that_is_taken_is_left_as_it_is(world: World, tmp_path: Path) -> None:
    taken = tmp_path / "mine.db"
    taken.write_text("mine")
    with world.site() as site, pytest.raises(UsageError, match="is there already"):
        make_backup(site, target_of(site, str(taken)))
    assert (taken.read_text(), os.listdir(tmp_path).count("mine.db")) == ("mine", 1)


def test_the_place_is_named_by_flag_setting_or_store(world: World, tmp_path: Path) -> None:
    with world.site() as site:
        assert target_of(site, f"{tmp_path}/new.db") == Target(str(tmp_path), "new.db")
        assert target_of(site, str(tmp_path)) == Target(str(tmp_path))
        assert os.path.basename(target_of(site, None).directory) == "backups"
        site.settings = site.settings.__class__(
            database=world.url, host_id="host-a", backup=Backups(str(tmp_path / "set"), 3)
        )
        assert target_of(site, None) == Target(str(tmp_path / "set"))


def test_what_a_killed_backup_left_is_cleared_away_but_not_another_stores(
    world: World, tmp_path: Path
) -> None:
    made = back_up(world, tmp_path)
    name = parse_name(os.path.basename(made.path))
    assert name is not None
    left = tmp_path / name._replace(made_at=clock.now()).part
    others = tmp_path / name._replace(store_id="0123456789abcdef").part
    for path in (left, Path(f"{left}-journal"), others):
        path.write_bytes(b"half")
    back_up(world, tmp_path)
    assert not left.exists()
    assert not Path(f"{left}-journal").exists()
    assert others.exists()


def test_two_that_are_made_at_once_leave_each_other_alone(world: World, tmp_path: Path) -> None:
    others: list[Backup] = []

    def make_another(_: object) -> None:
        if not others:
            others.append(back_up(world, tmp_path))

    with world.site() as site:
        made = make_backup(site, Target(str(tmp_path)), progress=make_another)
    for each in (made, *others):
        assert os.path.getsize(each.path) == each.size > 0


def test_what_another_backup_removes_meanwhile_is_nothing_to_warn_of(world: World, tmp_path: Path) -> None:
    older = [age(back_up(world, tmp_path), days=days) for days in (3, 2, 1)]

    def remove_all(name: str, _: int) -> None:
        if name == "unlink":
            for path in older:
                path.unlink(missing_ok=True)

    effects.observe(before=remove_all)
    try:
        made = back_up(world, tmp_path, keep=1)
    finally:
        effects.observe()
    assert made.warnings == []
    assert [str(path) for path in tmp_path.glob("jobctl-*")] == [made.path]


def test_another_store_that_was_put_in_its_place_is_not_backed_up_under_its_name(
    embedded: World, tmp_path: Path
) -> None:
    stranger = World(str(tmp_path / "other" / "jobs.db"), tmp_path / "others")
    stranger.init()

    def exchange(name: str, _: int) -> None:
        if name == "create":
            os.replace(stranger.url, embedded.url)

    effects.observe(before=exchange)
    try:
        with pytest.raises(BackupFailed, match="another store was put in the place"):
            back_up(embedded, tmp_path)
    finally:
        effects.observe()
    assert list(tmp_path.glob("jobctl-*")) == []


def test_writers_go_on_while_a_copy_is_made_and_it_is_of_one_moment(embedded: World, tmp_path: Path) -> None:
    with embedded.site() as site, site.store.write() as connection:
        connection.exec_driver_sql("CREATE TABLE ballast (a)")
        connection.exec_driver_sql(
            "INSERT INTO ballast SELECT randomblob(4000) FROM (WITH RECURSIVE n(i) AS"
            " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) SELECT i FROM n)"
        )
    steps = 0

    def write(step: object) -> None:
        nonlocal steps
        del step
        steps += 1
        thread = threading.Thread(target=embedded.queue_job, args=(steps,))
        thread.start()
        thread.join()

    with embedded.site() as site:
        made = make_backup(site, Target(str(tmp_path)), progress=write)
    assert steps > 3
    assert len(embedded.job_ids()) == steps
    assert made.contents.total == 0
    assert made.seconds < 20


@pytest.mark.parametrize("table", ["event", "run"])
def test_a_damaged_store_gives_no_backup_and_no_older_one_goes_for_it(
    embedded: World, tmp_path: Path, table: str
) -> None:
    """Wherever the damage is: what a backup is said to hold is counted in some of the tables alone."""
    embedded.queue_job(0)
    older = age(back_up(embedded, tmp_path / "backups"), days=1)
    with closing(sqlite3.connect(embedded.url)) as connection:
        named = f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'"
        page = connection.execute(named).fetchone()[0]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(embedded.url, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 200)
    with pytest.raises(BackupFailed, match="no backup was made"):
        back_up(embedded, tmp_path / "backups", keep=1)
    assert [path for path in older.parent.iterdir() if path.suffix != ".lock"] == [older]


def test_a_missing_or_old_program_is_told(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(postgresql_url, tmp_path / "outputs")
    monkeypatch.setattr(postgresql_tools, "_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ToolMissing, match="pg_dump is not installed here"):
        back_up(world, tmp_path / "backups")
    old = tmp_path / "old" / "pg_dump"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent))
    with pytest.raises(ToolMissing, match=r"of PostgreSQL 9, and the server is PostgreSQL \d+"):
        back_up(world, tmp_path / "backups")


def test_a_password_reaches_pg_dump_by_its_environment_alone(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pg_dump_for(postgresql_url)
    spy = tmp_path / "bin" / "pg_dump"
    spy.parent.mkdir()
    spy.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/said\necho "$PGPASSWORD" > {tmp_path}/known\nexec {real} "$@"\n'
    )
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{spy.parent}:{os.environ['PATH']}")
    head, _, host = postgresql_url.partition("@")
    world = World(f"{head}:hunter2@{host}", tmp_path / "outputs")
    made = back_up(world, tmp_path / "backups")
    assert made.kind is BackupKind.POSTGRESQL
    assert (tmp_path / "known").read_text() == "hunter2\n"
    said = (tmp_path / "said").read_text().split()
    assert not any("hunter2" in word for word in said)
    # Nobody is there to be asked, and nothing but the store is copied.
    assert {"--no-password", "--schema=jobctl"} <= {*said}
