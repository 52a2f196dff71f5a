"""Explain: each field of a job with its value, where that comes from, and what else claimed it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from typing import Any

from jobctl.errors import UnknownJob
from jobctl.model.evidence import Trust
from jobctl.model.job import Job
from jobctl.model.names import to_stored
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.site import Site
from jobctl.store import jobs, sightings

_BOOKKEEPING = frozenset({"provenance", "version", "updated_at", "max_progress", "job_id"})


@dataclass(slots=True)
class Explanation:
    """``fields`` maps each name to value, source, locator, trust, note and others.

    ``job`` is ``None`` where there is no record.
    """

    job: Job | None
    fields: dict[str, dict[str, Any]]
    notes: list[str]


def explain(site: Site, job_id: str) -> Explanation:
    """Tell where everything known of a job comes from. Raises ``UnknownJob`` where nothing is known."""
    with site.store.read() as connection:
        seen = sightings.sightings_of(connection, job_id)
        notes = [_note(*sighting) for sighting in seen]
        try:
            job = jobs.get_job(connection, job_id)
        except UnknownJob:
            if not seen:
                raise
            told = f"no record of job {job_id}; the last scan saw {len(seen)} of its files"
            return Explanation(None, {}, [told, *notes])
    return Explanation(job, _fields(job), notes)


def _fields(job: Job) -> dict[str, dict[str, Any]]:
    provenance = job.provenance or {}
    explained = {}
    for field in fields(job):
        value = _plain(getattr(job, field.name))
        if field.name in _BOOKKEEPING or value in (None, [], ""):
            continue
        explained[field.name] = {**_entry(provenance.get(field.name)), "value": value}
    for name, entry in provenance.items():
        explained.setdefault(name, _entry(entry))
    return explained


def _entry(known: dict[str, Any] | None) -> dict[str, Any]:
    """One field's provenance in full form; what no evidence filled in stands in the record itself."""
    own = {"source": "record", "locator": "history", "trust": Trust.AUDIT_EVENT.label}
    return {"value": None, "note": "", "others": [], **(known or own)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_timestamp(value)
    if isinstance(value, Enum):
        return value.value
    return value._asdict() if hasattr(value, "_asdict") else value


def _note(root_id: str, path: str, role: str | None, verdict: str | None) -> str:
    judged = f", {verdict}" if verdict else ""
    return f"seen: {role} {to_stored(path)} in root {root_id}{judged}"
