"""Reach: how far what takes things away may trust what a walk saw."""

from __future__ import annotations

from jobctl.errors import ClockJumped, JobctlError, SourceUnusable
from jobctl.ops.hold import Hold
from jobctl.ops.scan_report import ScanReport
from jobctl.store import roots


def suspended(hold: Hold) -> dict[str, str]:
    """The roots of which nothing may be called missing or free, and why."""
    with hold.site.store.read() as connection:
        known = roots.get_roots(connection)
    why = "an older store or root was put back; a complete 'jobctl recover' comes first"
    return {row.root_id: why for row in known if row.negatives_suspended_at is not None}


def gaps(report: ScanReport) -> dict[str, str]:
    """The roots that were not read completely, and where: what is there may refer to what was read."""
    return {
        place.root_id: f"its root was not read completely: {place.path or '.'}: {place.reason}"
        for place in reversed(report.unknown)
    }


def expect_references(report: ScanReport) -> None:
    """Raise ``SourceUnusable`` unless it is known of every job whether a table names it."""
    if not report.knows_all_references:
        why = f": {report.errors[0].message}" if report.errors else ""
        raise SourceUnusable(
            f"it cannot be told which jobs other tables still refer to{why}; nothing was taken away",
            hint="mend the source, or take references = true off it in jobctl.toml",
        )


def clock_troubles(jumped: str | None) -> list[JobctlError]:
    """The warning that ages begin anew, where the clock cannot have run evenly and why."""
    if jumped is None:
        return []
    return [
        ClockJumped(
            f"{jumped}; ages count from now on, and nothing was taken for its age",
            hint="check the clock of the store's host; if it is right now, nothing needs to be done",
        )
    ]
