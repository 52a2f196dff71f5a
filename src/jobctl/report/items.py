"""Findings, actions, jobs and their like as JSON objects. Field names never change once released."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from jobctl.core.attempts import attempts_of
from jobctl.core.duplicates import By, CopyGroup
from jobctl.core.requests import RequestGroup
from jobctl.model.detail import JobDetail
from jobctl.model.difference import Difference
from jobctl.model.files import Check, Seen
from jobctl.model.finding import Finding
from jobctl.model.health import Diagnosis
from jobctl.model.history import cause_of
from jobctl.model.job import Artifact, Event, Job
from jobctl.model.names import is_utf8, to_stored
from jobctl.model.plan import Action, Outcome
from jobctl.model.quarantine import Entry
from jobctl.report.listings import KeptLine

_JOB_FIELDS = (
    "job_id",
    "status",
    "progress",
    "shown_progress",
    "error",
    "video_url",
    "thumbnail_url",
    "slide_image_path",
    "created_at",
    "completed_at",
    "last_heartbeat",
    "created_files",
    "origin",
    "confidence",
    "owner",
    "attempt",
)
_FURTHER_JOB_FIELDS = (
    "kind",
    "queue",
    "priority",
    "run_at",
    "spared",
    "max_attempts",
    "error_code",
    "idempotency_key",
    "provenance",
    "root_id",
    "version",
    "updated_at",
    "started_at",
    "recovered_at",
)
_ARTIFACT_FIELDS = ("role", "state", "size", "sha256", "verdict", "tier", "media", "noted_at", "run_id")


def path_fields(path: str | None) -> dict[str, str | None]:
    """A path as JSON can carry it; a name that is not UTF-8 also byte for byte, as ``path_b64``."""
    if path is None or is_utf8(path):
        return {"path": path}
    name = path.encode("utf-8", "surrogateescape")
    return {"path": to_stored(path), "path_b64": base64.b64encode(name).decode()}


def finding_item(finding: Finding) -> dict[str, Any]:
    """One difference, as ``scan`` tells it."""
    return {
        "finding": finding.kind.value,
        "job_id": finding.job_id,
        "root_id": finding.root_id,
        **path_fields(finding.path),
        "verdict": finding.verdict.value if finding.verdict else None,
        "tier": finding.tier.value if finding.tier else None,
        "bytes": finding.size,
        "reason": finding.reason,
    }


def file_item(seen: Seen, check: Check | None) -> dict[str, Any]:
    """A file nothing is wrong with, in the form of a finding."""
    return {
        "finding": None,
        "job_id": seen.key or None,
        "root_id": seen.root_id,
        **path_fields(seen.path),
        "role": str(seen.role),
        "verdict": check.verdict.value if check else None,
        "tier": check.tier.value if check else None,
        "bytes": seen.size,
        "reason": check.reason if check else "",
    }


def duplicate_items(group: CopyGroup | RequestGroup) -> list[dict[str, Any]]:
    """The files, or the jobs, of a group of duplicates, the one to keep first."""
    if isinstance(group, CopyGroup):
        return [
            {
                **_in_group(group.group_id, By.BYTES, judged.part.value),
                "job_id": judged.copy.job_id or None,
                "root_id": judged.copy.root_id,
                **path_fields(judged.copy.path),
                "bytes": judged.copy.identity.size,
                "reason": judged.reason,
                "may_go": judged.may_go,
            }
            for judged in group.judged
        ]
    return [
        {
            **_in_group(group.group_id, By.REQUEST, judged.part.value),
            "job_id": judged.job.job_id,
            "root_id": None,
            "path": None,
            "bytes": None,
            "reason": judged.reason,
            "may_go": False,
        }
        for judged in group.judged
    ]


def _in_group(group_id: str, by: By, role: str) -> dict[str, Any]:
    return {"group": group_id, "kind": by.value, "role": role}


def action_item(
    action: Action | KeptLine, outcome: Outcome | None = None, note: str | None = None
) -> dict[str, Any]:
    """One step of a plan, or what is kept; ``result`` is null until it was applied."""
    return {
        "seq": action.seq,
        "verb": str(action.verb),
        "job_id": action.job_id,
        "root_id": action.root_id,
        **path_fields(action.path),
        "from": action.from_status,
        "to": action.to_status,
        "reason": action.reason,
        "confidence": action.confidence,
        "result": outcome.value if outcome else None,
        "note": note,
    }


def diagnosis_item(diagnosis: Diagnosis) -> dict[str, str | None]:
    """What was found of one thing, and what to do about it."""
    health, said, fix, command = diagnosis
    return {"health": health.value, "said": said, "fix": fix or None, "command": command or None}


def difference_item(difference: Difference) -> dict[str, Any]:
    """One difference between journal, disk and store; ``mend``: what to run."""
    return {
        "difference": difference.kind.value,
        "root_id": difference.root_id,
        "run_id": difference.run_id,
        "seq": difference.seq,
        "job_id": difference.job_id,
        **path_fields(difference.path),
        "reason": difference.reason,
        "mend": difference.mend or None,
    }


def entry_item(entry: Entry) -> dict[str, Any]:
    """One file that was once to go into quarantine; ``age_s`` in seconds."""
    return {
        "entry": f"{entry.run_id}/{entry.action}",
        "state": entry.whereabouts.value,
        "job_id": entry.job_id,
        "root_id": entry.root_id,
        **path_fields(entry.path),
        "role": entry.role,
        "bytes": entry.identity.size,
        "at": entry.at,
        "age_s": None if entry.age is None else entry.age.total_seconds(),
        "reason": entry.reason,
        "sha256": entry.sha256,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "note": entry.note,
    }


def job_item(job: Job) -> dict[str, Any]:
    """The service's own fields of a job, and whose and how sure it is."""
    return _fields(job, _JOB_FIELDS)


def chosen_job_item(job: Job, names: Sequence[str]) -> dict[str, Any]:
    """Only these fields of a job."""
    return {
        name: job.executor._asdict() if name == "executor" and job.executor else getattr(job, name)
        for name in names
    }


def job_detail(detail: JobDetail) -> dict[str, Any]:
    """All that is recorded of one job."""
    job = detail.job
    return {
        **job_item(job),
        **_fields(job, _FURTHER_JOB_FIELDS),
        "executor": job.executor._asdict() if job.executor else None,
        "payload": detail.body.payload,
        "result": detail.body.result,
        "lease": detail.lease._asdict() if detail.lease else None,
        "attempts": [{**line._asdict(), "took_s": line.took_s} for line in attempts_of(detail.events)],
        "artifacts": [artifact_item(artifact) for artifact in detail.artifacts],
        "events": [event._asdict() for event in detail.events],
        "found_by": detail.found_by,
        "aside": detail.aside,
        "lack": detail.lack or None,
    }


def event_item(event: Event) -> dict[str, Any]:
    """One line of the history, with what brought it about."""
    return {**event._asdict(), "cause": cause_of(event)}


def artifact_item(artifact: Artifact) -> dict[str, Any]:
    """One file of a job."""
    return {
        "root_id": artifact.root_id,
        **path_fields(artifact.path),
        **_fields(artifact, _ARTIFACT_FIELDS),
    }


def _fields(row: Job | Artifact, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
