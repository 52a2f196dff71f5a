"""A small world for tests: a real root, a real store, and the operations on them."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import demo_tree
from jobctl import clock
from jobctl.evidence.executor import current_executor
from jobctl.model.finding import Finding
from jobctl.model.job import Executor, Job
from jobctl.model.plan import Verb
from jobctl.model.status import Cause, Status
from jobctl.ops.apply import RunReport, apply_plan
from jobctl.ops.cleanup import CleanupOptions, plan_cleanup
from jobctl.ops.expire import ExpireOptions, plan_expire
from jobctl.ops.hold import hold_roots
from jobctl.ops.init import initialise
from jobctl.ops.plan import Plan
from jobctl.ops.recover import plan_recover
from jobctl.ops.scan import scan
from jobctl.ops.scan_report import ScanOptions
from jobctl.ops.site import Site, open_site
from jobctl.ops.undo import plan_undo
from jobctl.outputs import entries
from jobctl.policy import Policy
from jobctl.settings import Settings
from jobctl.store import jobs, schema
from jobctl.store.engine import Store
from store.records import show_life

OLD_S = 7_200.0


def a_job_id(number: int = 0) -> str:
    """A job id, the same for the same number."""
    return str(uuid.UUID(int=(number + 1) * 0x1234567890ABCDEF1234567 % 2**128, version=4))


def dead_executor() -> Executor:
    """A process of this host that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return current_executor("host-a")._replace(pid=ended.pid)


@dataclass
class World:
    """One site with one root, and short words for what tests do to it."""

    url: str
    root: Path
    host: str = "host-a"
    changes: dict[str, Any] = field(default_factory=dict)
    plans: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    @property
    def settings(self) -> Settings:
        return replace(Settings(database=self.url, host_id=self.host), **self.changes)

    def init(self, *, host_local: bool = False) -> None:
        """Register the root."""
        initialise(
            self.settings,
            roots=[str(self.root)],
            layout="presentations",
            host_local=host_local,
            now=clock.now(),
        )

    def site(self, *, pooled: bool = True) -> Site:
        """The site, with its connections kept as a service and the web keep them.

        A command makes one for each look, which the tests of the command line and of crashes do too.
        """
        return open_site(self.settings, actor="tester", pooled=pooled)

    def video(self, number: int = 0, *, seed: int | None = None, age_s: float = OLD_S) -> Path:
        """Make a whole video of a job."""
        path = self.root / f"presentation_{a_job_id(number)}.mp4"
        demo_tree.encode(path, seed=number if seed is None else seed, frames=4, size=(64, 48))
        set_age(path, age_s)
        return path

    def file(self, name: str, content: bytes = b"x", *, age_s: float = OLD_S) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        set_age(path, age_s)
        return path

    def scan(self, **options: Any) -> list[Finding]:
        with self.site() as site:
            return list(scan(site, ScanOptions(**options)))

    def plan(self, **options: Any) -> Plan:
        with self.site() as site, hold_roots(site, command="recover") as hold:
            plan = plan_recover(hold, **options)
        self.plans.append(plan)
        return plan

    def recover(self, **options: Any) -> RunReport:
        with (
            self.site() as site,
            hold_roots(site, command="recover") as hold,
            plan_recover(hold, **options) as plan,
        ):
            return apply_plan(hold, plan)

    def apply(self, plan: Plan) -> RunReport:
        with self.site() as site, hold_roots(site, command="apply") as hold:
            return apply_plan(hold, plan)

    def cleanup_plan(self, **options: Any) -> Plan:
        with self.site() as site, hold_roots(site, command="cleanup") as hold:
            plan = plan_cleanup(hold, CleanupOptions(**options))
        self.plans.append(plan)
        return plan

    def cleanup(self, **options: Any) -> RunReport:
        with (
            self.site() as site,
            hold_roots(site, command="cleanup") as hold,
            plan_cleanup(hold, CleanupOptions(**options)) as plan,
        ):
            return apply_plan(hold, plan)

    def expire_plan(self, policy: Policy | None = None, **options: Any) -> Plan:
        with self.site() as site, hold_roots(site, command="expire") as hold:
            plan = plan_expire(hold, ExpireOptions(policy=policy or site.settings.policy, **options))
        self.plans.append(plan)
        return plan

    def expire(self, policy: Policy | None = None, **options: Any) -> RunReport:
        with self.site() as site, hold_roots(site, command="expire") as hold:
            settled = ExpireOptions(policy=policy or site.settings.policy, **options)
            with plan_expire(hold, settled) as plan:
                return apply_plan(hold, plan)

    def undo(self, run_id: str | None) -> RunReport:
        assert run_id is not None
        with (
            self.site() as site,
            hold_roots(site, command="undo") as hold,
            plan_undo(hold, run_id) as plan,
        ):
            return apply_plan(hold, plan)

    def close(self) -> None:
        """Let go of the plans that were made."""
        for plan in self.plans:
            plan.close()

    def job(self, number: int = 0) -> Job:
        with self.site() as site, site.store.read() as connection:
            return jobs.get_job(connection, a_job_id(number))

    def job_ids(self) -> set[str]:
        with self.site() as site, site.store.read() as connection:
            return set(connection.execute(select(schema.job.c.job_id)).scalars())

    def start_job(
        self,
        number: int = 0,
        *,
        executor: Executor | None = None,
        progress: float = 75.0,
        ago_s: float = OLD_S,
    ) -> None:
        """Record a job that is being processed since ``ago_s``."""
        job_id = a_job_id(number)
        with self.site() as site, site.store.write() as connection:
            at = site.store.now(connection) - timedelta(seconds=ago_s)
            jobs.create_job(connection, Job(job_id=job_id, owner="ada"), actor="service", at=at)
            jobs.change_status(
                connection,
                job_id,
                Status.PROCESSING,
                expect=Status.QUEUED,
                cause=Cause.CLAIM,
                actor="service",
                at=at,
                changes={"executor": executor} if executor else None,
            )
            show_life(connection, job_id, progress=progress, at=at)

    def queue_job(self, number: int = 0, **fields: Any) -> None:
        """Record a job that waits for its turn."""
        with self.site() as site, site.store.write() as connection:
            new = Job(job_id=a_job_id(number), owner="ada", **fields)
            jobs.create_job(connection, new, actor="service", at=site.store.now(connection))

    def finish_job(self, number: int = 0) -> None:
        with self.site() as site, site.store.write() as connection:
            jobs.change_status(
                connection,
                a_job_id(number),
                Status.COMPLETED,
                expect=Status.PROCESSING,
                cause=Cause.EXECUTOR,
                actor="service",
                at=site.store.now(connection),
            )

    def tables(self, *names: str) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of the record tables, but for version and the time of the last change."""
        ignored = {"version", "updated_at"}
        content = {}
        with self.site() as site, site.store.read() as connection:
            for name in names or ("job", "artifact"):
                table = schema.metadata.tables[name]
                columns = [column for column in table.c if column.name not in ignored]
                rows = connection.execute(select(*columns)).all()
                content[name] = sorted((tuple(row) for row in rows), key=repr)
        return content

    def tree(self) -> dict[str, tuple[int, int, int]]:
        """Every file outside ``.jobctl``: mode, size and mtime."""
        found = {}
        for directory, below, names in os.walk(self.root):
            below[:] = [name for name in below if name != ".jobctl"]
            for name in names:
                path = os.path.join(directory, name)
                stat = os.lstat(path)
                found[os.path.relpath(path, self.root)] = (stat.st_mode, stat.st_size, stat.st_mtime_ns)
        return found


def set_age(path: Path, age_s: float) -> None:
    """Date a file back."""
    moment = clock.now().timestamp() - age_s
    os.utime(path, (moment, moment))


def verbs(plan: Plan) -> list[Verb]:
    return [action.verb for action in plan]


class Calendar:
    """Moves every clock that ages are counted by: the store's, the host's count since boot, the root's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store_s = self.boot_s = self.root_s = 0.0
        now, monotonic, root_clock_ns = Store.now, clock.monotonic, entries.root_clock_ns
        monkeypatch.setattr(
            Store, "now", lambda store, connection: now(store, connection) + timedelta(seconds=self.store_s)
        )
        monkeypatch.setattr(clock, "monotonic", lambda: monotonic() + self.boot_s)
        monkeypatch.setattr(
            entries,
            "root_clock_ns",
            lambda root: (root_clock_ns(root) or 0) + int(self.root_s * 1e9),
        )

    def pass_(self, **time: float) -> None:
        """Let time pass, everywhere alike."""
        seconds = timedelta(**time).total_seconds()
        self.store_s += seconds
        self.boot_s += seconds
        self.root_s += seconds

    def jump(self, **time: float) -> None:
        """Set the wall clock, while no time passes."""
        seconds = timedelta(**time).total_seconds()
        self.store_s += seconds
        self.root_s += seconds
