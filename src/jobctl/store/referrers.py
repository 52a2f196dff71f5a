"""What in the store refers to files: artifact rows, pins, and the records of their jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Select, select

from jobctl.model.names import from_stored, to_stored
from jobctl.store.engine import Connection
from jobctl.store.schema import artifact, job, job_body, pin

_AT_ONCE = 500


class ListedFile(NamedTuple):
    """An artifact row by its place, which may be another job's than the file's name says."""

    path: str
    job_id: str
    state: str
    size: int | None
    mtime_ns: int | None
    sha256: str | None


class PinnedFile(NamedTuple):
    """A file that was given back from quarantine, and stays while it is the same."""

    path: str
    inode: int
    size: int
    mtime_ns: int


class AskedRow(NamedTuple):
    """A job and what it was asked for."""

    job_id: str
    kind: str
    owner: str | None
    status: str
    created_at: Any
    idempotency_key: str | None
    payload: Any


def files_listed(connection: Connection, root_id: str, paths: Collection[str]) -> Iterator[ListedFile]:
    """The artifact rows of these files of a root, whoever's they are, in order of the job."""
    columns = [artifact.c[name] for name in ListedFile._fields]
    for some in _portions([to_stored(path) for path in paths]):
        there = (artifact.c.root_id == root_id, artifact.c.path.in_(some))
        rows = connection.execute(select(*columns).where(*there).order_by(artifact.c.job_id))
        for row in rows:
            yield ListedFile._make(row)._replace(path=from_stored(row.path))


def files_pinned(connection: Connection, root_id: str, paths: Collection[str]) -> Iterator[PinnedFile]:
    """The pins on these files of a root."""
    columns = [pin.c[name] for name in PinnedFile._fields]
    for some in _portions([to_stored(path) for path in paths]):
        rows = connection.execute(select(*columns).where(pin.c.root_id == root_id, pin.c.path.in_(some)))
        for row in rows:
            yield PinnedFile._make(row)._replace(path=from_stored(row.path))


def versions_of(connection: Connection, job_ids: Collection[str]) -> dict[str, int]:
    """Those of these jobs that have a record, with its version."""
    found = {}
    for some in _portions(job_ids):
        rows = connection.execute(select(job.c.job_id, job.c.version).where(job.c.job_id.in_(some)))
        found.update({row.job_id: row.version for row in rows})
    return found


def stream_requests(connection: Connection, low: str, high: str | None) -> Iterator[AskedRow]:
    """The jobs with ``low`` ≤ id < ``high`` and their requests, by id; a page at a time, flat in memory."""
    columns = [job_body.c.payload if name == "payload" else job.c[name] for name in AskedRow._fields]
    asked = select(*columns).outerjoin_from(job, job_body, job_body.c.job_id == job.c.job_id)
    asked = asked.order_by(job.c.job_id).limit(_AT_ONCE)
    if high is not None:
        asked = asked.where(job.c.job_id < high)
    page = _page(connection, asked.where(job.c.job_id >= low))
    while page:
        yield from page
        page = _page(connection, asked.where(job.c.job_id > page[-1].job_id))


def _page(connection: Connection, asked: Select[Any]) -> list[AskedRow]:
    return [AskedRow._make(row) for row in connection.execute(asked)]


def _portions(names: Collection[str]) -> Iterator[Sequence[str]]:
    """As many names at once as one statement should hold."""
    waiting = iter(names)
    while some := list(islice(waiting, _AT_ONCE)):
        yield some
