"""One row for each command and host: how it ended last, and when it last ended well."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from jobctl.model.runs import LastRun
from jobctl.store.engine import Connection
from jobctl.store.schema import last_run, run
from jobctl.store.statements import put_rows


def record(
    connection: Connection,
    *,
    command: str,
    host: str,
    started_at: datetime,
    finished_at: datetime,
    exit_code: int,
    error: str | None,
    succeeded: bool,
) -> None:
    """Replace what was kept of this command on this host."""
    mine = (last_run.c.command == command, last_run.c.host == host)
    before = connection.execute(select(last_run.c.succeeded_at).where(*mine)).scalar_one_or_none()
    applied = (
        select(run.c.run_id, run.c.counts)
        .where(run.c.command == command, run.c.host == host, run.c.started_at >= started_at)
        .order_by(run.c.started_at.desc())
        .limit(1)
    )
    found = connection.execute(applied).one_or_none()
    values = {
        "command": command,
        "host": host,
        "started_at": started_at,
        "finished_at": finished_at,
        "exit_code": exit_code,
        "error": error,
        "run_id": found.run_id if found else None,
        "counts": found.counts if found else None,
        "succeeded_at": finished_at if succeeded else before,
    }
    put_rows(connection, last_run, [values])


def last_runs(connection: Connection) -> list[LastRun]:
    """All that is kept, by command and host."""
    columns = [last_run.c[name] for name in LastRun._fields]
    rows = connection.execute(select(*columns).order_by(last_run.c.command, last_run.c.host))
    return [LastRun._make(row) for row in rows]
