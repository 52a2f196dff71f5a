"""Killed, or failed by the disk, at any effect: run again, and all is as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from crash.faults import every_kill, faults_of
from crash.program import Ended, Program
from jobctl.evidence.executor import current_executor
from jobctl.ops.runs import list_runs
from jobctl.store import schema
from ops.world import World, a_job_id

pytestmark = pytest.mark.crash

VOLATILE = {
    "job_body": set(),
    "job": {"recovered_at", "updated_at", "version"},
    "artifact": {"run_id", "noted_at", "version"},
    "event": {"event_id", "at", "run_id"},
    "evidence": {"noted_at"},
    "log_stream": {"noted_at"},
    "log_position": {"noted_at"},
}


@dataclass
class Stage:
    """A world that can be put back to where it was, as often as a test wants."""

    world: World
    program: Program
    saved: Path
    admin_url: str | None

    def save(self) -> None:
        """Remember this state of store and marker."""
        shutil.copyfile(self.world.root / ".jobctl" / "root.json", self.saved / "root.json")
        if self.admin_url is None:
            shutil.copyfile(self.world.url, self.saved / "jobs.db")
        else:
            self._recreate(self._name() + "_saved", template=self._name())

    def put_back(self) -> None:
        """Return to the remembered state."""
        shutil.copyfile(self.saved / "root.json", self.world.root / ".jobctl" / "root.json")
        if self.admin_url is None:
            for suffix in ("-wal", "-shm"):
                Path(self.world.url + suffix).unlink(missing_ok=True)
            shutil.copyfile(self.saved / "jobs.db", self.world.url)
        else:
            self._recreate(self._name(), template=self._name() + "_saved")

    def run(self, *argv: str, **how: Any) -> Ended:
        return self.program.run(
            *argv, JOBCTL_DATABASE_URL=self.world.url, JOBCTL_HOST_ID=self.world.host, **how
        )

    def end_state(self) -> dict[str, Any]:
        """All that matters afterwards: records, files, history, and a store that agrees with the tree."""
        content: dict[str, Any] = {"tree": self.world.tree()}
        with self.world.site() as site, site.store.read() as connection:
            for name, volatile in VOLATILE.items():
                table = schema.metadata.tables[name]
                columns = [column for column in table.c if column.name not in volatile]
                content[name] = sorted(map(repr, connection.execute(select(*columns)).all()))
            generation = connection.execute(select(schema.root.c.generation)).scalar_one()
            pending = select(schema.run_action.c.seq).where(schema.run_action.c.outcome == "pending")
            content["pending"] = list(connection.execute(pending).scalars())
            unfinished = select(schema.run.c.run_id).where(schema.run.c.state.in_(("loading", "applying")))
            content["unfinished"] = list(connection.execute(unfinished).scalars())
        marker = json.loads((self.world.root / ".jobctl" / "root.json").read_text())
        content["marker is not ahead"] = marker["generation"] <= generation
        content["no temporary files"] = [path.name for path in (self.world.root / ".jobctl").iterdir()] == [
            "root.json"
        ]
        return content

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


@pytest.fixture
def stage(request: pytest.FixtureRequest, store_url: str, tmp_path: Path) -> Iterator[Stage]:
    world = World(store_url, tmp_path / "outputs")
    world.init()
    world.video(0)
    world.file(f"slide_1_{a_job_id(0)}.mp4")
    world.video(1)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = current_executor(world.host)._replace(pid=ended.pid)
    world.start_job(1, executor=dead, progress=99.0, ago_s=9_000)
    world.start_job(2, executor=dead)
    admin = None if store_url.endswith(".db") else request.getfixturevalue("postgresql_server")
    (tmp_path / "saved").mkdir()
    with Program(tmp_path) as program:
        made = Stage(world, program, tmp_path / "saved", admin)
        made.save()
        yield made
        made.close()


def expect_that_any_fault_heals(
    stage: Stage, command: list[str], wanted: dict[str, Any], *, variant: str | None = None
) -> None:
    """Replace each effect in turn by each fault, run the same command again, compare."""
    stage.put_back()
    effects = stage.run(*command, variant=variant).effects
    assert "commit" in effects
    sample = faults_of(len(effects), is_server=stage.admin_url is not None)
    for number, when, how in every_kill(len(effects)) if variant else sample:
        stage.put_back()
        told = f"{how} {when} effect {number} ({effects[number - 1]})"
        failed = stage.run(*command, fault={"number": number, "when": when, "how": how}, variant=variant)
        assert failed.returncode == (-9 if how == "SIGKILL" else failed.returncode), told
        assert failed.returncode not in {0, 99}, f"{told}: an error must not exit 0\n{failed.stderr}"
        assert "Traceback" not in failed.stderr, f"{told}\n{failed.stderr}"
        again = stage.run(*command, variant=variant)
        assert again.returncode == 0, f"{told}\n{again.stderr}"
        state = stage.end_state()
        for name, value in wanted.items():
            assert state[name] == value, f"{told}: {name} differs"


def test_recover_heals_after_any_fault(stage: Stage) -> None:
    assert stage.run("recover", "--yes").returncode == 0
    wanted = stage.end_state()
    assert len(wanted["job"]) == 3
    expect_that_any_fault_heals(stage, ["recover", "--yes"], wanted)


def test_undo_heals_after_any_fault(stage: Stage) -> None:
    assert stage.run("recover", "--yes").returncode == 0
    with stage.world.site() as site:
        (run,) = list_runs(site)
    stage.save()
    assert stage.run("undo", run.run_id, "--yes").returncode == 0
    wanted = stage.end_state()
    assert len(wanted["job"]) == 2
    expect_that_any_fault_heals(stage, ["undo", run.run_id, "--yes"], wanted)


def test_recover_with_a_log_heals_after_any_fault(stage: Stage) -> None:
    log = stage.saved / "app.log"
    log.write_text(
        f"INFO:svc:Created presentation job: {a_job_id(7)}\n"
        f"INFO:svc:[HEARTBEAT] Job {a_job_id(7)}: status=processing, progress=30%\n"
        "INFO:     Started server process [1]\n"
    )
    command = ["recover", "--yes", "--log", str(log)]
    stage.save()
    assert stage.run(*command).returncode == 0
    wanted = stage.end_state()
    assert (len(wanted["job"]), len(wanted["evidence"])) == (4, 1)
    expect_that_any_fault_heals(stage, command, wanted)


def a_dump(directory: Path) -> str:
    """Jobs of another program, with payloads."""
    path = directory / "dump.jsonl"
    rows = [{"job_id": f"dumped-{number}", "status": "failed", "theme": number} for number in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_import_heals_after_any_fault(stage: Stage, tmp_path: Path) -> None:
    command = ["import", a_dump(tmp_path), "--yes"]
    assert stage.run(*command).returncode == 0
    wanted = stage.end_state()
    assert (len(wanted["job"]), len(wanted["job_body"])) == (5, 3)
    expect_that_any_fault_heals(stage, command, wanted)


def test_undo_of_an_import_heals_after_any_fault(stage: Stage, tmp_path: Path) -> None:
    assert stage.run("import", a_dump(tmp_path), "--yes").returncode == 0
    with stage.world.site() as site:
        (run,) = list_runs(site)
    stage.save()
    command = ["undo", run.run_id, "--yes"]
    assert stage.run(*command).returncode == 0
    wanted = stage.end_state()
    assert (len(wanted["job"]), len(wanted["job_body"])) == (2, 0)
    expect_that_any_fault_heals(stage, command, wanted)


def test_the_suite_catches_a_chunk_that_is_torn_in_two(stage: Stage) -> None:
    assert stage.run("recover", "--yes").returncode == 0
    wanted = stage.end_state()
    with pytest.raises(
        AssertionError,
        match=r"SIGKILL after effect \d+ \(commit\): (event|pending|artifact|unfinished) differs",
    ):
        expect_that_any_fault_heals(stage, ["recover", "--yes"], wanted, variant="torn")
