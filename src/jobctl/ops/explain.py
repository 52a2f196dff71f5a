"""Explain: each field of a job with its value, where that comes from, and what else claimed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from typing import Any

from jobctl.core.accounts import Account, Lives
from jobctl.core.planning import DECIDED_ELSEWHERE
from jobctl.core.rebuild import are_apart, believe
from jobctl.errors import UnknownJob
from jobctl.model.amounts import counted
from jobctl.model.evidence import Fact, Trust
from jobctl.model.job import Job
from jobctl.model.names import to_stored
from jobctl.model.timestamps import format_timestamp
from jobctl.ops.accounts import account_of_rows, load_lives
from jobctl.ops.site import Site
from jobctl.ops.sources import read_sources
from jobctl.store import evidence, jobs, renders, sightings

_BOOKKEEPING = frozenset({"provenance", "version", "updated_at", "max_progress", "job_id"})


@dataclass(slots=True)
class Explanation:
    """``fields`` maps each name to value, source, locator, trust, note, others and conflict.

    ``others``: what else claimed the field. Fields on which evidence disagrees come first.
    ``job`` is ``None`` where there is no record.
    """

    job: Job | None
    fields: dict[str, dict[str, Any]]
    notes: list[str]


def explain(site: Site, job_id: str) -> Explanation:
    """Tell where everything known of a job comes from. Raises ``UnknownJob`` where nothing is known."""
    told, troubles = _told_by_sources(site, job_id)
    with site.store.read() as connection:
        seen = sightings.sightings_of(connection, job_id)
        traces = evidence.traces_of(connection, job_id)
        known = renders.renders_of(connection, job_id)
        lives = load_lives(connection) if traces else Lives()
        account = account_of_rows(job_id, traces, lives, told, known)
        notes = [*_told(account), *(_note(*sighting) for sighting in seen), *troubles]
        try:
            job = jobs.get_job(connection, job_id)
        except UnknownJob:
            if not (seen or traces or known or told):
                raise
            missing = f"no record of job {job_id}; the last scan saw {counted(len(seen), 'file')} of it"
            return Explanation(None, _disputed_first(_with_claims({}, account.facts)), [missing, *notes])
    return Explanation(job, _disputed_first(_with_claims(_fields(job), account.facts)), notes)


def _told_by_sources(site: Site, job_id: str) -> tuple[list[Fact], list[str]]:
    """What other tables say of a job, and which of them could not be read."""
    with read_sources(site) as sources:
        facts = [fact for _, fact in sources.stream(job_id, f"{job_id}\0")]
        return facts, [error.message for error in sources.errors]


def _told(account: Account) -> list[str]:
    return [*([account.fate.sentence] if account.fate else []), *account.notes]


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


def _with_claims(explained: dict[str, dict[str, Any]], facts: Sequence[Fact]) -> dict[str, dict[str, Any]]:
    """The fields with what evidence claims of them now, be it believed or not."""
    belief = believe(facts)
    for name, claim in belief.provenance.items():
        if name not in explained:
            explained[name] = _entry(claim)
            continue
        entry = explained[name]
        known = {
            (entry["source"], entry["locator"]),
            *((each["source"], each["locator"]) for each in entry["others"]),
        }
        news = [
            each
            for each in [claim, *claim.get("others", [])]
            if (each["source"], each["locator"]) not in known
        ]
        entry["others"] = [*entry["others"], *({**each, "others": []} for each in news if each["locator"])]
    for name, entry in explained.items():
        entry["conflict"] = bool(entry.get("conflict")) or (
            name not in DECIDED_ELSEWHERE and any(_contradicts(entry, other) for other in entry["others"])
        )
    return explained


def _contradicts(entry: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether something else of at least the same trust claims another value."""
    return (
        other["trust"] >= entry["trust"]
        and not (entry.get("note") or "").startswith("not ")
        and not (other.get("note") or "").startswith("not ")
        and are_apart(entry["value"], other["value"])
    )


def _disputed_first(explained: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return dict(sorted(explained.items(), key=lambda item: not item[1]["conflict"]))


def _entry(known: dict[str, Any] | None) -> dict[str, Any]:
    """One field's provenance in full form; what no evidence filled in stands in the record itself."""
    own = {"source": "record", "locator": "history", "trust": Trust.AUDIT_EVENT.label}
    return {"value": None, "note": "", "others": [], "conflict": False, **(known or own)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_timestamp(value)
    if isinstance(value, Enum):
        return value.value
    return value._asdict() if hasattr(value, "_asdict") else value


def _note(root_id: str, path: str, role: str | None, verdict: str | None) -> str:
    judged = f", {verdict}" if verdict else ""
    return f"seen: {role} {to_stored(path)} in root {root_id}{judged}"
