"""How a store stands, for machines: as JSON, and as tab-separated blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from jobctl.core.health.standing import headline
from jobctl.model.finding import FindingKind
from jobctl.model.health import Diagnosis
from jobctl.model.runs import LastRun
from jobctl.model.standing import QueueDepth, RootRoom, ScanSeen, Standing, Trouble, Worker
from jobctl.model.status import Status
from jobctl.report.columns import Column
from jobctl.report.items import diagnosis_item


class _StatusCount(NamedTuple):
    status: str
    jobs: int
    change: int


class _RootSeen(NamedTuple):
    room: RootRoom
    scan: ScanSeen


def worker_state(worker: Worker) -> str:
    """The state of a worker as it is told: one that is silent is lost, whatever it last said."""
    return "lost" if worker.is_lost else worker.row.state


def found_by(seen: ScanSeen, kind: FindingKind) -> int | None:
    """How many findings of a kind the last complete scan had; ``None`` where there was no scan."""
    return None if seen.finished_at is None else seen.findings.get(kind.value, 0)


_TROUBLE: Sequence[Column[Trouble]] = (
    Column(name="health", value=lambda each: each.diagnosis.health.value),
    Column(name="subject", value=lambda each: each.subject),
    Column(name="said", value=lambda each: each.diagnosis.said),
    Column(name="fix", value=lambda each: each.diagnosis.fix),
    Column(name="command", value=lambda each: each.diagnosis.command),
)
_STATUS: Sequence[Column[_StatusCount]] = (
    Column(name="status", value=lambda row: row.status),
    Column(name="jobs", value=lambda row: row.jobs),
    Column(name="change", value=lambda row: row.change),
)
_QUEUE: Sequence[Column[QueueDepth]] = (
    Column(name="queue", value=lambda row: row.queue),
    Column(name="queued", value=lambda row: row.queued),
    Column(name="due", value=lambda row: row.due),
    Column(name="is_at_least", value=lambda row: row.is_at_least),
    Column(name="oldest_job", value=lambda row: row.oldest_job),
    Column(name="due_since", value=lambda row: row.due_since),
)
_WORKER: Sequence[Column[Worker]] = (
    Column(name="worker", value=lambda each: each.row.worker_id),
    Column(name="state", value=worker_state),
    Column(name="host", value=lambda each: each.row.executor.host),
    Column(name="busy", value=lambda each: each.busy),
    Column(name="slots", value=lambda each: each.row.slots),
    Column(name="seen_at", value=lambda each: each.row.seen_at),
)
_ROOT: Sequence[Column[_RootSeen]] = (
    Column(name="root", value=lambda row: row.room.path),
    Column(name="bytes", value=lambda row: row.room.now.bytes if row.room.now else None),
    Column(name="bytes_free", value=lambda row: row.room.now.bytes_free if row.room.now else None),
    Column(name="days_until_full", value=lambda row: row.room.outlook.days),
    Column(name="outlook", value=lambda row: row.room.outlook.said),
    Column(name="scanned_at", value=lambda row: row.scan.finished_at),
    Column(name="orphaned", value=lambda row: found_by(row.scan, FindingKind.ORPHAN_VIDEO)),
    Column(name="broken", value=lambda row: found_by(row.scan, FindingKind.BROKEN_VIDEO)),
    Column(name="suspended_at", value=lambda row: row.scan.suspended_at),
    Column(name="changed_since_scan", value=lambda row: row.scan.is_outdated),
)


LAST_RUN_COLUMNS: Sequence[Column[LastRun]] = tuple(
    Column(name=name, value=attrgetter(name))
    for name in ("command", "host", "finished_at", "exit_code", "succeeded_at", "run_id", "error")
)


def last_run_item(run: LastRun) -> dict[str, Any]:
    """How a command ended last, as JSON."""
    names = ("command", "host", "finished_at", "exit_code", "error", "run_id", "counts", "succeeded_at")
    return {name: getattr(run, name) for name in names}


def standing_blocks(found: Standing) -> Iterable[tuple[Sequence[Column[Any]], Iterable[Any]]]:
    """Listings, one after the other; the first line of the first is all of it in one sentence."""
    whole = Trouble("all", Diagnosis(found.health, headline(found.troubles)))
    statuses = [
        _StatusCount(each.value, found.jobs.get(each, 0), found.changes.net.get(each, 0)) for each in Status
    ]
    seen = [_RootSeen(room, scan) for room, scan in zip(found.rooms, found.scans, strict=True)]
    return (
        (_TROUBLE, [whole, *found.troubles]),
        (_STATUS, statuses),
        (_QUEUE, found.queues),
        (_WORKER, found.workers),
        (LAST_RUN_COLUMNS, found.last_runs),
        (_ROOT, seen),
    )


def job_counts(found: Standing) -> dict[str, int]:
    """How many jobs have each status."""
    return {each.value: found.jobs.get(each, 0) for each in Status}


def standing_item(found: Standing) -> dict[str, Any]:
    """All of it as one JSON object."""
    return {
        **standing_data(found),
        "jobs": job_counts(found),
        "last_runs": [last_run_item(each) for each in found.last_runs],
    }


def standing_data(found: Standing) -> dict[str, Any]:
    """All of it as JSON, but for the last runs, which are the items, and the counts of jobs."""
    return {
        "now": found.now,
        "health": found.health.value,
        "said": headline(found.troubles),
        "troubles": [{"subject": each.subject, **diagnosis_item(each.diagnosis)} for each in found.troubles],
        "changes": {
            "since": found.changes.since,
            "jobs": {each.value: found.changes.net.get(each, 0) for each in Status},
        },
        "uncounted_changes": found.uncounted,
        "queues": [
            {**each._asdict(), "kinds": dict(each.kinds), "since": dict(each.since)} for each in found.queues
        ],
        "stale_heartbeats": found.silent._asdict(),
        "workers": [_worker(each) for each in found.workers],
        "roots": [_root(room, scan) for room, scan in zip(found.rooms, found.scans, strict=True)],
        "unfinished_runs": found.unfinished,
    }


def _worker(each: Worker) -> dict[str, Any]:
    row = each.row
    return {
        "worker": row.worker_id,
        "state": worker_state(each),
        "host": row.executor.host,
        "pid": row.executor.pid,
        "queues": row.queues,
        "busy": each.busy,
        "slots": row.slots,
        "seen_at": row.seen_at,
    }


def _root(room: RootRoom, scan: ScanSeen) -> dict[str, Any]:
    days, is_at_least, said = room.outlook
    return {
        "root_id": room.root_id,
        "path": room.path,
        "bytes": room.now.bytes if room.now else None,
        "bytes_free": room.now.bytes_free if room.now else None,
        "trouble": room.trouble or None,
        "days_until_full": days,
        "days_are_at_least": is_at_least,
        "outlook": said,
        "last_complete_scan": scan.finished_at,
        "findings": dict(scan.findings) if scan.finished_at else None,
        "changed_since_scan": scan.is_outdated,
        "suspended_at": scan.suspended_at,
    }
