"""Reading logs for a command: with progress, and a word on what was assumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobctl.cli.context import Call
from jobctl.model.amounts import counted
from jobctl.report.units import size_shown

if TYPE_CHECKING:
    from jobctl.ops.ingest import IngestReport
    from jobctl.ops.site import Site


def read_logs(
    call: Call,
    site: Site,
    paths: Sequence[str],
    timezone: str | None,
    *,
    name: str | None = None,
    wait_s: float = 0.0,
) -> IngestReport:
    """Read logs into the store, and say on stderr what that gave."""
    from jobctl.evidence.serverlog import zone_of  # noqa: PLC0415 - help stays quick
    from jobctl.ops.ingest import ingest  # noqa: PLC0415 - help stays quick

    zone_name = timezone or site.settings.log_timezone
    zone = zone_of(zone_name)
    with call.progress() as progress:
        report = ingest(site, paths, zone=zone, name=name, wait_s=wait_s, progress=progress)
    new = sum(log.bytes for log in report.logs)
    jobs = counted(sum(log.jobs for log in report.logs), "job")
    found = f"{size_shown(new)} of it new, naming {jobs}" if new else "nothing of it new"
    if report.logs:
        call.output.note(f"read {counted(len(report.logs), 'log')}, {found}")
    if report.naive:
        call.output.note(
            f"{counted(report.naive, 'time')} without a zone taken as {zone_name}; "
            "if that is wrong: --log-timezone ZONE"
        )
    return report
