"""Backup and restore, killed or failed at any effect: old or new, never half, and nothing lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crash.program import Ended, Program
from jobctl.core.backups import parse_name
from jobctl.ops.left_copies import left_copies
from jobctl.ops.roots import list_roots
from jobctl.ops.runs import list_runs
from ops.world import World, a_job_id

pytestmark = [pytest.mark.crash, pytest.mark.usefixtures("_tools")]

# Killed before an effect is killed after the one before it; the errors take turns.
FAULTS = [
    [("after", "SIGKILL"), ("before", "EIO")],
    [("after", "SIGKILL"), ("after", "ENOSPC")],
]
OLD = {a_job_id(0)}
NEW = {a_job_id(0), a_job_id(1)}


@dataclass
class Stage:
    """A store with one job more than its backup has."""

    world: World
    program: Program
    backups: Path
    saved: Path

    def run(self, *argv: str, **how: Any) -> Ended:
        return self.program.run(
            *argv, JOBCTL_DATABASE_URL=self.world.url, JOBCTL_HOST_ID=self.world.host, **how
        )

    def restore(self, **how: Any) -> Ended:
        (path,) = self.whole_backups()
        return self.run("restore", str(path), "--yes", **how)

    def put_back(self) -> None:
        """Return to the state that was saved: SQLite alone, where a fault has many places."""
        shutil.rmtree(self.world.root.parent / "store")
        shutil.copytree(self.saved / "store", self.world.root.parent / "store")
        shutil.copyfile(self.saved / "root.json", self.world.root / ".jobctl" / "root.json")

    def save(self) -> None:
        shutil.copytree(Path(self.world.url).parent, self.saved / "store")
        shutil.copyfile(self.world.root / ".jobctl" / "root.json", self.saved / "root.json")

    def whole_backups(self) -> list[Path]:
        """Every file whose name says that it is a backup; each must be one."""
        found = [path for path in sorted(self.backups.iterdir()) if parse_name(path.name)]
        for path in found:
            assert path.suffix == ".dump" or jobs_in(path) in (OLD, NEW)
        return found

    def kept(self) -> list[set[str]]:
        """The jobs of every store that was kept."""
        if self.world.url.endswith(".db"):
            return [jobs_in(path) for path in Path(self.world.url).parent.glob("jobs.db.before-*")]
        with psycopg.connect(self.world.url) as server:
            named = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'jobctl\\_before\\_%'"
            schemas = [row[0] for row in server.execute(named)]
            return [{row[0] for row in server.execute(f"SELECT job_id FROM {name}.job")} for name in schemas]

    def left_over(self) -> list[str]:
        """Files that a restore works on, and that should be gone with it."""
        return [path.name for path in self.world.root.parent.glob("store/.*")]

    def remove_what_is_left(self) -> None:
        """What is told to be of no use after a restore, as the copy that one made which was killed."""
        with self.world.site() as site:
            for each in left_copies(site):
                os.unlink(each.path)

    def is_suspended(self) -> bool:
        with self.world.site() as site:
            return all(root.is_suspended for root in list_roots(site))

    def restores(self) -> int:
        with self.world.site() as site:
            return [run.command for run in list_runs(site)].count("restore")


def jobs_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in connection.execute("SELECT job_id FROM job")}


@contextmanager
def staged(url: str, place: Path) -> Iterator[Stage]:
    world = World(url, place / "outputs")
    world.init()
    world.queue_job(0)
    (place / "backups").mkdir()
    (place / "saved").mkdir()
    with Program(place) as program:
        made = Stage(world, program, place / "backups", place / "saved")
        assert made.run("backup", "--to", str(made.backups)).returncode == 0
        world.queue_job(1)
        if url.endswith(".db"):
            made.save()
        yield made


@pytest.fixture
def stage(store_url: str, tmp_path: Path) -> Iterator[Stage]:
    with staged(store_url, tmp_path) as made:
        yield made


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Stage]:
    """On SQLite: a fault has its places on disk, whatever the store is."""
    with staged(str(tmp_path / "store" / "jobs.db"), tmp_path) as made:
        yield made


def expect_old_or_new(stage: Stage, told: str) -> None:
    """The store is the one that was there or the backup, whole; what was there is somewhere."""
    jobs, kept = stage.world.job_ids(), stage.kept()
    assert jobs in (OLD, NEW), f"{told}: the store is neither the old one nor the new one"
    assert jobs == NEW or NEW in kept, f"{told}: the store that was there is lost"
    assert jobs == NEW or stage.is_suspended(), f"{told}: absence would be trusted"
    assert jobs == NEW or stage.restores() == 1, f"{told}: the journal does not tell of it"


def expect_done(stage: Stage, told: str) -> None:
    again = stage.restore()
    assert again.returncode == 0, f"{told}\n{again.stderr}"
    assert stage.world.job_ids() == OLD, told
    assert NEW in stage.kept(), told
    assert stage.is_suspended(), told
    assert stage.restores() == 1, told
    assert stage.left_over() == [], told
    stage.remove_what_is_left()
    assert NEW in stage.kept(), told


def restore_under_every_fault(stage: Stage, variant: str | None = None) -> None:
    effects = stage.restore().effects
    assert effects.count("commit") == 1
    for number in range(1, len(effects) + 1):
        for when, how in FAULTS[number % 2]:
            stage.put_back()
            told = f"{how} {when} effect {number} ({effects[number - 1]})"
            failed = stage.restore(fault={"number": number, "when": when, "how": how}, variant=variant)
            assert failed.returncode != 99, f"{told}\n{failed.stderr}"
            assert "Traceback" not in failed.stderr, f"{told}\n{failed.stderr}"
            expect_old_or_new(stage, told)
            if how == "SIGKILL" and variant is None:
                expect_done(stage, told)


def test_a_restore_leaves_the_old_store_or_the_new_one_after_any_fault(embedded: Stage) -> None:
    restore_under_every_fault(embedded)


def test_the_one_commit_of_a_restore_is_all_or_nothing_on_a_server_too(
    postgresql_url: str, tmp_path: Path
) -> None:
    with staged(postgresql_url, tmp_path) as stage:
        expect_that_a_killed_commit_heals(stage)


def expect_that_a_killed_commit_heals(stage: Stage) -> None:
    for when in ("before", "after"):
        told = f"SIGKILL {when} the commit"
        assert stage.restore(fault={"number": 1, "when": when, "how": "SIGKILL"}).returncode == -9
        assert stage.world.job_ids() == (NEW if when == "before" else OLD), told
        expect_old_or_new(stage, told)
    expect_done(stage, "again")


def test_a_restore_that_is_killed_while_it_writes_leaves_the_old_store(stage: Stage) -> None:
    assert stage.restore(variant="killed-midway").returncode == -9
    assert stage.world.job_ids() == NEW
    expect_old_or_new(stage, "killed midway")
    expect_done(stage, "killed midway")


def test_a_damaged_store_is_replaced_or_still_there_after_any_fault(embedded: Stage) -> None:
    damage = b"\0" * 9_000

    def spoil() -> None:
        embedded.put_back()
        for path in Path(embedded.world.url).parent.glob("jobs.db*"):
            path.unlink()
        Path(embedded.world.url).write_bytes(damage)
        Path(f"{embedded.world.url}-wal").write_bytes(b"log")

    spoil()
    effects = embedded.restore().effects
    for number in range(1, len(effects) + 1):
        for when, how in FAULTS[number % 2]:
            spoil()
            told = f"{how} {when} effect {number} ({effects[number - 1]})"
            embedded.restore(fault={"number": number, "when": when, "how": how})
            place = Path(embedded.world.url)
            assert place.read_bytes() == damage or embedded.world.job_ids() == OLD, told
            assert embedded.restore().returncode == 0, told
            assert embedded.world.job_ids() == OLD, told
            everything = [path.read_bytes() for path in place.parent.glob("jobs.db.before-*")]
            assert damage in everything, told
            assert b"log" in everything, told


def test_a_backup_is_whole_or_not_there_after_any_fault_and_one_is_always_left(embedded: Stage) -> None:
    command = ("backup", "--to", str(embedded.backups), "--keep", "1")
    (first,) = embedded.whole_backups()
    content = first.read_bytes()
    effects = embedded.run(*command).effects
    assert "unlink" in effects
    for number in range(1, len(effects) + 1):
        for when, how in FAULTS[number % 2]:
            for path in embedded.backups.iterdir():
                path.unlink()
            first.write_bytes(content)
            told = f"{how} {when} effect {number} ({effects[number - 1]})"
            failed = embedded.run(*command, fault={"number": number, "when": when, "how": how})
            assert failed.returncode != 99, f"{told}\n{failed.stderr}"
            assert embedded.whole_backups(), told
            again = embedded.run(*command)
            assert again.returncode == 0, f"{told}\n{again.stderr}"
            (newest,) = embedded.whole_backups()
            assert jobs_in(newest) == NEW, told
            assert [name for name in os.listdir(embedded.backups) if name.endswith(".part")] == [], told


def test_the_suite_catches_a_wrong_restore(embedded: Stage) -> None:
    for variant, told in (("unkept", "is lost"), ("trusting", "would be trusted")):
        embedded.put_back()
        with pytest.raises(AssertionError, match=told):
            restore_under_every_fault(embedded, variant)
