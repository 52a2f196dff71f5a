"""Cleanup, expire, restore, purge, undo, killed or failed at any effect: nothing lost, nothing twice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from crash.faults import ASKS_FOR_ALL, every_kill, faults_of
from crash.program import Ended, Program
from jobctl.ops.runs import list_runs
from jobctl.ops.verify import Verification
from jobctl.store import schema
from ops.world import World, a_job_id

pytestmark = pytest.mark.crash

# Waiting is what these commands are about; here a moment is long enough.
POLICY = """
[expire]
retain = { completed = "0.000001s" }
[cleanup]
grace = "0.000001s"
[quarantine]
retention = "0.000001s"
"""
VOLATILE = {
    "job": {"recovered_at", "updated_at", "version"},
    "artifact": {"run_id", "noted_at", "version"},
    "event": {"event_id", "at", "run_id"},
    "tombstone": {"at"},
    "pin": {"at", "run_id", "inode"},
}


@dataclass
class Stage:
    """A world with files to move, that can be put back to where it was."""

    world: World
    program: Program
    saved: Path
    admin_url: str | None

    @property
    def is_server(self) -> bool:
        return self.admin_url is not None

    def run(self, *argv: str, **how: Any) -> Ended:
        return self.program.run(
            *argv,
            JOBCTL_DATABASE_URL=self.world.url,
            JOBCTL_HOST_ID=self.world.host,
            JOBCTL_CONFIG=str(self.saved / "jobctl.toml"),
            **how,
        )

    def save(self) -> None:
        """Remember store and tree as they are."""
        shutil.rmtree(self.saved / "tree", ignore_errors=True)
        copy_tree(self.world.root, self.saved / "tree")
        if self.admin_url is None:
            shutil.copyfile(self.world.url, self.saved / "jobs.db")
        else:
            self._recreate(f"{self._name()}_saved", template=self._name())

    def put_back(self) -> None:
        """Return to the remembered state."""
        shutil.rmtree(self.world.root)
        copy_tree(self.saved / "tree", self.world.root)
        if self.admin_url is None:
            for suffix in ("-wal", "-shm"):
                Path(self.world.url + suffix).unlink(missing_ok=True)
            shutil.copyfile(self.saved / "jobs.db", self.world.url)
        else:
            self._recreate(self._name(), template=f"{self._name()}_saved")

    def walk(self) -> None:
        """The first of the two complete walks that cleanup needs; a copied tree has other inodes."""
        assert self.run("scan", "--full", "--quiet").returncode == 0

    def end_state(self) -> dict[str, Any]:
        """Where every byte is, what the records say, and whether the journal is settled."""
        content: dict[str, Any] = {"tree": self.world.tree(), "aside": self._aside()}
        with self.world.site() as site, site.store.read() as connection:
            for name, volatile in VOLATILE.items():
                table = schema.metadata.tables[name]
                columns = [column for column in table.c if column.name not in volatile]
                rows = map(repr, connection.execute(select(*columns)).all())
                # How long ago something was is another number the second time.
                content[name] = sorted(
                    re.sub(r"(unchanged|in quarantine) for \w+", r"\1", row) for row in rows
                )
            pending = select(schema.run_action.c.seq).where(schema.run_action.c.outcome == "pending")
            content["pending"] = list(connection.execute(pending).scalars())
            unfinished = select(schema.run.c.run_id).where(schema.run.c.state.in_(("loading", "applying")))
            content["unfinished"] = list(connection.execute(unfinished).scalars())
            content["differences"] = [difference.kind for difference in Verification(site)]
        return content

    def _aside(self) -> list[tuple[int, int]]:
        """Size and time of each file in quarantine, wherever it lies there."""
        found = []
        for directory, _, names in os.walk(self.world.root / ".jobctl" / "quarantine"):
            for name in names:
                if name != "manifest.jsonl":
                    stat = os.lstat(os.path.join(directory, name))
                    found.append((stat.st_size, stat.st_mtime_ns))
        return sorted(found)

    def close(self) -> None:
        if self.admin_url is not None:
            with psycopg.connect(self.admin_url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {self._name()}_saved WITH (FORCE)")

    def _name(self) -> str:
        return self.world.url.partition("?")[0].rpartition("/")[2]

    def _recreate(self, name: str, *, template: str) -> None:
        assert self.admin_url is not None
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


def copy_tree(source: Path, target: Path) -> None:
    """Copy names, times and which names are of one file."""
    subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True)


@pytest.fixture
def stage(request: pytest.FixtureRequest, store_url: str, tmp_path: Path) -> Iterator[Stage]:
    world = World(store_url, tmp_path / "outputs")
    world.init()
    world.video(0)
    world.file(f"below/avatar_{a_job_id(0)}.mp4", b"avatar")
    (world.root / "below" / "kept.bin").hardlink_to(world.file("temp_composition_1.mp4", b"one"))
    world.recover()
    admin = None if store_url.endswith(".db") else request.getfixturevalue("postgresql_server")
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "jobctl.toml").write_text(POLICY)
    with Program(tmp_path) as program:
        made = Stage(world, program, saved, admin)
        made.save()
        yield made
        made.close()


def nothing() -> None:
    """Commands that need no walk before."""


def expect_that_any_fault_heals(
    stage: Stage, *command: str, prepare: Callable[[], None] = nothing, variant: str | None = None
) -> dict[str, Any]:
    """Replace each effect in turn by each fault, run the same command again, compare."""
    stage.put_back()
    prepare()
    undisturbed = stage.run(*command)
    assert undisturbed.returncode == 0, undisturbed.stderr
    wanted, effects = stage.end_state(), undisturbed.effects
    assert wanted["differences"] == []
    sample = faults_of(len(effects), is_server=stage.is_server)
    for number, when, how in every_kill(len(effects)) if variant else sample:
        stage.put_back()
        prepare()
        told = f"{how} {when} effect {number} ({effects[number - 1]})"
        fault = {"number": number, "when": when, "how": how}
        failed = stage.run(*command, fault=fault, variant=variant)
        assert failed.returncode == (-9 if how == "SIGKILL" else failed.returncode), told
        assert failed.returncode not in {0, 99}, f"{told}: an error must not exit 0\n{failed.stderr}"
        assert "Traceback" not in failed.stderr, f"{told}\n{failed.stderr}"
        again = stage.run(*command, variant=variant)
        assert again.returncode == 0, f"{told}\n{again.stdout}{again.stderr}"
        state = stage.end_state()
        for name, value in wanted.items():
            assert state[name] == value, f"{told}: {name} differs"
    return wanted


def last_run(stage: Stage) -> str:
    with stage.world.site() as site:
        return list_runs(site)[0].run_id


def test_cleanup_heals_after_any_fault(stage: Stage) -> None:
    wanted = expect_that_any_fault_heals(stage, "cleanup", "--yes", prepare=stage.walk)
    assert (len(wanted["aside"]), len(wanted["tree"])) == (2, 2)


def test_expire_heals_after_any_fault(stage: Stage) -> None:
    wanted = expect_that_any_fault_heals(stage, "expire", "--yes")
    assert (len(wanted["aside"]), len(wanted["tombstone"])) == (2, 1)


def test_restore_heals_after_any_fault(stage: Stage) -> None:
    stage.walk()
    assert stage.run("cleanup", "--yes").returncode == 0
    stage.save()
    wanted = expect_that_any_fault_heals(stage, "quarantine", "restore", last_run(stage), "--yes")
    assert (len(wanted["aside"]), len(wanted["tree"])) == (0, 4)


def test_undo_of_expire_heals_after_any_fault(stage: Stage) -> None:
    assert stage.run("expire", "--yes").returncode == 0
    stage.save()
    wanted = expect_that_any_fault_heals(stage, "undo", last_run(stage), "--yes")
    assert (len(wanted["aside"]), len(wanted["tree"]), wanted["tombstone"]) == (0, 4, [])


def test_purge_heals_after_any_fault(stage: Stage) -> None:
    stage.walk()
    assert stage.run("cleanup", "--yes").returncode == 0
    stage.save()
    wanted = expect_that_any_fault_heals(stage, "quarantine", "purge", "--yes")
    assert (wanted["aside"], len(wanted["tree"])) == ([], 2)


def test_a_file_whose_other_name_was_moved_before_a_crash_waits_for_another_grace(stage: Stage) -> None:
    """Moving one name changes what the other shows: whether the bytes were changed too cannot be told."""
    (stage.world.root / "temp_composition_2.mp4").hardlink_to(stage.world.root / "temp_composition_1.mp4")
    stage.save()
    stage.walk()
    effects = stage.run("cleanup", "--yes").effects
    wanted = stage.end_state()
    assert len(wanted["aside"]) == 3
    for number, _, _ in faults_of(len(effects), is_server=stage.is_server, kills_only=True):
        stage.put_back()
        stage.walk()
        stage.run("cleanup", "--yes", fault={"number": number, "when": "after", "how": "SIGKILL"})
        assert stage.run("cleanup", "--yes").returncode == 0
        assert stage.run("cleanup", "--yes").returncode == 0
        state = stage.end_state()
        for name in ("aside", "tree", "artifact", "pending", "unfinished", "differences"):
            assert state[name] == wanted[name], (
                f"killed after effect {number} ({effects[number - 1]}): {name}"
            )


@pytest.mark.parametrize("variant", ["forgetful", "hasty", "untold"])
def test_the_suite_catches_a_wrong_order(stage: Stage, variant: str) -> None:
    if stage.is_server and not ASKS_FOR_ALL:
        pytest.skip("the order of effects is the same on every database")
    with pytest.raises(AssertionError, match=r"SIGKILL after effect \d+ \(\w+\): \w+ differs"):
        expect_that_any_fault_heals(stage, "cleanup", "--yes", prepare=stage.walk, variant=variant)
