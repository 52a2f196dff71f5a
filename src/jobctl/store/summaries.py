"""Look up how jobs stand, many at once, and what is left of those without a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, func, select

from jobctl.model.job_summary import JobSummary
from jobctl.model.names import from_stored
from jobctl.model.status import Status
from jobctl.model.storable import storable_text
from jobctl.store.dialect import Dialect
from jobctl.store.engine import Connection
from jobctl.store.schema import Timestamp, declined, evidence, last_run, remote_render, run, sighting
from jobctl.store.statements import rows_plain

_AT_ONCE = 500
COLUMNS = ", ".join(JobSummary._fields)
_moment: Callable[[Any, Any], Any] = Timestamp().process_result_value


class SeenVideo(NamedTuple):
    """A video that a scan saw of a job. ``is_declined``: an operator took its recovery back."""

    root_id: str
    path: str
    inode: int
    size: int
    mtime_ns: int
    verdict: str | None
    first_seen: datetime
    is_declined: bool


def summaries_of(connection: Connection, dialect: Dialect, job_ids: Sequence[str]) -> dict[str, JobSummary]:
    """How the jobs with these ids stand, as far as they are recorded.

    Every poll of every client comes here, so plain SQL: SQLAlchemy would take longer than the look.
    """
    asked = {storable_text(job_id): job_id for job_id in job_ids}
    ids = list(asked)
    found: dict[str, JobSummary] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        sql = f"SELECT {COLUMNS} FROM {dialect.table('job')} WHERE job_id IN ({marks})"  # noqa: S608 - our own
        for row in rows_plain(connection, sql, some):
            found[asked[row[0]]] = summary_of(row, dialect)
    return found


def summary_of(row: Sequence[Any], dialect: Dialect) -> JobSummary:
    """How the job of a row of ``COLUMNS`` stands."""
    job_id, status, *told, created_at, completed_at, updated_at = row
    moments = [_moment(each, dialect) for each in (created_at, completed_at, updated_at)]
    return JobSummary._make((job_id, Status(status), *told, *moments))


def videos_seen(connection: Connection, job_id: str) -> list[SeenVideo]:
    """The videos that scans saw of a job."""
    same = [declined.c[name] == sighting.c[name] for name in ("root_id", "path", "inode", "size", "mtime_ns")]
    columns = [sighting.c[name] for name in SeenVideo._fields[:-1]]
    rows = connection.execute(
        select(*columns, declined.c.job_id.is_not(None))
        .join(declined, and_(declined.c.job_id == sighting.c.key, *same), isouter=True)
        .where(sighting.c.key == storable_text(job_id), sighting.c.role == "video")
    )
    return [SeenVideo._make(row)._replace(path=from_stored(row.path)) for row in rows]


def logs_noted_at(connection: Connection, job_id: str) -> datetime | None:
    """When the last of what logs say of a job was read."""
    noted = select(func.max(evidence.c.noted_at, type_=evidence.c.noted_at.type))
    return connection.execute(noted.where(evidence.c.job_id == storable_text(job_id))).scalar()


def render_seen_at(connection: Connection, job_id: str) -> datetime | None:
    """When the renderer last told of a render of a job."""
    seen = select(func.max(remote_render.c.seen_at, type_=remote_render.c.seen_at.type))
    return connection.execute(seen.where(remote_render.c.job_id == storable_text(job_id))).scalar()


def recovered_at(connection: Connection) -> datetime | None:
    """When a recovery last ended well, on whatever host."""
    by_command = select(func.max(last_run.c.succeeded_at, type_=last_run.c.succeeded_at.type)).where(
        last_run.c.command == "recover"
    )
    by_run = select(func.max(run.c.finished_at, type_=run.c.finished_at.type)).where(
        run.c.command == "recover", run.c.exit_code == 0
    )
    moments = [connection.execute(each).scalar() for each in (by_command, by_run)]
    return max((moment for moment in moments if moment is not None), default=None)
