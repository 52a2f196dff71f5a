"""The logs that were read: which, how far, and what they know."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from jobctl.core.logbook import boots_from_json, stream_of
from jobctl.errors import UnknownLog
from jobctl.ops.hold import held_lock
from jobctl.ops.site import Site
from jobctl.store import evidence
from jobctl.store.evidence import PartRow


class LogState(NamedTuple):
    """A log that was read. ``instances`` wrote it; ``last_moment`` is the latest it names."""

    log_id: str
    name: str
    instances: list[str]
    jobs: int
    restarts: int
    bytes: int
    lines: int
    last_moment: str | None
    read_at: datetime
    parts: list[PartRow]


def list_logs(site: Site) -> list[LogState]:
    """Every log that was read, by name."""
    with site.store.read() as connection:
        streams = evidence.get_streams(connection)
        parts = evidence.get_parts(connection)
        jobs = evidence.count_jobs_by_log(connection)
    return [_state(row, [part for part in parts if part.stream == row.stream], jobs) for row in streams]


def forget_log(site: Site, log_id: str) -> LogState:
    """Drop everything that one log said; jobs and files stay as they are. Raises ``UnknownLog``."""
    state = log_called(site, log_id)
    with held_lock(site, f"log:{state.log_id}", command="evidence forget"), site.store.write() as connection:
        evidence.forget_log(
            connection, state.log_id, [stream_of(state.log_id, name) for name in ("", *state.instances)]
        )
    return state


def log_called(site: Site, log_id: str) -> LogState:
    """The log with this id, or with this name where it is the only one. Raises ``UnknownLog``."""
    known = list_logs(site)
    found = [state for state in known if log_id in {state.log_id, state.name}]
    if len(found) != 1:
        said = f"{len(found)} logs are called {log_id}" if found else f"no log called {log_id} was read"
        raise UnknownLog(f"{said}; nothing was changed", hint="name one by its id: jobctl evidence list")
    return found[0]


def _state(row: evidence.StreamRow, parts: list[PartRow], jobs: dict[str, int]) -> LogState:
    states: dict[str, dict[str, Any]] = row.state
    return LogState(
        log_id=row.stream,
        name=row.name,
        instances=sorted(speaker for speaker in states if speaker),
        jobs=sum(jobs.get(stream_of(row.stream, speaker), 0) for speaker in states),
        restarts=sum(len(boots_from_json(state)) for state in states.values()),
        bytes=sum(part.read_bytes for part in parts),
        lines=sum(part.read_lines for part in parts),
        last_moment=max((state["clock"] for state in states.values()), default="") or None,
        read_at=row.noted_at,
        parts=parts,
    )
