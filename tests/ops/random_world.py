"""Worlds drawn at random: jobs in every status, files of every role, and what may go wrong between."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from jobctl.model.job import Job
from jobctl.model.names import from_stored, to_stored
from jobctl.model.status import Cause, Status
from jobctl.outputs.manifest import MANIFEST
from jobctl.source import sources_from_list
from jobctl.store import jobs, schema
from jobctl.store.engine import Connection
from ops.world import World, a_job_id, dead_executor

JOBS = 3
_DAY_S = 86_400.0
_TIMES_S = [60.0, 7_200.0, 5 * _DAY_S, 40 * _DAY_S]
_PATHS_TO = {
    "queued": [],
    "processing": [(Status.PROCESSING, Cause.CLAIM)],
    "dead": [(Status.PROCESSING, Cause.CLAIM)],
    "completed": [(Status.PROCESSING, Cause.CLAIM), (Status.COMPLETED, Cause.EXECUTOR)],
    "interrupted": [(Status.PROCESSING, Cause.CLAIM), (Status.FAILED, Cause.PROOF_OF_DEATH)],
    "failed": [(Status.PROCESSING, Cause.CLAIM), (Status.FAILED, Cause.EXECUTOR)],
    "cancelled": [(Status.CANCELLED, Cause.OPERATOR)],
    "deleted": [],
}
_ERRORS = {"interrupted": "interrupted", "failed": "out of memory"}
_NAMES = {
    "whole": ("video", "presentation_{}.mp4"),
    "second": ("video", "again/presentation_{}.mp4"),
    "truncated": ("video", "cut/presentation_{}.mp4"),
    "thumbnail": ("thumbnail", "thumbnail_{}.jpg"),
    "slide": ("slide", "slide_1_{}.mp4"),
    "leftover": ("intermediate", "below/avatar_{}.mp4"),
    "input": ("intermediate", "remotion_input_{}.json"),
    "part": ("temporary", ".presentation_{}.mp4.0123456789ab.part"),
    "foreign": ("", "notes about {}.txt"),
}
_WHOLE = frozenset({"whole", "second"})


class JobDrawn(NamedTuple):
    """One job: ``status`` is ``None`` where no record was ever made."""

    status: str | None
    files: frozenset[str]
    linked: bool
    ended_s: float
    written_s: float


class Drawn(NamedTuple):
    """A world before anything is done to it. Jobs by number."""

    jobs: list[JobDrawn]
    recovered: bool
    shared: tuple[int, int] | None
    """The first job's record names the second one's files too."""
    hard_link: int | None
    symlink: int | None
    nameless: bool
    referenced: frozenset[int]


def drawn_worlds() -> st.SearchStrategy[Drawn]:
    """Worlds of three jobs."""
    number = st.integers(0, JOBS - 1)
    job = st.builds(
        JobDrawn,
        status=st.sampled_from([None, *_PATHS_TO]),
        files=st.frozensets(st.sampled_from(sorted(_NAMES)), max_size=5),
        linked=st.booleans(),
        ended_s=st.sampled_from(_TIMES_S),
        written_s=st.sampled_from(_TIMES_S),
    )
    return st.builds(
        Drawn,
        jobs=st.lists(job, min_size=JOBS, max_size=JOBS),
        recovered=st.booleans(),
        shared=st.none() | st.tuples(number, number),
        hard_link=st.none() | number,
        symlink=st.none() | number,
        nameless=st.booleans(),
        referenced=st.frozensets(number, max_size=1),
    )


@dataclass
class Builder:
    """Makes drawn worlds real. Videos are encoded once, by number of their job."""

    whole: list[bytes]
    references: Path

    def build(self, drawn: Drawn, world: World) -> None:
        """Make the files, then the records, then what refers to them."""
        for number, job in enumerate(drawn.jobs):
            for kind in job.files:
                world.file(name_of(kind, number), self._content(kind, number), age_s=job.written_s)
        if drawn.nameless:
            world.file("temp_composition_7.mp4", b"nobody's")
        self._link(drawn, world)
        self._record(drawn, world)
        if drawn.recovered:
            world.recover()
        self.refer(world, drawn.referenced)

    def refer(self, world: World, numbers: frozenset[int]) -> None:
        """Let a table of another program name jobs."""
        with closing(sqlite3.connect(self.references)) as database:
            database.execute("DROP TABLE IF EXISTS t")
            database.execute("CREATE TABLE t (id TEXT)")
            database.executemany("INSERT INTO t VALUES (?)", [(a_job_id(number),) for number in numbers])
            database.commit()
        entry = {"name": "app", "table": "t", "database": str(self.references), "columns": {"job_id": "id"}}
        world.changes["sources"] = sources_from_list([entry], "test")

    def _content(self, kind: str, number: int) -> bytes:
        if kind in _WHOLE:
            return self.whole[number]
        if kind == "truncated":
            return self.whole[number][: len(self.whole[number]) * 2 // 3]
        return f"{kind} of {number}".encode()

    def _link(self, drawn: Drawn, world: World) -> None:
        for number, link in ((drawn.hard_link, os.link), (drawn.symlink, os.symlink)):
            if number is not None and drawn.jobs[number].files:
                target = world.root / name_of(min(drawn.jobs[number].files), number)
                link(target, world.root / f"{link.__name__} to {number}")

    def _record(self, drawn: Drawn, world: World) -> None:
        with world.site() as site, site.store.write() as connection:
            root_id = connection.execute(select(schema.root.c.root_id)).scalar_one()
            now = site.store.now(connection)
            for number, job in enumerate(drawn.jobs):
                if job.status is None:
                    continue
                _make_record(connection, number, job, now - timedelta(seconds=job.ended_s))
                if job.status == "deleted":
                    jobs.delete_job(connection, a_job_id(number), actor="ada", at=now)
                elif job.linked:
                    self._name_files(connection, world, root_id, number, number, job.files)
            if drawn.shared is not None:
                by, of = drawn.shared
                if by != of and drawn.jobs[by].status not in {None, "deleted"}:
                    self._name_files(connection, world, root_id, by, of, drawn.jobs[of].files)

    def _name_files(
        self, connection: Connection, world: World, root_id: str, by: int, of: int, kinds: frozenset[str]
    ) -> None:
        """Let the record of one job name files that bear the id of one."""
        for kind in sorted(kinds):
            role, name = _NAMES[kind]
            if role in {"", "temporary"} or kind == "truncated":
                continue
            path = name.format(a_job_id(of))
            found = os.lstat(world.root / path)
            row = {"job_id": a_job_id(by), "root_id": root_id, "path": to_stored(path), "role": role}
            row |= {"state": "present", "size": found.st_size, "mtime_ns": found.st_mtime_ns}
            verdict = "whole" if role == "video" else None
            connection.execute(insert(schema.artifact).values(**row, verdict=verdict))


def _make_record(connection: Connection, number: int, job: JobDrawn, at: datetime) -> None:
    jobs.create_job(connection, Job(job_id=a_job_id(number), owner="ada"), actor="service", at=at)
    now = Status.QUEUED
    for to, cause in _PATHS_TO[str(job.status)]:
        changes: dict[str, object] = {}
        if to is Status.FAILED:
            changes = {"error_code": _ERRORS[str(job.status)], "error": "it failed"}
        elif to is Status.PROCESSING and job.status == "dead":
            changes = {"executor": dead_executor()}
        jobs.change_status(
            connection,
            a_job_id(number),
            to,
            expect=now,
            cause=cause,
            actor="service",
            at=at,
            changes=changes,
        )
        now = to


def name_of(kind: str, number: int) -> str:
    """Where a file of a job lies below the root."""
    return _NAMES[kind][1].format(a_job_id(number))


# --- what goes wrong between plan and apply ------------------------------------------------------

FAULTS = ("none", "grown", "replaced", "removed", "touched", "recorded")


def go_wrong(fault: str, path: str, number: int, world: World) -> None:
    """Change one planned file, or the record of one job."""
    place = world.root / path
    if fault == "grown":
        with place.open("ab") as file:
            file.write(b"more")
    elif fault == "replaced":
        other = place.with_name("another")
        shutil.copy2(place, other)
        other.replace(place)
    elif fault == "removed":
        place.unlink()
    elif fault == "touched":
        with world.site() as site, site.store.write() as connection:
            same = schema.job.c.job_id == a_job_id(number)
            connection.execute(update(schema.job).where(same).values(version=schema.job.c.version + 1))
    elif fault == "recorded" and a_job_id(number) not in world.job_ids():
        world.queue_job(number)


# --- what there is -------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """All that invariants are about: bytes by path, statuses by job, who names which path."""

    files: dict[str, bytes]
    aside: Counter[bytes]
    statuses: dict[str, Status]
    claims: dict[str, set[str]]

    @property
    def bytes(self) -> Counter[bytes]:
        """Every content, in place or in quarantine, and how often."""
        return Counter(self.files.values()) + self.aside


def observe(world: World) -> State:
    """Read tree, quarantine and records."""
    statuses, claims = {}, {}
    with world.site() as site, site.store.read() as connection:
        for job_id, status in connection.execute(select(schema.job.c.job_id, schema.job.c.status)):
            statuses[job_id] = Status(status)
        named = select(schema.artifact.c.job_id, schema.artifact.c.path)
        for job_id, path in connection.execute(named.where(schema.artifact.c.state == "present")):
            claims.setdefault(from_stored(path), set()).add(job_id)
    return State(_files(world.root), _aside(world.root), statuses, claims)


def _files(root: Path) -> dict[str, bytes]:
    found = {}
    for directory, below, names in os.walk(root):
        below[:] = [name for name in below if name != ".jobctl"]
        for name in names:
            path = Path(directory, name)
            content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
            found[os.path.relpath(path, root)] = content
    return found


def _aside(root: Path) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    for directory, _, names in os.walk(root / ".jobctl" / "quarantine"):
        found.update(Path(directory, name).read_bytes() for name in names if name != MANIFEST)
    return found
