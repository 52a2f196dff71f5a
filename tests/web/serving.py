"""A store, a root and the API on them, in this process or served by the installed program."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import demo_tree
from cli.calling import PROGRAM
from jobctl.model.job import Job
from jobctl.model.status import Cause, Status
from jobctl.ops.site import Site
from jobctl.service import publish
from jobctl.store import jobs, roots, workers
from jobctl.web.api import Api
from jobctl.web.limits import Limits
from ops.world import World, a_job_id
from store.records import show_life

JPEG = b"\xff\xd8\xff\xe0" + b"not much of a picture" + b"\xff\xd9"


def api_of(world: World, *, tokens: Any = None, **limits: Any) -> Api:
    """The API on a world; who waits is told quickly."""
    return Api(
        world.settings,
        task="presentation",
        tokens=tokens,
        limits=Limits(**{"look_every_s": 0.02, **limits}),
    )


def begin(site: Site, job_id: str, progress: float | None = None) -> None:
    """Record a job that is being processed, in its first attempt."""
    with site.store.write() as connection:
        at = site.store.now(connection)
        jobs.create_job(connection, Job(job_id=job_id), actor="tester", at=at)
        jobs.change_status(
            connection,
            job_id,
            Status.PROCESSING,
            expect=Status.QUEUED,
            cause=Cause.CLAIM,
            actor="tester",
            at=at,
        )
    if progress is not None:
        report(site, job_id, progress)


def report(site: Site, job_id: str, progress: float) -> None:
    with site.store.write() as connection:
        at = site.store.now(connection)
        show_life(connection, job_id, progress=progress, at=at)


def end(site: Site, job_id: str, to: Status = Status.COMPLETED, **changes: Any) -> None:
    with site.store.write() as connection:
        at = site.store.now(connection)
        jobs.change_status(
            connection,
            job_id,
            to,
            expect=Status.PROCESSING,
            cause=Cause.EXECUTOR,
            actor="tester",
            at=at,
            changes=changes,
        )


def publish_video(world: World, site: Site, number: int = 0) -> Path:
    """Publish the video of a job that is being processed, as its attempt does."""
    job_id = a_job_id(number)
    path = world.root / f"presentation_{job_id}.mp4"
    temporary = world.root / f".{path.name}.0123456789ab.part"
    demo_tree.encode(temporary, seed=number, frames=4, size=(64, 48))
    found = publish(str(temporary), str(path), job_id=job_id)
    accept(world, site, job_id, "video", path, found.sha256)
    return path


def accept(world: World, site: Site, job_id: str, role: str, path: Path, sha256: str | None) -> None:
    """Record a file as the first attempt's own."""
    with site.store.read() as connection:
        root_id = _root_id(connection)
    place = os.path.relpath(path, world.root)
    offer = workers.Offer(job_id, 1, root_id, place, role, path.stat().st_size, sha256)
    url = {"video": "video_url", "thumbnail": "thumbnail_url"}[role]
    with site.store.write() as connection:
        workers.accept(
            connection,
            offer,
            actor="tester",
            at=site.store.now(connection),
            mtime_ns=path.stat().st_mtime_ns,
            fields={url: f"/presentations/{job_id}/{role}"},
        )


def completed(world: World, number: int = 0) -> tuple[str, Path]:
    """A completed job with its video: id and path."""
    job_id = a_job_id(number)
    with world.site() as site:
        begin(site, job_id)
        path = publish_video(world, site, number)
        end(site, job_id)
    return job_id, path


def _root_id(connection: Any) -> str:
    return roots.get_roots(connection)[0].root_id


@dataclass
class Served:
    """The installed program, serving."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def served(database: str, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """Serve on a free port of the loopback, until the block ends."""
    process = subprocess.Popen(
        [PROGRAM, "serve", "--database", database, "--port", "0", *arguments],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            match = re.search(r"listening on (http://\S+)", line)
            if match:
                yield Served(match[1], process)
                break
        else:
            raise AssertionError(f"it did not serve: exit code {process.wait()}")
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
