"""Last runs: how each command that cron runs ended last, on each host."""

from __future__ import annotations

from datetime import datetime

from jobctl.errors import ExitCode
from jobctl.model.runs import LastRun
from jobctl.ops.site import Site
from jobctl.store import lastruns

_SUCCESS = frozenset({ExitCode.CLEAN})


def end(
    site: Site,
    command: str,
    *,
    started: datetime,
    code: ExitCode,
    error: str | None,
    at: datetime | None = None,
) -> None:
    """Keep how a command ended, just now or ``at``."""
    with site.store.write() as connection:
        now = at or site.store.now(connection)
        lastruns.record(
            connection,
            command=command,
            host=site.host,
            started_at=started,
            finished_at=now,
            exit_code=int(code),
            error=error,
            succeeded=code in _SUCCESS,
        )


def last_runs(site: Site) -> list[LastRun]:
    """What is kept, by command and host."""
    with site.store.read() as connection:
        return lastruns.last_runs(connection)
